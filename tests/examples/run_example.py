#!/usr/bin/env python3
"""Runs an example against the peer that it wants, and compares what it prints.

    run_example.py NAME PROGRAM
"""
import asyncio
import contextlib
import json
import os
import pathlib
import re
import signal
import socket
import sys
import tempfile

import websockets

LIMIT = 20  # seconds; for one example with its peer
CLUSTER_LIMIT = 150  # for the demo that elects leaders


def port_of(server):
    return str(server.sockets[0].getsockname()[1])


async def echo_words(ws):
    async for message in ws:
        await ws.send(message)


async def talk(ws):
    """A feed: a message a millisecond, without end."""
    try:
        for number in range(10_000_000):
            await ws.send(f"quote {number}")
            await asyncio.sleep(0.001)
    except websockets.ConnectionClosed:
        pass


async def echo_one(ws):
    await ws.send(await ws.recv())


def websocket(handler):
    return websockets.serve(handler, "127.0.0.1", 0)


async def answer_lines(reader, writer):
    answers = {"who are you?": "a server", "what time is it?": "noon"}
    while line := await reader.readline():
        number, question = line.decode().rstrip("\n").split(" ", 1)
        writer.write(f"0 an announcement\n{number} {answers[question]}\n".encode())
    writer.close()


async def fill_orders(reader, writer):
    writer.write(b"filled 1\nfilled 2\nfilled 3\n")
    await reader.read()
    writer.close()


async def echo_netstrings(reader, writer):
    while length := await reader.readuntil(b":"):
        text = await reader.readexactly(int(length[:-1]) + 1)
        whole = length + text
        for at in range(len(whole)):  # a byte at a time: the framing must put it together
            writer.write(whole[at:at + 1])
            await writer.drain()
        break
    await reader.read()
    writer.close()


def tcp(handler):
    return asyncio.start_server(handler, "127.0.0.1", 0)


class EchoDatagrams(asyncio.DatagramProtocol):
    def connection_made(self, transport):
        self.transport = transport

    def datagram_received(self, data, address):
        self.transport.sendto(b"pong to " + data, address)


async def run(program, *arguments, interrupt_after=None, **options):
    process = await asyncio.create_subprocess_exec(program, *arguments, stdout=asyncio.subprocess.PIPE, **options)
    output = b""
    try:
        if interrupt_after is not None:
            while interrupt_after not in output:
                line = await process.stdout.readline()
                if not line:
                    break
                output += line
            process.send_signal(signal.SIGINT)
        output += (await process.communicate())[0]
    finally:
        if process.returncode is None:
            process.kill()
    return process.returncode, output.decode()


async def run_hello(program):
    async with websocket(echo_one) as server:
        return await run(program, "ws://127.0.0.1:" + port_of(server)), "hello\n"


async def run_request_reply(program):
    async with await tcp(answer_lines) as server:
        return await run(program, "127.0.0.1", port_of(server)), (
            "not for us: 0 an announcement\nwho are you? -> a server\n"
            "not for us: 0 an announcement\nwhat time is it? -> noon\n")


async def run_several_feeds(program):
    async with websocket(talk) as quotes, await tcp(fill_orders) as orders:
        status, output = await run(program, "ws://127.0.0.1:" + port_of(quotes), "127.0.0.1", port_of(orders))
    in_order = [line for line in output.splitlines() if line.startswith("quote")] + \
               [line for line in output.splitlines() if not line.startswith("quote")]
    return (status, "\n".join(in_order)), (
        "quote: quote 0\nquote: quote 1\nquote: quote 2\n"
        "order: filled 1\norder: filled 2\norder: filled 3\nstopped cleanly")


async def run_game_loop(program):
    async with websocket(talk) as server:
        return await run(program, "ws://127.0.0.1:" + port_of(server)), "60 frames, some messages\n"


async def run_epoll(program):
    async with websocket(echo_words) as server:
        status, output = await run(program, "ws://127.0.0.1:" + port_of(server))
    # the answer to the last tick may come after the program's end
    return (status, "".join(re.findall("tick [12]\n", output))), "tick 1\ntick 2\n"


async def run_glib(program):
    async with websocket(echo_words) as server:
        return await run(program, "ws://127.0.0.1:" + port_of(server)), "tick\ntick\ntick\n"


async def run_custom_transport(program):
    transport, _ = await asyncio.get_running_loop().create_datagram_endpoint(
        EchoDatagrams, local_addr=("127.0.0.1", 0))
    port = str(transport.get_extra_info("sockname")[1])
    try:
        return await run(program, "127.0.0.1", port), "pong to ping\n"
    finally:
        transport.close()


async def run_custom_framing(program):
    async with await tcp(echo_netstrings) as server:
        return await run(program, "127.0.0.1", port_of(server)), "hello\n"


async def run_testing(program):
    return await run(program), (
        "ok: adds up the numbers\nok: ends after a minute of silence\n"
        "ok: takes the messages from before the close\nok: reports the peer's reason\n")


