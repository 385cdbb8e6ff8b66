#!/usr/bin/env python3
"""The transports against servers that others wrote. Each test starts what it needs, and ends it."""
import asyncio
import os
import re
import shutil
import ssl
import subprocess
import sys
import unittest

import websockets

from servers import HERE, PATIENCE, Servers, check_all_are_there, node_environment, program

CLIENT = os.environ["INTEROP_CLIENT"]
SIDECAR_CAT = os.environ["SIDECAR_CAT"]


class Interop(unittest.TestCase):
    def setUp(self):
        self.servers = Servers()
        self.addCleanup(self.servers.close)

    def client(self, suite, case="*", **settings):
        """Runs the cases of a suite of the C++ client."""
        environment = {name: value for name, value in os.environ.items() if not name.startswith("INTEROP_")}
        environment.update({"INTEROP_" + name.upper(): str(value) for name, value in settings.items()})
        done = subprocess.run([CLIENT, f"--test-suite={suite}", f"--test-case={case}"], env=environment, capture_output=True, text=True, timeout=6 * PATIENCE)
        self.assertEqual(done.returncode, 0, f"{suite} {settings}\n{done.stdout}\n{done.stderr}")
        self.assertNotIn("test cases:  0 ", done.stdout)
        sys.stderr.write(f"{suite} {settings}: {done.stdout.splitlines()[-3] if done.stdout else ''}\n")

    def cat(self, *arguments, input="", environment=None):
        """Runs sidecar-cat to its end: status, output, errors."""
        done = subprocess.run([SIDECAR_CAT, *map(str, arguments)], input=input, capture_output=True, text=True, timeout=PATIENCE,
                              env={**os.environ, **(environment or {})})
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


