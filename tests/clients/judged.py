"""An independent client that judges what it gets, with Python's own json and re.

usage: judged.py PROTOCOL URL SERVICE_URL REQUESTS CONNECTIONS   (h1: http.client; h2: pip's h2)

Asks the service itself for each of its answers first. Then every request is one of them, and each
answer is held against the objectives of tests/correctness.rs. Prints JSON: by objective, what came
of the requests: good, injected, masked, organic, or why they are not counted; and who hit them.
"""
import collections, http.client, json, os, re, socket, sys, threading, traceback, urllib.parse

protocol, url, service, requests, connections = sys.argv[1:4] + [int(text) for text in sys.argv[4:6]]
CASES = (
    "right status page version broken chunked chunked-status trailers long long-status gzip part "
    "empty none failed cut grpc array null utf8"
).split()
READ = 8192
Got = collections.namedtuple("Got", "status fields body whole")
NOTHING = Got(0, {}, b"", False)


def asked(n):
    case = CASES[n % len(CASES)]
    return "HEAD" if n % 13 == 0 else "GET", "/%s/%d" % (case, n)


def fields(pairs):
    found = collections.defaultdict(list)
    for name, value in pairs:
        found[name.lower()].append(value)
    return found


class H1:
    def __init__(self, to):
        self.conn = http.client.HTTPConnection(urllib.parse.urlsplit(to).netloc, timeout=60)

    def ask(self, method, path):
        got = NOTHING
        try:
            self.conn.request(method, path)
            answer = self.conn.getresponse()
            got = Got(answer.status, fields(answer.getheaders()), b"", False)
            return got._replace(body=answer.read(), whole=True)
        except (OSError, http.client.HTTPException):
            self.conn.close()
            return got

    def all(self, numbers):
        return {n: self.ask(*asked(n)) for n in numbers}


class H2:
    """Up to 8 streams at a time on one connection."""

    def __init__(self, to):
        import h2.config, h2.connection

        host, port = urllib.parse.urlsplit(to).netloc.split(":")
        self.socket = socket.create_connection((host, int(port)), timeout=60)
        self.h2 = h2.connection.H2Connection(h2.config.H2Configuration(header_encoding="utf-8"))
        self.h2.initiate_connection()
        self.socket.sendall(self.h2.data_to_send())

    def all(self, numbers):
        import h2.events as events

        left, under_way, done, parts = list(numbers), {}, {}, {}
        while left or under_way:
            while left and len(under_way) < 8:
                n, stream = left.pop(), self.h2.get_next_available_stream_id()
                method, path = asked(n)
                head = [(":method", method), (":scheme", "http"), (":path", path), (":authority", "t")]
                self.h2.send_headers(stream, head + [("te", "trailers")], end_stream=True)
                under_way[stream], parts[stream] = n, NOTHING
            self.socket.sendall(self.h2.data_to_send())
            came = self.socket.recv(65536)
            assert came, "the connection is closed"
            for event in self.h2.receive_data(came):
                stream = getattr(event, "stream_id", None)
                if isinstance(event, events.ResponseReceived):
                    status = dict(event.headers)[":status"]
                    parts[stream] = Got(int(status), fields(event.headers), b"", False)
                elif isinstance(event, events.DataReceived):
                    parts[stream] = parts[stream]._replace(body=parts[stream].body + event.data)
                    self.h2.acknowledge_received_data(event.flow_controlled_length, stream)
                elif isinstance(event, (events.StreamEnded, events.StreamReset)):
                    whole = isinstance(event, events.StreamEnded)
                    done[under_way.pop(stream)] = parts.pop(stream)._replace(whole=whole)
        return done


def said(got, name):
    return got.fields.get(name, [])


def opaque(got):
    return got.status == 206 or said(got, "content-encoding") or "grpc" in "".join(said(got, "content-type"))


def has(got, pattern):
    """True, False, or None: not to be told."""
    if opaque(got):
        return None
    found = re.search(pattern, got.body[:READ])
    if len(got.body) <= READ:
        return bool(found)
    return True if found and found.end() + 4 <= READ else None


def points(got):
    if opaque(got) or len(got.body) > READ:
        return None
    try:
        return json.loads(got.body.decode())["status"] == "ok"
    except (ValueError, KeyError, TypeError):
        return False


def says(got):
    """Everything at once."""
    head = "2" in said(got, "x-api-version")
    kind = said(got, "content-type")[:1] and said(got, "content-type")[0].split(";")[0] == "application/json"
    both = [points(got), has(got, rb'"n": ?[0-9]+')]
    if not head or not kind or False in both:
        return False
    return None if None in both else True


OBJECTIVES = {
    "says": (True, says),
    "named": (True, lambda got: has(got, rb"status")),
    "versioned": (False, lambda got: "2" in said(got, "x-api-version")),
}


def judge(method, own, got):
    hits = [name for value in said(got, "x-backburn-fault") for name in value.split(", ")]
    for name, (reads, right) in OBJECTIVES.items():
        bad = got.status >= 500 or got.status in (0, 408, 429)
        if bad or not got.whole:
            yield name, "not_good"
        elif reads and (method == "HEAD" or got.status in (204, 304)):
            yield name, "no_body"
        elif right(got) is None:
            yield name, "unread"
        elif right(got):
            yield name, "good"
        elif not hits:
            yield name, "organic"
        elif "asked" in hits or "made" in hits:
            yield name, "injected"
        else:
            # Of an answer that a fault has lost the status, of all others what it says.
            bodiless = reads and (method == "HEAD" or own.status in (204, 304))
            failed = own.status >= 500 and "lost" in hits
            wrong = failed or own.status < 500 and own.whole and not bodiless and right(own) is False
            yield name, "masked" if wrong else "injected"


own = {}
for n in range(len(CASES) * 13):
    method, path = asked(n)
    if (method, path.split("/")[1]) not in own:
        own[method, path.split("/")[1]] = H1(service).ask(method, path)

seen = collections.defaultdict(collections.Counter)
lock = threading.Lock()


def client(at):
    for n, got in (H1 if protocol == "h1" else H2)(url).all(range(at, requests, connections)).items():
        method, path = asked(n)
        mine = own[method, path.split("/")[1]]
        with lock:
            seen["hits"].update(name for value in said(got, "x-backburn-fault") for name in value.split(", "))
            for name, what in judge(method, mine, got):
                seen[name][what] += 1


threading.excepthook = lambda what: (traceback.print_exception(what.exc_value), os._exit(1))
threads = [threading.Thread(target=client, args=(at,)) for at in range(connections)]
[thread.start() for thread in threads]
[thread.join() for thread in threads]
print(json.dumps(seen))
