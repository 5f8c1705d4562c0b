"""Opens many connections, sends one request on each, and reports when each was answered.

usage: hold.py URL CONNECTIONS TIMEOUT_SECONDS

Prints "sent" when all requests are out, then one JSON line: statuses, and the times of the answers
in seconds since the first line of standard input arrived (the caller writes it when it halts).
"""
import collections, json, select, socket, sys, threading, time, urllib.parse

url, connections, timeout = sys.argv[1], int(sys.argv[2]), float(sys.argv[3])
where = urllib.parse.urlsplit(url)
request = b"GET /api/items HTTP/1.1\r\nHost: t\r\n\r\n"
sockets = []
for _ in range(connections):
    sock = socket.create_connection((where.hostname, where.port))
    sock.sendall(request)
    sockets.append(sock)
print("sent", flush=True)
zero = [None]


def mark():
    sys.stdin.readline()
    zero[0] = time.monotonic()


threading.Thread(target=mark, daemon=True).start()
poll = select.epoll()
by_fd = {sock.fileno(): sock for sock in sockets}
for fd in by_fd:
    poll.register(fd, select.EPOLLIN)
times, statuses = [], collections.Counter()
deadline = time.monotonic() + timeout
while by_fd and time.monotonic() < deadline:
    for fd, _ in poll.poll(0.1):
        data = by_fd[fd].recv(65536)
        now = time.monotonic()
        statuses[data[9:12].decode() if data else "none"] += 1
        times.append(now - zero[0] if zero[0] else -1.0)
        poll.unregister(fd)
        del by_fd[fd]
print(json.dumps(dict(statuses=statuses, times=times, unanswered=len(by_fd))))
