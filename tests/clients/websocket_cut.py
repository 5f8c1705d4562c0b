"""Talks to websocket_service.py through URL until it is cut off; prints what came as JSON.

usage: websocket_cut.py URL MESSAGES SIZE

Sends so many messages at once, each of its number and padding, then reads until the connection is
over. Prints: echoed (how many came back whole and in order), code (of the Close frame that came;
null: none did), open_s and first_s (until the handshake was done; from then to the first echo),
all_s (from then to the last), over_s (from before the handshake to the end).
"""
import json
import sys
import time

from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

url, count, size = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
began = time.monotonic()
# Pings would be messages of ours.
socket = connect(url, max_size=None, compression=None, ping_interval=None, close_timeout=5)
opened = time.monotonic()
seen = dict(open_s=opened - began, echoed=0, code=None)
messages = [str(n).ljust(size, ".") for n in range(count)]
try:
    for message in messages:
        socket.send(message)
except ConnectionClosed:
    pass
try:
    while True:
        came = socket.recv(timeout=30)
        seen.setdefault("first_s", time.monotonic() - opened)
        seen["all_s"] = time.monotonic() - opened
        assert came == messages[seen["echoed"]], (came, seen)
        seen["echoed"] += 1
        if seen["echoed"] == count and len(sys.argv) > 4:
            # What it was to see, it has.
            socket.close()
except ConnectionClosed as closed:
    seen["code"] = closed.rcvd and closed.rcvd.code
seen["over_s"] = time.monotonic() - began
print(json.dumps(seen))
