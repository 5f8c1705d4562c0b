"""A WebSocket service that echoes: prints its port, ends with its standard input."""
import sys
import threading

from websockets.exceptions import ConnectionClosed
from websockets.sync.server import serve


def echo(socket):
    try:
        for message in socket:
            if message == "close":
                socket.close(4001, "as asked")
                return
            socket.send(message)
    except ConnectionClosed:
        # Some tests cut it off.
        pass


with serve(echo, "127.0.0.1", 0, max_size=None) as server:
    threading.Thread(target=server.serve_forever, daemon=True).start()
    print(server.socket.getsockname()[1], flush=True)
    sys.stdin.read()
