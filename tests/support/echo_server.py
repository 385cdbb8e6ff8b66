"""An independent peer: Python's websockets. Prints its port; echoes, and obeys a few words."""
import asyncio
import os
import websockets


async def serve(ws):
    try:
        async for message in ws:
            if message == "ping me":
                await (await ws.ping())
                await ws.send("you answered")
            elif message == "in fragments":
                await ws.send(["one ", "two ", "three"])
            elif message == "close":
                await ws.close(4001, "as you wish")
            else:
                await ws.send(message)
    except websockets.ConnectionClosed:
        pass
    finally:
        await ws.wait_closed()
        print("closed", ws.close_code, flush=True)


async def main():
    async with websockets.serve(serve, "127.0.0.1", 0, max_size=None) as server:
        print(server.sockets[0].getsockname()[1], flush=True)
        parent = os.getppid()
        while os.getppid() == parent:  # ends with the test that started it
            await asyncio.sleep(0.1)


asyncio.run(main())
