"""The pattern's origin: asyncio and websockets on a thread, a queue to the main thread.

   python.py ingest URL SECONDS PAYLOAD-BYTES | python.py round_trip URL SECONDS COUNT
"""
import asyncio
import os
import queue
import sys
import threading
import time
import zlib

import websockets

what, url, seconds, number = sys.argv[1], sys.argv[2], float(sys.argv[3]), int(sys.argv[4])
inbox = queue.Queue()
loop = asyncio.new_event_loop()
link = None


async def listen():
    global link
    async with websockets.connect(url, compression=None, max_size=None) as link:
        inbox.put(None)
        async for message in link:
            inbox.put(message)


threading.Thread(target=lambda: loop.run_until_complete(listen()), daemon=True).start()
inbox.get()
if what == "ingest":
    count = 0
    began, cpu = time.monotonic(), time.process_time()
    while time.monotonic() - began < seconds:
        message = inbox.get()
        assert len(message) == number
        zlib.crc32(message)
        count += 1
    print("per_second", count / (time.monotonic() - began))
    print("cpu_ns", 1e9 * (time.process_time() - cpu) / count)
else:
    times = []
    for _ in range(number):
        began = time.monotonic()
        asyncio.run_coroutine_threadsafe(link.send(b"x" * 64), loop)
        inbox.get()
        times.append(time.monotonic() - began)
    times.sort()
    for name, quantile in ("p50_us", 0.5), ("p99_us", 0.99), ("p999_us", 0.999):
        print(name, 1e6 * times[int(quantile * len(times))])
sys.stdout.flush()
os._exit(0)  # the thread is in the middle of something
