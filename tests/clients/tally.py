"""An independent client: counts what it saw. Python's standard library only.

usage: tally.py URL REQUESTS CONNECTIONS SLOW [METHOD [BODY_BYTES [PATH]]]

SLOW: `FAULT=SECONDS`: slow is what says that this fault hit it, and early what is slow and took less
than that. A time alone cannot tell: on a busy machine anything may take it.

Prints JSON: answers by status, how many were slow, how many early, how many slow and failed at once,
how many got no answer, and, for one connection, the sequence of [status, slow].
"""
import collections, http.client, json, sys, threading, time, urllib.parse

url, requests, connections = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
fault, _, least = sys.argv[4].partition("=")
method = sys.argv[5] if len(sys.argv) > 5 else "GET"
size = int(sys.argv[6]) if len(sys.argv) > 6 else 0
path = sys.argv[7] if len(sys.argv) > 7 else "/api/items"
host = urllib.parse.urlsplit(url).netloc
body = b"x" * size if size else None
lock = threading.Lock()
seen = collections.Counter()
total = dict(slow=0, early=0, both=0, none=0, errors=[])
sequence = []


def client(count):
    conn = http.client.HTTPConnection(host, timeout=60)
    mine, slows, early, both, none = collections.Counter(), 0, 0, 0, 0
    for _ in range(count):
        began = time.monotonic()
        try:
            conn.request(method, path, body=body)
            answer = conn.getresponse()
            answer.read()
        except Exception as error:
            none += 1
            with lock:
                total["errors"].append(repr(error))
            conn.close()
            continue
        took = time.monotonic() - began
        is_slow = fault in (answer.headers.get_all("x-backburn-fault") or [])
        mine[answer.status] += 1
        slows += is_slow
        early += is_slow and took < float(least)
        both += is_slow and answer.status >= 500
        if connections == 1:
            sequence.append([answer.status, is_slow])
    with lock:
        seen.update(mine)
        total["slow"] += slows
        total["early"] += early
        total["both"] += both
        total["none"] += none


threads = [threading.Thread(target=client, args=(requests // connections,)) for _ in range(connections)]
[thread.start() for thread in threads]
[thread.join() for thread in threads]
print(json.dumps(dict(total, statuses=seen, errors=total["errors"][:5], sequence=sequence)))
