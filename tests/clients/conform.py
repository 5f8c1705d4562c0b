"""What a client that is not ours sees of a fault; prints it as JSON.

usage: conform.py PROTOCOL ADDRESS [OPTIONS]

PROTOCOL: h1 (a plain socket), h2 (the frames of pip's `h2`), grpc (grpcio, and frames again).
OPTIONS, as JSON: method, path (/hit), fields, warm (so many requests before), pair (two at once),
upload (a body of so many bytes). Prints:

status   of the answer, or "none"
body     "whole", "none", "N bytes" (a beginning of it), or "damaged" (as long, and different)
end      "complete", "closed" (FIN), "reset" (RST; with HTTP/2's code), "garbage", "silence"
next     what /calm says on the same connection afterwards, or "none"
frames   HTTP/2: their kinds in order, DATA once for many, "/end" where the stream's end is said
fields   of the answer's head
first_s, all_s   until the answer's first byte and until the end
whole    gRPC: messages in the frames; messages: those that grpcio told
statuses of a pair, sorted
"""
import json
import socket
import sys
import time

PROTOCOL, ADDRESS = sys.argv[1:3]
OPTIONS = json.loads(sys.argv[3]) if len(sys.argv) > 3 else {}
METHOD, PATH = OPTIONS.get("method", "GET"), OPTIONS.get("path", "/hit")
FIELDS, UPLOAD = OPTIONS.get("fields", {}), OPTIONS.get("upload", 0)
HOST, PORT = ADDRESS.split(":")
PATIENCE = 20
# What tests/conformance.rs's service answers with.
BODY = bytes(b"0123456789abcdefghijklmnopqrstuvwxyz"[at // 7 % 36] for at in range(1000))
if METHOD != "GET" and not UPLOAD or PATH[-4:] in ("/204", "/304"):
    BODY = b""


def body(came):
    if came == BODY:
        return "whole" if BODY else "none"
    if BODY.startswith(came):
        return f"{len(came)} bytes" if came else "none"
    return "damaged" if len(came) == len(BODY) else came.decode("latin-1")


def messages(came):
    """Whole gRPC messages; with what is left over, a half."""
    count = 0
    while len(came) >= 5 and len(came) >= 5 + int.from_bytes(came[1:5], "big"):
        came = came[5 + int.from_bytes(came[1:5], "big") :]
        count += 1
    return count + 0.5 * bool(came)


class Raw:
    """HTTP/1.1 by hand."""

    def __init__(self):
        self.socket = socket.create_connection((HOST, int(PORT)))
        self.socket.settimeout(PATIENCE)
        self.buffer = b""

    def more(self):
        """None, or how the connection ended."""
        try:
            came = self.socket.recv(65536)
        except ConnectionResetError:
            return "reset"
        except TimeoutError:
            return "silence"
        self.buffer += came
        return None if came else "closed"

    def send(self, method, path, fields, upload=0):
        lines = [f"{method} {path} HTTP/1.1", "host: t"]
        lines += [f"content-length: {upload}"] if upload else []
        lines += [f"{name}: {value}" for name, value in fields.items()]
        self.began = time.monotonic()
        self.socket.sendall("\r\n".join(lines + ["", ""]).encode() + b"x" * upload)

    def read(self, method):
        began, seen = self.began, dict(status="none", body="none", fields={})
        while b"\r\n\r\n" not in self.buffer:
            end = self.more()
            if self.buffer and "first_s" not in seen:
                seen["first_s"] = time.monotonic() - began
            if self.buffer and not self.buffer.startswith(b"HTTP/1.1 "[: len(self.buffer)]):
                while end is None:
                    end = self.more()
                self.buffer = b""
                return dict(seen, end="garbage", all_s=time.monotonic() - began)
            if end:
                return dict(seen, end=end, all_s=time.monotonic() - began)
        head, self.buffer = self.buffer.split(b"\r\n\r\n", 1)
        status, *fields = head.decode("latin-1").split("\r\n")
        seen["status"] = int(status.split(" ")[1])
        for field in fields:
            name, value = field.split(": ", 1)
            seen["fields"][name.lower()] = value
        bodiless = method == "HEAD" or seen["status"] in (204, 304)
        length = 0 if bodiless else int(seen["fields"].get("content-length", -1))
        end = None
        while end is None and not self.is_whole(length):
            end = self.more()
        seen["all_s"] = time.monotonic() - began
        if length < 0:
            came, rest = self.unchunked()
        else:
            came, rest = self.buffer[:length], self.buffer[length:]
        self.buffer = rest
        return dict(seen, body=body(came), end=end or "complete")

    def is_whole(self, length):
        return self.buffer.endswith(b"0\r\n\r\n") if length < 0 else len(self.buffer) >= length

    def unchunked(self):
        came, rest = b"", self.buffer
        while b"\r\n" in rest:
            size, rest = rest.split(b"\r\n", 1)
            came, rest = came + rest[: int(size, 16)], rest[int(size, 16) + 2 :]
        return came, rest

    def next(self):
        try:
            self.send("GET", "/calm", {})
            return self.read("GET")["status"]
        except OSError:
            return "none"


def h1():
    raw = Raw()
    for _ in range(OPTIONS.get("warm", 0)):
        raw.send(METHOD, PATH, FIELDS, UPLOAD)
        raw.read(METHOD)
    if OPTIONS.get("pair"):
        pair = [Raw(), Raw()]
        [one.send(METHOD, PATH, FIELDS, UPLOAD) for one in pair]
        return dict(statuses=sorted(one.read(METHOD)["status"] for one in pair))
    raw.send(METHOD, PATH, FIELDS, UPLOAD)
    seen = raw.read(METHOD)
    return dict(seen, next=raw.next())


class Frames:
    """One HTTP/2 connection, frame by frame."""

    def __init__(self):
        import h2.config
        import h2.connection

        config = h2.config.H2Configuration(header_encoding="utf-8", validate_inbound_headers=False)
        self.connection = h2.connection.H2Connection(config)
        self.connection.initiate_connection()
        self.socket = socket.create_connection((HOST, int(PORT)))
        self.socket.settimeout(PATIENCE)
        self.flush()
        self.began, self.seen, self.goaway = {}, {}, None

    def flush(self):
        self.socket.sendall(self.connection.data_to_send())

    def send(self, method, path, fields, upload=b""):
        stream = self.connection.get_next_available_stream_id()
        head = [(":method", method), (":scheme", "http"), (":authority", "t"), (":path", path)]
        head += list(fields.items()) + ([("content-length", str(len(upload)))] if upload else [])
        self.connection.send_headers(stream, head, end_stream=not upload)
        if upload:
            for at in range(0, len(upload), 16384):
                piece = upload[at : at + 16384]
                last = at + 16384 >= len(upload)
                self.connection.send_data(stream, piece, end_stream=last)
        self.began[stream] = time.monotonic()
        self.seen[stream] = dict(status="none", came=b"", fields={}, frames=[], end=None)
        self.flush()
        return stream

    def until(self, stream):
        while self.seen[stream]["end"] is None:
            try:
                came = self.socket.recv(65536)
            except TimeoutError:
                self.seen[stream]["end"] = "silence"
                break
            except ConnectionResetError:
                came = b""
            if not came:
                for seen in self.seen.values():
                    seen["end"] = seen["end"] or "closed"
                break
            for event in self.connection.receive_data(came):
                self.happened(event)
            self.flush()
        seen = self.seen[stream]
        seen["messages"] = messages(seen["came"])
        seen["body"] = body(seen.pop("came"))
        seen["frames"] = " ".join(seen["frames"])
        return dict(seen, goaway=self.goaway)

    def happened(self, event):
        name, now = type(event).__name__, time.monotonic()
        if name == "ConnectionTerminated":
            self.goaway = int(event.error_code)
        seen = self.seen.get(getattr(event, "stream_id", None))
        if seen is None:
            return
        frames, since = seen["frames"], now - self.began[event.stream_id]
        if name in ("ResponseReceived", "TrailersReceived"):
            fields = dict(event.headers)
            if name == "ResponseReceived":
                seen["status"], seen["first_s"] = int(fields.pop(":status")), since
            seen["fields"].update(fields)
            frames.append("HEADERS")
        elif name == "DataReceived":
            self.connection.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
            seen["came"] += event.data
            if frames[-1:] != ["DATA"]:
                frames.append("DATA")
        elif name == "StreamEnded":
            frames[-1] += "/end"
            seen["end"], seen["all_s"] = "complete", since
        elif name == "StreamReset":
            frames.append("RST")
            seen["end"], seen["all_s"] = f"reset {int(event.error_code)}", since


def h2():
    frames = Frames()
    upload = b"x" * UPLOAD
    for _ in range(OPTIONS.get("warm", 0)):
        frames.until(frames.send(METHOD, PATH, FIELDS, upload))
    if OPTIONS.get("pair"):
        pair = [frames.send(METHOD, PATH, FIELDS, upload) for _ in range(2)]
        return dict(statuses=sorted(frames.until(one)["status"] for one in pair))
    # One that was there before, one that comes after: both go on.
    before = frames.send("GET", "/calm", {})
    seen = frames.until(frames.send(METHOD, PATH, FIELDS, upload))
    seen["before"] = frames.until(before)["status"]
    try:
        seen["next"] = frames.until(frames.send("GET", "/calm", {}))["status"]
    except OSError:
        seen["next"] = "none"
    return seen


def grpc():
    import grpc

    channel = grpc.insecure_channel(ADDRESS)
    calm = channel.unary_unary("/t.Bytes/Echo")
    fields = [(name, value) for name, value in FIELDS.items()]

    def hit():
        began = time.monotonic()
        call = channel.unary_stream("/t.Bytes/Count")(b"5", timeout=PATIENCE, metadata=fields)
        seen = dict(messages=0, details="")
        try:
            for n, message in enumerate(call):
                seen.setdefault("first_s", time.monotonic() - began)
                assert message == str(n).encode(), message
                seen["messages"] += 1
        except grpc.RpcError as error:
            seen["details"] = error.details()
        seen.update(status=call.code().name, all_s=time.monotonic() - began)
        seen["fields"] = dict(call.initial_metadata() or ()) | dict(call.trailing_metadata() or ())
        return seen

    for _ in range(OPTIONS.get("warm", 0)):
        hit()
    if OPTIONS.get("pair"):
        calls = [channel.unary_stream("/t.Bytes/Count")(b"5", timeout=PATIENCE) for _ in range(2)]
        for call in calls:
            try:
                list(call)
            except grpc.RpcError:
                pass
        return dict(statuses=sorted(call.code().name for call in calls))
    # The connection is there before; both are the same one afterwards.
    assert calm(b"before", timeout=PATIENCE) == b"before"
    served = channel.unary_unary("/t.Bytes/Seen")
    served(b"", timeout=PATIENCE)
    seen = hit()
    seen["next"] = calm(b"after", timeout=PATIENCE).decode()
    seen["seen"] = int(served(b"", timeout=PATIENCE))
    frames = Frames()
    call = {"content-type": "application/grpc", "te": "trailers"} | FIELDS
    raw = frames.until(frames.send("POST", "/t.Bytes/Count", call, b"\0\0\0\0\x015"))
    for key in ("frames", "end"):
        seen[key] = raw[key]
    # grpcio may drop what came just before a reset; a frame does not.
    seen["http"], seen["whole"] = raw["status"], raw["messages"]
    again = frames.until(frames.send("POST", "/t.Bytes/Echo", call, b"\0\0\0\0\x015"))
    seen["raw_next"] = again["fields"].get("grpc-status")
    return seen


print(json.dumps({"h1": h1, "h2": h2, "grpc": grpc}[PROTOCOL]()))
