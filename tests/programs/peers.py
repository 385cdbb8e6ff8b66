"""Peers on the loopback, and runs of sidecar-cat against them, for the tests of the program."""
import asyncio
import base64
import hashlib
import os
import pathlib
import queue
import re
import socket
import ssl
import subprocess
import tempfile
import threading

import websockets

PROGRAM = os.environ.get("SIDECAR_CAT", "sidecar-cat")
PATIENCE = 20 * float(os.environ.get("MESON_TEST_TIMEOUT_MULTIPLIER", "1"))


class WebSocketPeer:
    """A server whose `serve(ws, path)` is given; it runs on a thread of its own until it is closed."""

    def __init__(self, serve, **options):
        self.loop = asyncio.new_event_loop()
        self.closed = queue.Queue()
        self.requests = []
        self.extensions = []
        self.ready = threading.Event()
        self.serve = serve
        self.options = options
        self.thread = threading.Thread(target=self.run, daemon=True)
        self.thread.start()
        assert self.ready.wait(PATIENCE)

    def run(self):
        asyncio.set_event_loop(self.loop)

        async def connection(ws, path):
            self.requests.append((path, ws.request_headers, ws.subprotocol))
            self.extensions.append(ws.extensions)
            try:
                await self.serve(ws)
            except websockets.ConnectionClosed:
                pass
            await ws.wait_closed()
            self.closed.put(ws.close_code)

        async def main():
            self.server = await websockets.serve(connection, "127.0.0.1", 0, max_size=None, **self.options)
            self.port = self.server.sockets[0].getsockname()[1]
            self.ready.set()

        self.loop.run_until_complete(main())
        self.loop.run_forever()
        self.loop.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        async def shut():
            self.server.close()
            await self.server.wait_closed()
        asyncio.run_coroutine_threadsafe(shut(), self.loop).result(PATIENCE)
        self.loop.call_soon_threadsafe(self.loop.stop)
        self.thread.join(PATIENCE)

    def close_code(self):
        """With what the next connection ended, from the server's side."""
        return self.closed.get(timeout=PATIENCE)

    @property
    def url(self):
        return f"ws://127.0.0.1:{self.port}/"


async def echo(ws):
    async for message in ws:
        await ws.send(message)


def says(*messages, then=None):
    """A peer that says so, does `then`, and waits for the end."""
    async def serve(ws):
        for message in messages:
            await ws.send(message)
        if then:
            await then(ws)
        await ws.wait_closed()
    return serve


class TcpPeer:
    """Takes one connection after the other and runs `serve(socket)` for each, on a thread."""

    def __init__(self, serve, family=socket.AF_INET):
        self.listener = socket.socket(family)
        if family == socket.AF_UNIX:
            self.folder = tempfile.TemporaryDirectory()
            self.path = str(pathlib.Path(self.folder.name, "socket"))
            self.listener.bind(self.path)
        else:
            self.listener.bind(("127.0.0.1", 0))
            self.port = self.listener.getsockname()[1]
        self.listener.listen()
        self.failure = None
        self.serve = serve
        self.thread = threading.Thread(target=self.run, daemon=True)
        self.thread.start()

    def run(self):
        while True:
            try:
                connection, _ = self.listener.accept()
            except OSError:
                return
            with connection:
                connection.settimeout(PATIENCE)
                try:
                    self.serve(connection)
                except (BrokenPipeError, ConnectionResetError):
                    pass
                except BaseException as failure:
                    self.failure = failure

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        self.thread.join(PATIENCE)
        if self.failure:
            raise self.failure

    @property
    def url(self):
        return f"tcp://127.0.0.1:{self.port}"


class Certificates:
    """Those of tests/support/make_certificates, made when the first is asked for."""
    folder = None

    @classmethod
    def path(cls, name):
        if cls.folder is None:
            cls.folder = tempfile.TemporaryDirectory()
            script = pathlib.Path(__file__).parent.parent / "support" / "make_certificates"
            subprocess.run([script, cls.folder.name], check=True)
        return str(pathlib.Path(cls.folder.name, name))


class TlsPeer(TcpPeer):
    """The same with TLS; a handshake that fails ends the connection, and nothing else. Of several certificates each
    connection takes the next; the last stays."""

    def __init__(self, serve, certificate="valid", *further, demands_client=False, highest=ssl.TLSVersion.TLSv1_3):
        contexts = [self.context(name, demands_client, highest) for name in (certificate, *further)]

        def secured(connection):
            context = contexts.pop(0) if len(contexts) > 1 else contexts[0]
            try:
                with context.wrap_socket(connection, server_side=True) as tls:
                    serve(tls)
                    tls.unwrap()
            except (ssl.SSLError, ConnectionError):
                pass
        super().__init__(secured)

    @staticmethod
    def context(certificate, demands_client, highest):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.maximum_version = highest
        context.load_cert_chain(Certificates.path(certificate + ".pem"), Certificates.path(certificate + ".key"))
        if demands_client:
            context.verify_mode = ssl.CERT_REQUIRED
            context.load_verify_locations(Certificates.path("ca.pem"))
        return context

    @property
    def url(self):
        return f"tls://localhost:{self.port}"


def accept_websocket(connection, more=b""):
    """Reads the request, accepts it, and sends `more` behind the head."""
    key = re.search(rb"Sec-WebSocket-Key: (\S+)", connection.recv(65536))[1]
    accept = base64.b64encode(hashlib.sha1(key + b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11").digest())
    connection.sendall(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                       b"Sec-WebSocket-Accept: " + accept + b"\r\n\r\n" + more)


def drain(connection):
    """Reads until the other side's end."""
    received = b""
    while piece := connection.recv(65536):
        received += piece
    return received


def start(*arguments, **options):
    """The program, running; its three streams are pipes unless `options` say otherwise."""
    streams = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    return subprocess.Popen([PROGRAM, *arguments], **{**streams, **options})


def run(*arguments, input=b"", **options):
    """Runs the program to its end: status, output, errors."""
    program = start(*arguments, **options)
    try:
        out, err = program.communicate(input, timeout=PATIENCE)
    except subprocess.TimeoutExpired:
        program.kill()
        out, err = program.communicate()
        raise AssertionError(f"it does not end: {arguments}: {(out or b'')[-500:]} {(err or b'')[-500:]}")
    return program.returncode, out, err
