"""Python's websockets as a server that is measured; the commands are those of subject.hpp."""
import asyncio
import resource
import struct
import sys
import time

import websockets


class Commands:
    def __init__(self):
        self.clients = set()
        self.number = 0

    async def serve(self, client):
        self.clients.add(client)
        try:
            async for message in client:
                await client.send(message)
        except websockets.ConnectionClosed:
            pass
        finally:
            self.clients.discard(client)

    async def send(self, is_paced, count, rate, size):
        rest = bytes(ord("a") + i % 26 for i in range(16, size))
        spent = arrived = 0
        began = time.monotonic()
        for i in range(count):
            if is_paced:
                await asyncio.sleep(max(0.0, began + i / rate - time.monotonic()))
            else:
                while i - arrived >= rate:
                    arrived += len(await self.input.read(4096))
            before = time.monotonic_ns()
            self.number += 1
            websockets.broadcast(self.clients, struct.pack("=QQ", before, self.number) + rest)
            spent += time.monotonic_ns() - before
        while not is_paced and arrived < count:
            arrived += len(await self.input.read(4096))
        return spent // count

    async def run(self):
        self.input = asyncio.StreamReader()
        await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(self.input), sys.stdin)
        async with websockets.serve(self.serve, "127.0.0.1", 0, compression=None, ping_interval=None, backlog=4096) as server:
            print(server.sockets[0].getsockname()[1], flush=True)
            while line := (await self.input.readline()).decode().strip("\n."):
                name, *numbers = line.split()
                numbers = [int(number) for number in numbers]
                if name == "wait":
                    while len(self.clients) < numbers[0]:
                        await asyncio.sleep(0.001)
                    print("ready", flush=True)
                elif name != "echo":
                    print("done", await self.send(name == "paced", *numbers), flush=True)


hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
asyncio.run(Commands().run())
