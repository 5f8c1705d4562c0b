"""Talks to websocket_service.py through URL; prints what came of it as JSON."""
import json
import sys

from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

seen = {}
with connect(sys.argv[1], max_size=None, compression=None) as socket:
    for size in (0, 1, 125, 126, 65535, 65536, 1 << 20):
        message = bytes(size)
        socket.send(message)
        seen[f"binary {size}"] = socket.recv(timeout=20) == message
    socket.send(iter(["a", "b", "c"]))
    seen["fragments"] = socket.recv(timeout=20)
    seen["pong"] = socket.ping().wait(20)
    for n in range(1000):
        socket.send(str(n))
    seen["order"] = [int(socket.recv(timeout=20)) for _ in range(1000)] == list(range(1000))
    socket.send("close")
    try:
        socket.recv(timeout=20)
    except ConnectionClosed as closed:
        seen["code"] = closed.rcvd.code
        seen["reason"] = closed.rcvd.reason
with connect(sys.argv[1]) as socket:
    socket.send("with compression")
    seen["compressed"] = socket.recv(timeout=20)
print(json.dumps(seen))