async def run_signals(program):
    async with websocket(echo_words) as server:
        return await run(program, "ws://127.0.0.1:" + port_of(server), interrupt_after=b"waiting"), (
            "waiting; Ctrl-C stops\nsignal 2\nstopped cleanly\n")


class Exchange:
    """Wants a login and two subscriptions, and throws its first client out after two quotes."""
    connections = 0

    async def serve(self, ws):
        self.connections += 1
        is_first = self.connections == 1
        subscribed = 0
        async for message in ws:
            what, _, whom = message.partition(" ")
            if what == "login":
                await ws.send("welcome")
            elif what == "subscribe":
                await ws.send(f"subscribed {whom}")
                subscribed += 1
            if subscribed == 2:
                for text in ["one", "two"] if is_first else ["three", "the market is closed"]:
                    await ws.send(text)
                if is_first:
                    await ws.close(1001)


async def run_reconnecting(program):
    async with websocket(Exchange().serve) as server:
        return await run(program, "ws://127.0.0.1:" + port_of(server), "somebody"), (
            "[subscribed ACME][subscribed BOLT][one][two]\nconnection 1 is down, and there will be another\n"
            "[subscribed ACME][subscribed BOLT][three]\nstopped\n")


async def run_server(program):
    """Two viewers; one gives a command, both see its effect. A third has left."""
    process = await asyncio.create_subprocess_exec(program, "0", stdout=asyncio.subprocess.PIPE)
    try:
        url = (await process.stdout.readline()).decode().strip()
        async with websockets.connect(url) as third:
            await third.recv()
        async with websockets.connect(url) as first, websockets.connect(url) as second:
            await second.send("back")
            for viewer in (first, second):
                positions = []
                while len(positions) < 3 or not positions[-3] > positions[-2] > positions[-1]:
                    positions.append(json.loads(await viewer.recv())["position"])
            process.send_signal(signal.SIGINT)
            await first.wait_closed()
            assert first.close_code == 1001, first.close_code
        output = (await process.communicate())[0].decode()
    finally:
        if process.returncode is None:
            process.kill()
    return (process.returncode, re.search("clients.*", output)[0]), "clients: 2 closed, 0 cut"


def packets(path):
    client = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    client.settimeout(LIMIT)
    client.connect(path)
    return client


async def run_custom_acceptor(program):
    """Each client gets what is said while it is there, packet by packet, and then the end."""
    with tempfile.TemporaryDirectory() as folder:
        path = folder + "/packets"
        process = await asyncio.create_subprocess_exec(program, path, stdout=asyncio.subprocess.PIPE)
        try:
            output = await process.stdout.readline()
            first = packets(path)
            first.send(b"hello")
            first.send(b"anybody here?")
            for _ in range(2):
                output += await process.stdout.readline()
            second = packets(path)
            second.send(b"bye")
            output += (await process.communicate())[0]
        finally:
            if process.returncode is None:
                process.kill()
        got = [first.recv(100) for _ in range(4)], [second.recv(100) for _ in range(2)]
        assert got == ([b"hello", b"anybody here?", b"bye", b""], [b"bye", b""]), got
        assert not os.path.exists(path)
        return (process.returncode, output.decode()), (
            'listening\n"hello" goes to 1\n"anybody here?" goes to 1\n"bye" goes to 2\n')


def processes_of(folder):
    """Those whose command line names the folder."""
    found = []
    for path in pathlib.Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            if folder.encode() in path.read_bytes():
                found.append(path)
    return found


async def run_fan_out(program):
    """Nothing is lost; after Ctrl-C nothing is left; without a server it says so."""
    with tempfile.TemporaryDirectory() as folder:
        here = {"env": {**os.environ, "TMPDIR": folder}}
        status, output = await run(program, "--messages", "400", **here)
        killed, _ = await run(program, interrupt_after=b"demo: three nodes", **here)
        missing, text = await run(program, "--server", "no-such-server", stderr=asyncio.subprocess.STDOUT)
        left = os.listdir(folder), processes_of(folder)
    facts = re.findall("kill -9 of the (?:worker|node)|400 of 400 results, 0 came twice|nothing is lost", output)
    if status != 0:
        facts.append(output)
    return (status, [facts, killed, missing, text, left]), [
        ["kill -9 of the worker", "kill -9 of the node", "400 of 400 results, 0 came twice", "nothing is lost"], 1, 1,
        "fan_out: no-such-server is missing. Debian, Ubuntu: apt install nats-server\n", ([], [])]


EXAMPLES = {name[len("run_"):]: function for name, function in globals().items() if name.startswith("run_")}


async def main():
    name, program = sys.argv[1:]
    limit = CLUSTER_LIMIT if name.startswith("cluster_") else LIMIT
    (status, output), expected = await asyncio.wait_for(EXAMPLES[name.split("_", 1)[1]](program), limit)
    if status != 0 or output != expected:
        print(f"{name} ended with {status} and printed\n{output}\nexpected\n{expected}")
        sys.exit(1)
    print(output)


asyncio.run(main())