class WebSocketClients(Interop):
    """Clients that others wrote, against our server."""
    TEXTS = ["", "short", "ä€\U0001f600", "x" * 125, "y" * 126, "z" * 65536, '{"price": 1}' * 100_000]

    def python(self, url, **options):
        async def talk():
            async with websockets.connect(url, subprotocols=["v1", "v2"], max_size=None, **options) as ws, \
                    websockets.connect(url, max_size=None, **options) as other:
                self.assertEqual(ws.subprotocol, "v2")
                for text in self.TEXTS:
                    for message in (text, text.encode()):
                        await ws.send(message)
                        self.assertEqual(await ws.recv(), message)
                await ws.send(["in ", "fragments", "", "!"])
                self.assertEqual(await ws.recv(), "in fragments!")
                await asyncio.wait_for(await ws.ping(b"are you there?"), PATIENCE)
                await ws.send("info")
                self.assertEqual(await ws.recv(), "/feed v2")
                for text in self.TEXTS[1:]:
                    await ws.send("to all: " + text)
                    self.assertEqual((await ws.recv(), await other.recv()), (text, text))
                await ws.send("close")
                with self.assertRaises(websockets.ConnectionClosed) as closed:
                    await ws.recv()
                self.assertEqual((closed.exception.code, closed.exception.reason), (4001, "as you wish"))
                return [extension.name for extension in other.extensions]
        return asyncio.run(asyncio.wait_for(talk(), 3 * PATIENCE))

    def node(self, url, *arguments):
        done = subprocess.run([program("node"), HERE / "node_client.js", url, *arguments], env=node_environment(), capture_output=True, text=True,
                              timeout=3 * PATIENCE)
        self.assertEqual((done.returncode, done.stdout), (0, "done\n"), done.stderr)

    def curl(self, *arguments):
        return subprocess.run(["curl", "--silent", "--show-error", "--max-time", "20", *map(str, arguments)], capture_output=True, text=True)

    def test_python_websockets(self):
        port = self.servers.ours()
        self.assertEqual(self.python(f"ws://localhost:{port}/feed", compression=None), [])
        self.assertEqual(self.python(f"ws://localhost:{port}/feed"), [])  # our server wants none

    def test_python_websockets_with_compression(self):
        self.assertEqual(self.python(f"ws://localhost:{self.servers.ours(compressed=True)}/feed"), ["permessage-deflate"])

    def test_python_websockets_is_refused(self):
        port = self.servers.ours()

        async def connect(path, **options):
            async with websockets.connect(f"ws://localhost:{port}{path}", **options):
                pass
        for path, options, status in (("/other", {}, 404), ("/feed", {"origin": "http://evil.example"}, 403)):
            with self.assertRaises(websockets.InvalidStatusCode) as refused:
                asyncio.run(connect(path, **options))
            self.assertEqual(refused.exception.status_code, status)
        asyncio.run(connect("/feed", origin=f"http://localhost:{port}"))

    def test_python_websockets_with_tls(self):
        certificates = self.servers.certificates()
        port = self.servers.ours(certificates / "valid.pem", certificates / "valid.key", compressed=True)
        trust = ssl.create_default_context(cafile=certificates / "ca.pem")
        self.python(f"wss://localhost:{port}/feed", ssl=trust)

    def test_node_ws(self):
        self.node(f"ws://localhost:{self.servers.ours()}/feed")

    def test_node_ws_with_compression(self):
        self.node(f"ws://localhost:{self.servers.ours(compressed=True)}/feed", "compressed")

    def test_our_own_client(self):
        url = f"ws://localhost:{self.servers.ours(compressed=True)}/feed"
        lines = "".join(f"line {i}\n" for i in range(10_000))
        for arguments in ((), ("--compress",)):
            self.assertEqual(self.cat("--count", 10_000, *arguments, url, input=lines), (0, lines, ""))

    @unittest.skipUnless(shutil.which("curl"), "curl is missing")
    def test_curl(self):
        certificates = self.servers.certificates()
        for scheme, port, trust in (("http", self.servers.ours(), ()),
                                    ("https", self.servers.ours(certificates / "valid.pem", certificates / "valid.key"),
                                     ("--cacert", certificates / "ca.pem"))):
            url = f"{scheme}://localhost:{port}"
            page = self.curl("-i", *trust, f"{url}/")
            self.assertRegex(page.stdout, "(?s)^HTTP/1.1 200 OK.*<title>a page</title>$", page.stderr)
            tag = re.search("(?m)^ETag: (.*)$", page.stdout)[1]
            self.assertRegex(self.curl("-i", *trust, "-H", f"If-None-Match: {tag}", f"{url}/").stdout, "^HTTP/1.1 304 ")
            self.assertRegex(self.curl("-I", *trust, f"{url}/").stdout, "(?s)^HTTP/1.1 200 .*Content-Length: 36")
            for status, arguments in ((405, ("--data", "x" * 100_000, f"{url}/")), (404, (f"{url}/other",)), (426, (f"{url}/feed",)),
                                      (400, ("-X", "GET", "--data", "x", f"{url}/feed")), (431, ("-H", "X: " + "x" * 20_000, f"{url}/"))):
                done = self.curl("-o", os.devnull, "-w", "%{http_code}", *trust, *arguments)
                self.assertEqual((done.stdout, done.stderr), (str(status), ""))


class StreamServers(Interop):
    def test_socat(self):
        self.client("stream", port=self.servers.socat_echo())

    def test_socat_through_sidecar_cat(self):
        port = self.servers.socat_echo()
        lines = "".join(f"line {i}\n" for i in range(10_000))
        self.assertEqual(self.cat("--count", 10_000, f"tcp://localhost:{port}", input=lines), (0, lines, ""))


class UnixSockets(Interop):
    def test_socat_on_a_unix_socket(self):
        self.client("stream", unix=self.servers.socat_unix())

    def test_a_websocket_server_behind_a_unix_socket(self):
        path = self.servers.socat_unix(f"TCP:127.0.0.1:{self.servers.python_websockets()}")
        self.client("websocket", url=f"ws+unix:{path}:/")

    def test_sidecar_cat_on_unix_sockets(self):
        path = self.servers.socat_unix()
        self.assertEqual(self.cat("--count", 2, f"unix:{path}", input="one\ntwo\n"), (0, "one\ntwo\n", ""))
        path = self.servers.socat_unix(f"TCP:127.0.0.1:{self.servers.node_ws()}")
        self.assertEqual(self.cat("--count", 1, f"ws+unix:{path}:/", input="one\n"), (0, "one\n", ""))
        status, _, err = self.cat(f"unix:{path}-not-there")
        self.assertEqual(status, 1)
        self.assertIn("No such file", err)


