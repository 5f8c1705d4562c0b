"""Damaged requests, for as long as you like; what reaches the service must be sound all the same.

usage: fuzz.py [--minutes 30] [--seed 1] [--binary target/release/backburn]

Takes the rows of tests/corpus apart and puts them together wrongly; half of the callers do the same
with frames of HTTP/2: fields that are none, lengths that lie, frames cut up, out of order, twice, on
other streams. The service behind backburn
reads what it gets with a parser of its own that forgives nothing: RFC 9112 to the letter, one Host,
one way to tell the length, no field of another hop. Now and then a good request must be answered,
over either.
Ends with 1 at the first finding, and prints the bytes. Python's standard library only.
"""
import argparse, glob, json, os, random, re, socket, subprocess, sys, tempfile, threading, time, tomllib

import frames

arguments = argparse.ArgumentParser()
arguments.add_argument("--minutes", type=float, default=30)
arguments.add_argument("--seed", type=int, default=1)
arguments.add_argument("--binary", default="target/release/backburn")
TOKEN = rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
LINE = re.compile(TOKEN + rb" (/[\x21-\x7e]*|\*) HTTP/1\.1")
FIELD = re.compile(rb"(" + TOKEN + rb"):[ \t]*((?:[\x21-\x7e\x80-\xff](?:[ \t\x21-\x7e\x80-\xff]*[\x21-\x7e\x80-\xff])?)?)[ \t]*")
HOP = {b"keep-alive", b"proxy-connection", b"http2-settings", b"proxy-authorization", b"proxy-authenticate", b"expect"}
BITS = [b"\r\n", b"\n", b"\r", b"\r\n\r\n", b"\0", b" ", b"\t", b":", b",", b";", b"0\r\n\r\n", b"\x0b",
        b"Transfer-Encoding: chunked\r\n", b"Content-Length: 3\r\n", b"Content-Length: 0\r\n", b"Host: u\r\n",
        b"Connection: close, host\r\n", b"chunked", b"identity", b"GET /b HTTP/1.1\r\nHost: t\r\n\r\n",
        b"ffffffffffffffff", b"-1", b"+3", b"0x3", b"HTTP/1.0", b"\xff", b"%00", b"//", b"@", b"["]


class Unsound(Exception):
    pass


class Reader:
    """Requests on one connection, read by the letter."""

    def __init__(self, sock):
        self.sock, self.held = sock, b""

    def more(self):
        piece = self.sock.recv(65536)
        if not piece:
            raise EOFError
        self.held += piece

    def upto(self, end):
        while end not in self.held:
            self.more()
        taken, self.held = self.held.split(end, 1)
        return taken

    def exactly(self, count):
        while len(self.held) < count:
            self.more()
        taken, self.held = self.held[:count], self.held[count:]
        return taken

    def request(self):
        head = self.upto(b"\r\n\r\n")
        line, *fields = head.split(b"\r\n")
        if not LINE.fullmatch(line):
            raise Unsound("line", head)
        seen = {}
        for field in fields:
            parts = FIELD.fullmatch(field)
            if not parts:
                raise Unsound("field", head)
            seen.setdefault(parts[1].lower(), []).append(parts[2])
        lengths, codings = seen.get(b"content-length", []), seen.get(b"transfer-encoding", [])
        if len(seen.get(b"host", [])) != 1 or b"via" not in seen or HOP & set(seen):
            raise Unsound("host or hop", head)
        if len(lengths) + len(codings) > 1 or codings not in ([], [b"chunked"]):
            raise Unsound("length", head)
        if any(not length.isdigit() for length in lengths):
            raise Unsound("length", head)
        if lengths:
            self.exactly(int(lengths[0]))
        while codings:
            size = self.upto(b"\r\n")
            if not re.fullmatch(rb"[0-9A-Fa-f]+", size):
                raise Unsound("chunk size " + repr(size), head)
            if int(size, 16) == 0:
                while trailer := self.upto(b"\r\n"):
                    if not FIELD.fullmatch(trailer):
                        raise Unsound("trailer " + repr(trailer), head)
                break
            if self.exactly(int(size, 16) + 2)[-2:] != b"\r\n":
                raise Unsound("end of a chunk", head)


def service(listener, findings, reached):
    def serve(sock):
        reader = Reader(sock)
        try:
            while True:
                reader.request()
                reached[0] += 1
                sock.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
        except Unsound as unsound:
            findings.append(repr(unsound.args))
        except (EOFError, OSError):
            pass
        sock.close()

    while True:
        sock, _ = listener.accept()
        threading.Thread(target=serve, args=(sock,), daemon=True).start()


