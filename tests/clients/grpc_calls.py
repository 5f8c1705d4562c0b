"""Calls grpc_service.py through ADDRESS in every shape; prints what came of it as JSON."""
import json
import queue
import sys

import grpc

LIMITS = [("grpc.max_receive_message_length", 8 << 20), ("grpc.max_send_message_length", 8 << 20)]
channel = grpc.insecure_channel(sys.argv[1], options=LIMITS)


def failure(call):
    try:
        list(call()) if call.__name__ == "stream" else call()
    except grpc.RpcError as error:
        return [error.code().name, error.details()]
    return ["OK", ""]


seen = {}
unary = channel.unary_unary("/t.Bytes/Echo")
answer, call = unary.with_call(b"hello", timeout=20)
seen["unary"] = answer.decode()
seen["first"] = dict(call.initial_metadata()).get("x-first")
seen["last"] = dict(call.trailing_metadata()).get("x-last")
large = bytes(4 << 20)
seen["large"] = unary(large, timeout=60) == large
seen["empty"] = unary(b"", timeout=20) == b""

counted = channel.unary_stream("/t.Bytes/Count")(b"1000", timeout=20)
seen["stream"] = [int(n) for n in counted] == list(range(1000))
pieces = (bytes(1000) for _ in range(200))
seen["total"] = int(channel.stream_unary("/t.Bytes/Total")(pieces, timeout=20))

# Each word is sent only when the answer to the last has come.
words = queue.Queue()
chat = channel.stream_stream("/t.Bytes/Chat")(iter(words.get, None), timeout=20)
said = []
for word in (b"a", b"b", b"c"):
    words.put(word)
    said.append(next(chat).decode())
words.put(None)
seen["chat"] = "".join(said)
seen["chat_ends"] = list(chat) == []


def refused():
    channel.unary_unary("/t.Bytes/Refuse")(b"", timeout=20)


def unknown():
    channel.unary_unary("/t.Bytes/Nothing")(b"", timeout=20)


def late():
    channel.unary_unary("/t.Bytes/Sleep")(b"", timeout=0.3)


def stream():
    return channel.unary_stream("/t.Bytes/Cut")(b"", timeout=20)


seen["refused"] = failure(refused)
seen["unknown"] = failure(unknown)[0]
seen["late"] = failure(late)[0]
seen["cut"] = failure(stream)
print(json.dumps(seen))