class Tls(Interop):
    def setUp(self):
        super().setUp()
        self.certificates = self.servers.certificates()
        self.ca = self.certificates / "ca.pem"
        self.certificate, self.key = self.pair("valid")

    def pair(self, name):
        """A certificate and its key, as tests/support/make_certificates names them."""
        return self.certificates / f"{name}.pem", self.certificates / f"{name}.key"

    def nginx(self, compressed=False):
        backends = {"python": self.servers.python_websockets(compressed), "node": self.servers.node_ws(compressed)}
        return self.servers.nginx(self.certificate, self.key, backends)

    def assert_refused(self, url, *arguments, says):
        status, out, err = self.cat("--count", 1, *arguments, url)
        self.assertEqual((status, out), (1, ""), err)
        self.assertRegex(err, says)

    def test_nginx_in_front_of_python_and_node(self):
        port = self.nginx()
        for backend in ("python", "node"):
            self.client("websocket", url=f"wss://localhost:{port}/{backend}/", ca=self.ca)

    def test_nginx_in_front_of_python_and_node_with_compression(self):
        port = self.nginx(compressed=True)
        for backend in ("python", "node"):
            self.client("websocket", url=f"wss://127.0.0.1:{port}/{backend}/", ca=self.ca, compression=1)

    def test_nginx_with_a_certificate_of_somebody_else(self):
        port = self.nginx()
        url = f"wss://localhost:{port}/node/"
        self.assert_refused(url, "--ca", self.certificates / "other-ca.pem", says="issuer|self-signed")
        self.assert_refused(url, says="issuer|self-signed")  # the system's authorities do not know it either
        self.assertEqual(self.cat("--ca", self.ca, "--count", 1, url, input="x\n")[:2], (0, "x\n"))
        status, out, err = self.cat("--insecure", "--count", 1, url, input="x\n")
        self.assertEqual((status, out), (0, "x\n"))
        self.assertIn("warning", err)

    def test_nginx_with_a_certificate_for_another_name(self):
        certificate, key = self.pair("wrong")
        port = self.servers.nginx(certificate, key, {"node": self.servers.node_ws()})
        self.assert_refused(f"wss://localhost:{port}/node/", "--ca", self.ca, says="a.example")
        self.assert_refused(f"wss://127.0.0.1:{port}/node/", "--ca", self.ca, says="127.0.0.1")

    def test_nginx_with_a_certificate_that_is_over_or_does_not_count_yet(self):
        for name, says in (("expired", "expired"), ("future", "not valid before|not yet valid"), ("self-signed", "self-signed|self signed")):
            port = self.servers.nginx(*self.pair(name), {"node": self.servers.node_ws()})
            self.assert_refused(f"wss://localhost:{port}/node/", "--ca", self.ca, says=says)

    def test_nginx_with_a_chain_and_a_directory_of_authorities(self):
        port = self.servers.nginx(*self.pair("chained"), {"node": self.servers.node_ws()})
        url = f"wss://localhost:{port}/node/"
        self.assertEqual(self.cat("--ca", self.ca, "--count", 1, url, input="x\n")[:2], (0, "x\n"))
        port = self.nginx()
        self.assertEqual(self.cat("--ca", self.certificates / "hashed", "--count", 1, f"wss://localhost:{port}/node/", input="x\n")[:2],
                         (0, "x\n"))

    def test_nginx_refuses_a_path_that_leads_nowhere(self):
        status, _, err = self.cat("--ca", self.ca, f"wss://localhost:{self.nginx()}/nowhere")
        self.assertEqual(status, 1)
        self.assertIn("404", err)

    def test_nginx_is_not_spoken_to_in_the_clear(self):
        self.assertEqual(self.cat(f"ws://localhost:{self.nginx()}/node/")[0], 1)

    def test_tls_to_a_server_without(self):
        self.assert_refused(f"wss://localhost:{self.servers.node_ws()}/", "--ca", self.ca, says="TLS")

    def test_socat_with_tls(self):
        port = self.servers.socat_tls_echo(self.certificate, self.key)
        self.client("stream", port=port, tls=1, ca=self.ca)

    def test_socat_that_wants_our_certificate(self):
        port = self.servers.socat_tls_echo(self.certificate, self.key, ca=self.ca)
        ours, key = self.pair("client")
        # One connection: socat gives sessions, and cannot resume them where it verifies clients.
        self.client("stream", case="*every size*", port=port, tls=1, ca=self.ca, certificate=ours, key=key)
        status, out, err = self.cat("--ca", self.ca, "--count", 1, f"tls://localhost:{port}", input="x\n")
        self.assertIn(status, (1, 3), err)  # with TLS 1.3 a client is through before the server has looked
        self.assertEqual(out, "")

    def test_s_server(self):
        for version in ("-tls1_2", "-tls1_3"):
            port = self.servers.s_server(self.certificate, self.key, version)
            self.client("reversing", port=port, tls=1, ca=self.ca)

    def test_s_server_that_is_too_old(self):
        port = self.servers.s_server(self.certificate, self.key, "-tls1_1", "-cipher", "ALL:@SECLEVEL=0")
        self.assert_refused(f"tls://localhost:{port}", "--ca", self.ca, says="version|handshake|alert")

    def test_s_server_that_wants_our_certificate(self):
        ours, key = self.pair("client")
        stranger = self.pair("unknown")
        for version in ("-tls1_2", "-tls1_3"):
            port = self.servers.s_server(self.certificate, self.key, version, "-Verify", 2, "-verify_return_error",
                                         "-CAfile", self.ca)
            trust = ("--ca", self.ca, "--count", 1)
            url = f"tls://localhost:{port}"
            self.assertEqual(self.cat(*trust, "--cert", ours, "--key", key, url, input="abc\n")[:2], (0, "cba\n"))
            for arguments in ((), ("--cert", stranger[0], "--key", stranger[1])):
                status, out, err = self.cat(*trust, *arguments, url, input="abc\n")
                self.assertIn(status, (1, 3), err)
                self.assertEqual(out, "")