def rows():
    """What the corpus sends: a character a byte, `{a*3}` spelled out, nothing very long."""
    here = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "corpus", "*.toml")
    for file in sorted(glob.glob(here)):
        for case in tomllib.load(open(file, "rb")).get("case", []):
            text = re.sub(r"(?s)\{(.*?)\*(\d+)\}", lambda m: m[1] * min(int(m[2]), 50), case.get("send", ""))
            if text:
                yield text.encode("latin-1")


def damaged(dice, corpus):
    text = bytearray(dice.choice(corpus))
    for _ in range(dice.randint(1, 4)):
        at = dice.randrange(len(text) + 1)
        way = dice.randrange(6)
        if way == 0:
            text[at:at] = dice.choice(BITS)
        elif way == 1:
            del text[at:at + dice.randint(1, 8)]
        elif way == 2 and at < len(text):
            text[at] = dice.randrange(256)
        elif way == 3:
            other = dice.choice(corpus)
            text[at:] = other[dice.randrange(len(other)):]
        elif way == 4:
            to = at + dice.randint(1, 40)
            text[at:at] = text[at:to]
        else:
            text += dice.choice(corpus)
    return bytes(text)


NAMES = [b":method", b":path", b":scheme", b":authority", b":status", b":protocol", b"host", b"content-length",
         b"transfer-encoding", b"te", b"connection", b"upgrade", b"keep-alive", b"proxy-connection", b"expect",
         b"cookie", b"trailer", b"via", b"x-a", b"X-A", b"", b"x a", b"x:a", b"max-forwards", b"http2-settings"]
VALUES = BITS + [b"", b"GET", b"POST", b"CONNECT", b"OPTIONS", b"/a", b"*", b"?a", b"//b", b"http", b"https", b"t", b"u",
                 b"t:80", b"0", b"3", b"trailers", b"close", b"websocket", b"100-continue", b"a=b", b"a\r\nX-B: c", b" a",
                 b"a ", b"/a HTTP/1.1\r\nHost: t\r\n\r\n", b"a" * 300]


def fields(dice, pseudo=True):
    pairs = [(b":method", dice.choice([b"GET", b"POST"])), (b":scheme", b"http"), (b":path", b"/a"), (b":authority", b"t")]
    pairs = pairs if pseudo else []
    pairs += [(b"x-a", b"b")] * dice.randrange(3)
    for _ in range(dice.choice([0, 0, 1, 1, 2, 4])):
        way, at = dice.randrange(4), dice.randrange(len(pairs) + 1)
        if way == 0:
            pairs.insert(at, (dice.choice(NAMES), dice.choice(VALUES)))
        elif way == 1 and pairs:
            pairs[at % len(pairs)] = (pairs[at % len(pairs)][0], dice.choice(VALUES))
        elif way == 2 and pairs:
            del pairs[at % len(pairs)]
        elif pairs:
            pairs.insert(at, dice.choice(pairs))
    return frames.fields(*pairs)


def stream(dice, on):
    """A request in frames: a head, maybe in pieces, maybe padded, a body, maybe trailers."""
    block, body = fields(dice), dice.choice([b"", b"abc", b"x" * 3000])
    ends = frames.END_STREAM if not body else 0
    cut = dice.randrange(len(block) + 1) if dice.random() < 0.2 else None
    if cut is not None:
        out = [frames.frame(frames.HEADERS, ends, on, block[:cut]),
               frames.frame(frames.CONTINUATION, frames.END_HEADERS, on, block[cut:])]
    elif dice.random() < 0.2:
        pad = dice.randrange(20)
        out = [frames.frame(frames.HEADERS, ends | frames.END_HEADERS | 8, on, bytes([pad]) + block + bytes(pad))]
    else:
        out = [frames.frame(frames.HEADERS, ends | frames.END_HEADERS, on, block)]
    if body:
        trailers = dice.random() < 0.3
        out.append(frames.frame(frames.DATA, 0 if trailers else frames.END_STREAM, on, body))
        if trailers:
            flags = frames.END_STREAM | frames.END_HEADERS
            out.append(frames.frame(frames.HEADERS, flags, on, fields(dice, pseudo=dice.random() < 0.1)))
    return out


