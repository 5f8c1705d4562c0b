"""As much of HTTP/2 as clients need that mean harm: frames as bytes, fields as literals."""
import socket

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, PRIORITY, RESET, SETTINGS, PUSH, PING, GOAWAY, WINDOW, CONTINUATION = range(10)
END_STREAM, END_HEADERS, CANCEL = 1, 4, 8


def frame(kind, flags, stream, payload=b""):
    return len(payload).to_bytes(3, "big") + bytes([kind, flags]) + stream.to_bytes(4, "big") + payload


def number(value):
    """RFC 7541 5.1, with a prefix of seven bits."""
    if value < 127:
        return bytes([value])
    out, value = [127], value - 127
    while value >= 128:
        out.append(value % 128 + 128)
        value //= 128
    return bytes(out + [value])


def fields(*pairs):
    """Literals without indexing (RFC 7541 6.2.2)."""
    out = b""
    for name, value in pairs:
        name, value = (text if isinstance(text, bytes) else text.encode("latin-1") for text in (name, value))
        out += b"\0" + number(len(name)) + name + number(len(value)) + value
    return out


def head(path, method="GET", *more):
    return fields((":method", method), (":scheme", "http"), (":path", path), (":authority", "t"), *more)


def get(stream, path, *more):
    return frame(HEADERS, END_STREAM | END_HEADERS, stream, head(path, "GET", *more))


class Client:
    """Reads frames; gives no window back."""

    def __init__(self, where, settings=b"", wide=True):
        self.sock = socket.create_connection(where, timeout=30)
        self.held = b""
        opening = PREFACE + frame(SETTINGS, 0, 0, settings)
        # The streams' windows are what counts, not that of all together.
        self.sock.sendall(opening + (frame(WINDOW, 0, 0, (0x7fff0000).to_bytes(4, "big")) if wide else b""))

    def send(self, data):
        self.sock.sendall(data)

    def next(self):
        """The next frame, as kind, flags, stream and payload; None when the other side has closed."""
        while True:
            if len(self.held) >= 9:
                end = 9 + int.from_bytes(self.held[:3], "big")
                if len(self.held) >= end:
                    whole, self.held = self.held[:end], self.held[end:]
                    return whole[3], whole[4], int.from_bytes(whole[5:9], "big"), whole[9:]
            piece = self.sock.recv(65536)
            if not piece:
                return None
            self.held += piece

    def close(self):
        self.sock.close()
