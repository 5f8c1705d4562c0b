"""Independent callers: each says what it asked and what it got. Python's standard library only.

usage: callers.py CONNECTIONS SPEC...

A SPEC is JSON: {"url", "request": "METHOD /path", "count", "headers": {...}}; `{n}` in paths and
values counts from 0 to `count` - 1. Prints a JSON list with one list of answers a SPEC, in order:
{"status" (0: no answer), "took" (seconds), "fault" (x-backburn-fault), "body" (if it is JSON)}.
"""
import http.client, json, queue, sys, threading, time, urllib.parse

specs = [json.loads(spec) for spec in sys.argv[2:]]
answers = [[None] * spec["count"] for spec in specs]
todo = queue.SimpleQueue()
for n in range(max(spec["count"] for spec in specs)):
    for at, spec in enumerate(specs):
        if n < spec["count"]:
            todo.put((at, n))


def ask(conn, spec, n):
    method, path = spec["request"].replace("{n}", str(n)).split(" ")
    headers = {name: value.replace("{n}", str(n)) for name, value in spec.get("headers", {}).items()}
    began = time.monotonic()
    try:
        conn.request(method, path, body=b"{}" if method == "POST" else None, headers=headers)
        answer = conn.getresponse()
        text = answer.read()
        status, fault = answer.status, answer.headers["x-backburn-fault"]
    except (OSError, http.client.HTTPException):
        conn.close()
        text, status, fault = b"", 0, None
    try:
        body = json.loads(text)
    except ValueError:
        body = None
    return dict(status=status, took=time.monotonic() - began, fault=fault, body=body)


def caller():
    conns = {}
    while True:
        try:
            at, n = todo.get_nowait()
        except queue.Empty:
            return
        host = urllib.parse.urlsplit(specs[at]["url"]).netloc
        conn = conns.setdefault(host, http.client.HTTPConnection(host, timeout=60))
        answers[at][n] = ask(conn, specs[at], n)


threads = [threading.Thread(target=caller) for _ in range(int(sys.argv[1]))]
[thread.start() for thread in threads]
[thread.join() for thread in threads]
print(json.dumps(answers))
