#!/usr/bin/env python3
"""The demo's page: what a browser fetches, and what its WebSocket gets.

    demo_page_test.py MARKET_FEED
"""
import asyncio
import json
import os
import pathlib
import re
import signal
import socket
import subprocess
import sys
import tempfile
import time
import unittest
import urllib.error
import urllib.request

import websockets

PROGRAM = sys.argv.pop(1)
PATIENCE = 20 * float(os.environ.get("MESON_TEST_TIMEOUT_MULTIPLIER", "1"))


class Demo:
    """The demo, running; `.address` is the last line that it printed when it was ready."""

    def __init__(self, *arguments, **options):
        self.program = subprocess.Popen([PROGRAM, "--rate", "1000", *arguments], stdout=subprocess.PIPE, **options)
        self.first = self.program.stdout.readline()
        self.address = self.program.stdout.readline().decode().strip()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.program.kill()
        self.program.communicate()

    @property
    def live(self):
        return self.address.replace("http", "ws") + "live"

    def interrupt(self):
        self.program.send_signal(signal.SIGINT)
        return self.program.communicate(timeout=PATIENCE)[0], self.program.returncode


def get(url):
    with urllib.request.urlopen(url, timeout=PATIENCE) as answer:
        return answer.headers["Content-Type"], answer.read().decode()


class DemoPage(unittest.TestCase):
    def test_the_page_and_the_counters_are_there(self):
        with Demo("--port", "0", "--seconds", "100") as demo:
            self.assertRegex(demo.address, r"^http://127\.0\.0\.1:\d+/$")
            content_type, page = get(demo.address)
            self.assertEqual(content_type, "text/html; charset=utf-8")
            self.assertIn("new WebSocket(", page)
            self.assertNotRegex(page, "https?://")  # it needs no other server
            content_type, metrics = get(demo.address + "metrics")
            self.assertTrue(content_type.startswith("text/plain; version=0.0.4"))
            self.assertRegex(metrics, r"(?m)^sidecar_messages_received_total [1-9]")
            with self.assertRaises(urllib.error.HTTPError) as missing:
                get(demo.address + "missing")
            self.assertEqual(missing.exception.code, 404)
            missing.exception.close()
            out, status = demo.interrupt()
            self.assertEqual(status, 0)
            self.assertIn(b"stopped", out)

    def test_the_state_arrives_again_and_again_also_while_another_viewer_reads_nothing(self):
        async def look(url):
            host, port = re.match(r"ws://(.*):(\d+)/", url).groups()
            with socket.create_connection((host, int(port))) as deaf:
                deaf.sendall(b"GET /live HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                             b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n")
                async with websockets.connect(url) as viewer:
                    await viewer.send("a viewer's message is none of the market's")
                    return [json.loads(await asyncio.wait_for(viewer.recv(), PATIENCE)) for _ in range(30)]
        with Demo("--port", "0", "--seconds", "100") as demo:
            states = asyncio.run(look(demo.live))
            self.assertEqual({one["symbol"] for one in states[-1]["instruments"]}, {"ACME", "BOLT", "COAL", "DUNE"})
            self.assertEqual(states[-1]["stats"]["clients"], 2)
            counts = [state["stats"]["messages_received"] for state in states]
            self.assertEqual(counts, sorted(counts))
            self.assertGreater(counts[-1], counts[0])
            self.assertIn(b" 0 not understood", demo.interrupt()[0])

    def test_a_page_finds_the_demo_again_after_its_restart(self):
        async def once(url):
            async with websockets.connect(url) as viewer:
                json.loads(await asyncio.wait_for(viewer.recv(), PATIENCE))
        with Demo("--port", "0", "--seconds", "100") as demo:
            port = re.search(r":(\d+)/", demo.address)[1]
            asyncio.run(once(demo.live))
            demo.interrupt()
        with Demo("--port", port, "--seconds", "100") as demo:
            asyncio.run(once(demo.live))

    def test_it_ends_by_itself_and_its_address_is_the_last_line_meanwhile(self):
        with Demo("--port", "0", "--messages", "2500") as demo:
            out = demo.program.communicate(timeout=PATIENCE)[0].decode()
            self.assertEqual(demo.program.returncode, 0)
            self.assertTrue(demo.first.startswith(b"connected to ws://"), demo.first)
            self.assertRegex(out, r"%\n" + re.escape(demo.address) + r"\n")
            self.assertIn("2500 messages", out)

    def test_a_port_that_is_taken_is_an_error_if_it_is_asked_for(self):
        with socket.create_server(("127.0.0.1", 0)) as taken:
            done = subprocess.run([PROGRAM, "--port", str(taken.getsockname()[1])], capture_output=True, timeout=PATIENCE)
        self.assertNotEqual(done.returncode, 0)
        self.assertIn(b"in use", done.stderr)

    def test_open_starts_a_browser(self):
        with tempfile.TemporaryDirectory() as folder:
            opened = pathlib.Path(folder, "opened")
            browser = pathlib.Path(folder, "xdg-open")
            browser.write_text(f'#!/bin/sh\necho "$1" >{opened}.new && mv {opened}.new {opened}\n')
            browser.chmod(0o755)
            environment = {**os.environ, "PATH": f"{folder}:{os.environ['PATH']}"}
            with Demo("--port", "0", "--seconds", "100", "--open", env=environment) as demo:
                deadline = time.monotonic() + PATIENCE
                while not opened.exists():
                    self.assertLess(time.monotonic(), deadline)
                    time.sleep(0.01)
                self.assertEqual(opened.read_text().strip(), demo.address)


unittest.main()
