#!/usr/bin/env python3
"""The transports against servers that others wrote. Each test starts what it needs, and ends it."""
import os
import subprocess
import sys
import unittest

from servers import PATIENCE, Servers, check_all_are_there

CLIENT = os.environ["INTEROP_CLIENT"]
SIDECAR_CAT = os.environ["SIDECAR_CAT"]


class Interop(unittest.TestCase):
    def setUp(self):
        self.servers = Servers()
        self.addCleanup(self.servers.close)

    def client(self, suite, **settings):
        """Runs the cases of a suite of the C++ client."""
        environment = {name: value for name, value in os.environ.items() if not name.startswith("INTEROP_")}
        environment.update({"INTEROP_" + name.upper(): str(value) for name, value in settings.items()})
        done = subprocess.run([CLIENT, f"--test-suite={suite}"], env=environment, capture_output=True, text=True, timeout=6 * PATIENCE)
        self.assertEqual(done.returncode, 0, f"{suite} {settings}\n{done.stdout}\n{done.stderr}")
        self.assertNotIn("test cases:  0 ", done.stdout)
        sys.stderr.write(f"{suite} {settings}: {done.stdout.splitlines()[-3] if done.stdout else ''}\n")

    def cat(self, *arguments, input=""):
        done = subprocess.run([SIDECAR_CAT, *map(str, arguments)], input=input, capture_output=True, text=True, timeout=PATIENCE)
        return done.returncode, done.stdout, done.stderr


class WebSocketServers(Interop):
    def test_python_websockets(self):
        self.client("websocket", url=f"ws://localhost:{self.servers.python_websockets()}/")

    def test_python_websockets_with_compression(self):
        self.client("websocket", url=f"ws://localhost:{self.servers.python_websockets(compressed=True)}/", compression=1)

    def test_python_websockets_where_only_the_server_wants_compression(self):
        self.client("websocket", url=f"ws://localhost:{self.servers.python_websockets(compressed=True)}/")

    def test_node_ws(self):
        self.client("websocket", url=f"ws://localhost:{self.servers.node_ws()}/")

    def test_node_ws_with_compression(self):
        url = f"ws://localhost:{self.servers.node_ws(compressed=True)}/"
        self.client("websocket", url=url, compression=1)
        self.client("deflate", url=url)


class StreamServers(Interop):
    def test_socat(self):
        self.client("stream", port=self.servers.socat_echo())


if __name__ == "__main__":
    check_all_are_there()
    unittest.main(verbosity=2)
