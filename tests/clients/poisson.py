"""An open-loop client: requests at random times that do not wait for answers.

usage: poisson.py HOST:PORT RATE COUNT SEED

Prints JSON: when each was due, in seconds from the first, and the mean time from then to the end of
its answer. Python's standard library only; arrivals are exponential, from a pinned seed.
"""
import json, random, selectors, socket, sys, time

host, port = sys.argv[1].split(":")
rate, count, seed = float(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4])
request = b"GET / HTTP/1.1\r\nHost: t\r\nConnection: close\r\n\r\n"
dice = random.Random(seed)
selector = selectors.DefaultSelector()
times, sent, due, all_due = [], 0, time.monotonic(), []
deadline = time.monotonic() + 120
while len(times) < count and time.monotonic() < deadline:
    now = time.monotonic()
    if sent < count and now >= due:
        sock = socket.create_connection((host, int(port)))
        sock.sendall(request)
        # From when it was due: a client that is late must not hide a wait.
        selector.register(sock, selectors.EVENT_READ, due)
        sent += 1
        all_due.append(due)
        due += dice.expovariate(rate)
        continue
    wait = max(0.0, due - now) if sent < count else 1.0
    for key, _ in selector.select(wait):
        if not key.fileobj.recv(65536):
            times.append(time.monotonic() - key.data)
            selector.unregister(key.fileobj)
            key.fileobj.close()
assert len(times) == count, len(times)
print(json.dumps(dict(mean=sum(times) / count, due=[at - all_due[0] for at in all_due])))