class Proxies(Interop):
    def test_tinyproxy(self):
        proxy = f"http://127.0.0.1:{self.servers.tinyproxy()}"
        self.client("websocket", url=f"ws://localhost:{self.servers.node_ws()}/", proxy=proxy)
        self.client("stream", port=self.servers.socat_echo(), proxy=proxy)

    def test_tinyproxy_with_tls_behind_it(self):
        certificates = self.servers.certificates()
        port = self.servers.nginx(certificates / "valid.pem", certificates / "valid.key", {"python": self.servers.python_websockets()})
        self.client("websocket", url=f"wss://localhost:{port}/python/", ca=certificates / "ca.pem",
                    proxy=f"http://localhost:{self.servers.tinyproxy()}")

    def test_tinyproxy_that_wants_to_know_who_we_are(self):
        port = self.servers.tinyproxy("somebody", "secret")
        url = f"ws://localhost:{self.servers.node_ws()}/"
        self.assertEqual(self.cat("--count", 1, "--proxy", f"http://somebody:secret@127.0.0.1:{port}", url, input="x\n"), (0, "x\n", ""))
        for who in ("", "somebody:guessed@"):
            status, out, err = self.cat("--proxy", f"http://{who}127.0.0.1:{port}", url)
            self.assertEqual((status, out), (1, ""))
            self.assertRegex(err, "40[17]")
            self.assertIn("proxy", err)
            self.assertNotIn("guessed", err)

    def test_tinyproxy_from_the_environment(self):
        url = f"ws://localhost:{self.servers.node_ws()}/"
        proxy = {"http_proxy": f"http://127.0.0.1:{self.servers.tinyproxy('somebody', 'secret')}"}
        status, _, err = self.cat("--proxy", "env", url, environment=proxy)
        self.assertEqual(status, 1, err)
        self.assertEqual(self.cat("--proxy", "env", "--count", 1, url, input="x\n", environment={**proxy, "no_proxy": "localhost"})[:2],
                         (0, "x\n"))

    def test_tinyproxy_that_cannot_reach_the_server(self):
        status, _, err = self.cat("--proxy", f"http://127.0.0.1:{self.servers.tinyproxy()}", "ws://localhost:1/")
        self.assertEqual(status, 1)
        self.assertIn("proxy", err)
        self.assertRegex(err, "50[0-9]")


if __name__ == "__main__":
    check_all_are_there()
    unittest.main(verbosity=2)
