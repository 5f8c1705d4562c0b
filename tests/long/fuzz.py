"""Damaged requests, for as long as you like; what reaches the service must be sound all the same.

usage: fuzz.py [--minutes 30] [--seed 1] [--binary target/release/backburn]

Takes the rows of tests/corpus apart and puts them together wrongly. The service behind backburn
reads what it gets with a parser of its own that forgives nothing: RFC 9112 to the letter, one Host,
one way to tell the length, no field of another hop. Now and then a good request must be answered.
Ends with 1 at the first finding, and prints the bytes. Python's standard library only.
"""
import argparse, glob, json, os, random, re, socket, subprocess, sys, tempfile, threading, time, tomllib

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


def service(listener, findings):
    def serve(sock):
        reader = Reader(sock)
        try:
            while True:
                reader.request()
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
    findings, corpus = [], list(rows())
    listener = socket.create_server(("127.0.0.1", 0), backlog=512)
    threading.Thread(target=service, args=(listener, findings), daemon=True).start()
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
            where, until, sent = (host, int(port)), time.monotonic() + 60 * options.minutes, [0]

            def fuzz(number):
                dice = random.Random(options.seed * 1000 + number)
                while time.monotonic() < until and not findings:
                    text = damaged(dice, corpus)
                    send(where, text, 0.05)
                    sent[0] += 1
                    if findings:
                        findings.append("about: %r" % text)
                    if sent[0] % 20 == 0:
                        good = send(where, b"GET /good HTTP/1.1\r\nHost: t\r\nConnection: close\r\n\r\n", 10)
                        if not good.startswith(b"HTTP/1.1 200") or program.poll() is not None:
                            findings.append("no good answer after %r: %r" % (text, good))

            crowd = [threading.Thread(target=fuzz, args=(n,)) for n in range(8)]
            [thread.start() for thread in crowd]
            [thread.join() for thread in crowd]
        finally:
            program.terminate()
            program.wait(30)
    print("%d sent" % sent[0])
    print("\n".join(findings) or "nothing found")
    sys.exit(1 if findings else 0)


if __name__ == "__main__":
    main()
