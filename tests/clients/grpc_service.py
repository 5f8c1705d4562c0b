"""A gRPC service of bytes: prints its port, ends with its standard input."""
import concurrent.futures
import sys
import time

import grpc


def echo(request, context):
    context.send_initial_metadata((("x-first", "1"),))
    context.set_trailing_metadata((("x-last", "2"),))
    return request


def refuse(request, context):
    context.abort(grpc.StatusCode.NOT_FOUND, "no such thing")


def sleep(request, context):
    time.sleep(5)
    return request


COUNTED = []


def count(request, context):
    COUNTED.append(request)
    for n in range(int(request)):
        yield str(n).encode()


def seen(request, context):
    """How often Count was called since somebody asked."""
    calls = len(COUNTED)
    COUNTED.clear()
    return str(calls).encode()


def total(requests, context):
    return str(sum(len(request) for request in requests)).encode()


def chat(requests, context):
    for request in requests:
        yield request.upper()


def cut(request, context):
    yield b"1"
    context.abort(grpc.StatusCode.UNAVAILABLE, "gone")


METHODS = {
    "Echo": grpc.unary_unary_rpc_method_handler(echo),
    "Refuse": grpc.unary_unary_rpc_method_handler(refuse),
    "Sleep": grpc.unary_unary_rpc_method_handler(sleep),
    "Count": grpc.unary_stream_rpc_method_handler(count),
    "Seen": grpc.unary_unary_rpc_method_handler(seen),
    "Total": grpc.stream_unary_rpc_method_handler(total),
    "Chat": grpc.stream_stream_rpc_method_handler(chat),
    "Cut": grpc.unary_stream_rpc_method_handler(cut),
}
LIMITS = [("grpc.max_receive_message_length", 8 << 20), ("grpc.max_send_message_length", 8 << 20)]

server = grpc.server(concurrent.futures.ThreadPoolExecutor(16), options=LIMITS)
server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("t.Bytes", METHODS),))
port = server.add_insecure_port("127.0.0.1:0")
server.start()
print(port, flush=True)
sys.stdin.read()
server.stop(None)