def framed(dice):
    """Frames of a few requests, and what must not be among them."""
    all_of_it = [piece for n in range(dice.randint(1, 4)) for piece in stream(dice, 2 * n + 1)]
    for _ in range(dice.choice([0, 0, 1, 2, 3])):
        way, at = dice.randrange(7), dice.randrange(len(all_of_it))
        if way == 0:
            kind, flags, on = dice.randrange(12), dice.randrange(256), dice.choice([0, 1, 2, 3, 5, 2**31 - 1])
            all_of_it.insert(at, frames.frame(kind, flags, on, dice.randbytes(dice.choice([0, 4, 5, 6, 8, 50]))))
        elif way == 1:
            all_of_it.insert(at, dice.choice(all_of_it))
        elif way == 2:
            other = dice.randrange(len(all_of_it))
            all_of_it[at], all_of_it[other] = all_of_it[other], all_of_it[at]
        elif way == 3 and len(all_of_it) > 1:
            del all_of_it[at]
        elif way == 4:
            piece = bytearray(all_of_it[at])
            piece[dice.randrange(len(piece))] = dice.randrange(256)
            all_of_it[at] = bytes(piece)
        elif way == 5:
            all_of_it[at] = all_of_it[at][:dice.randint(1, len(all_of_it[at]))]
        else:
            many = dice.randint(2, 300)
            all_of_it[at:at] = [frames.frame(dice.choice([frames.PING, frames.SETTINGS, frames.WINDOW, frames.RESET]), 0,
                                             dice.choice([0, 1]), dice.randbytes(dice.choice([0, 4, 8])))] * many
    settings = dice.choice([b"", b"", b"\0\4\0\0\0\0", b"\0\4\0\0\0\1", b"\0\1\0\0\0\0", dice.randbytes(6)])
    return frames.PREFACE + frames.frame(frames.SETTINGS, 0, 0, settings) + b"".join(all_of_it)


def good_over_h2(where):
    client = frames.Client(where)
    try:
        client.send(frames.get(1, "/good"))
        while (frame := client.next()) is not None:
            if frame[0] in (frames.HEADERS, frames.RESET) and frame[2] == 1:
                return frame[0] == frames.HEADERS and frame[3][0] == 0x88
        return False
    except OSError:
        return False
    finally:
        client.close()


def send(where, text, patience):
    with socket.create_connection(where, timeout=5) as sock:
        sock.settimeout(patience)
        answer = b""
        try:
            sock.sendall(text)
            while piece := sock.recv(65536):
                answer += piece
        except OSError:
            pass
        return answer


def main():
    options = arguments.parse_args()
    findings, corpus, reached = [], list(rows()), [0]
    listener = socket.create_server(("127.0.0.1", 0), backlog=512)
    threading.Thread(target=service, args=(listener, findings, reached), daemon=True).start()
    with tempfile.TemporaryDirectory() as directory:
        ready = os.path.join(directory, "ready")
        with open(os.path.join(directory, "fuzz.toml"), "w") as file:
            file.write('[proxy]\nupstream = "http://127.0.0.1:%d"\n' % listener.getsockname()[1])
        program = subprocess.Popen(
            [os.path.abspath(options.binary), "run", "fuzz.toml", "--listen", "127.0.0.1:0",
             "--admin-listen", "127.0.0.1:0", "--ready-file", ready],
            cwd=directory, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            while not os.path.exists(ready):
                time.sleep(0.05)
            host, port = json.load(open(ready))["proxy"].split("//")[1].split(":")
            where, until, sent = (host, int(port)), time.monotonic() + 60 * options.minutes, [0, 0]

            def guarded(number):
                try:
                    fuzz(number)
                except BaseException as error:
                    findings.append("%d: %r" % (number, error))
                    raise

            def fuzz(number):
                dice = random.Random(options.seed * 1000 + number)
                while time.monotonic() < until and not findings:
                    text = framed(dice) if number % 2 else damaged(dice, corpus)
                    send(where, text, 0.05)
                    sent[number % 2] += 1
                    if findings:
                        findings.append("about: %r" % text)
                    if number % 2 and sent[1] % 20 == 0 and not good_over_h2(where):
                        findings.append("no good answer over HTTP/2 after %r" % text)
                    if sent[0] % 20 == 0:
                        good = send(where, b"GET /good HTTP/1.1\r\nHost: t\r\nConnection: close\r\n\r\n", 10)
                        if not good.startswith(b"HTTP/1.1 200") or program.poll() is not None:
                            findings.append("no good answer after %r: %r" % (text, good))

            crowd = [threading.Thread(target=guarded, args=(n,)) for n in range(8)]
            [thread.start() for thread in crowd]
            [thread.join() for thread in crowd]
        finally:
            program.terminate()
            program.wait(30)
    print("%d sent over HTTP/1, %d over HTTP/2; %d requests have reached the service" % (*sent, reached[0]))
    print("\n".join(findings) or "nothing found")
    sys.exit(1 if findings else 0)


if __name__ == "__main__":
    main()
