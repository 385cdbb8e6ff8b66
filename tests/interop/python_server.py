#!/usr/bin/env python3
"""Python's websockets as a server. Prints its port; echoes, and obeys the words that node_server.js obeys too."""
import asyncio
import os
import sys

import websockets

last_close = [0]


def extensions_of(ws):
    return ",".join(extension.name for extension in ws.extensions)


async def serve(ws, _):
    try:
        async for message in ws:
            words = message.split() if isinstance(message, str) and len(message) < 100 else [""]
            if words[:1] == ["fragments"]:
                await ws.send(["one ", "zwei ü ", "", "three"])
                await ws.send([b"\0", b"", b"\xff"])
            elif words[:1] == ["ping"]:
                await asyncio.wait_for(await ws.ping(b"are you there?"), 10)
                await ws.send("you answered")
            elif words[:1] == ["close"]:
                await ws.close(int(words[1]), " ".join(words[2:]))
            elif words[:1] == ["drop"]:
                ws.transport.abort()
            elif words[:1] == ["extensions"]:
                await ws.send(extensions_of(ws))
            elif words[:1] == ["last-close"]:
                await ws.send(str(last_close[0]))
            else:
                await ws.send(message)
    except websockets.ConnectionClosed:
        pass
    await ws.wait_closed()
    last_close[0] = ws.close_code


async def main():
    options = {} if "compressed" in sys.argv else {"compression": None}
    async with websockets.serve(serve, "127.0.0.1", 0, max_size=None, subprotocols=["v2", "v3"], **options) as server:
        print(server.sockets[0].getsockname()[1], flush=True)
        parent = os.getppid()
        while os.getppid() == parent:  # ends with the test that started it
            await asyncio.sleep(0.2)


asyncio.run(main())
