"""A long run under half load, with a reload every ten seconds and clients of every temper.

usage: soak.py [--minutes 20] [--rate 400] [--binary target/release/backburn]

Starts the sample shop and backburn before it. Clients ask and read to the end, come and go, leave
before the answer or inside it, stall inside a head, inside a body and as readers. At the end it
compares: descriptors and threads with those at the beginning; memory of the second half with the
first (within 5 %); what each client saw with what was counted. Ends with 1 if anything differs.
Python's standard library only, loopback only.
"""
import argparse, collections, json, multiprocessing, os, random, re, socket, struct, subprocess, sys
import tempfile, threading, time, urllib.request

arguments = argparse.ArgumentParser()
arguments.add_argument("--minutes", type=float, default=20)
arguments.add_argument("--rate", type=float, default=400, help="requests a second, in all")
arguments.add_argument("--binary", default="target/release/backburn")

SCENARIO = """
[proxy]
upstream = "%(upstream)s"
timeouts = { request_head = "2s", body_stall = "2s", write_stall = "2s", idle = "5s" }
[faults.slow]
routes = ["*"]
probability = "%(share)d%%"
inject.latency = { delay = { uniform = { min = "10ms", max = "60ms" } } }
[faults.fails]
routes = ["*"]
probability = "5%%"
inject.error = 503
[faults.cut]
routes = ["*"]
probability = "1%%"
inject.abort = "close"
[slos.answers]
objective = "99%%"
sli.availability = { abandoned_after = "1ms" }
"""
GET = b"GET /api/items HTTP/1.1\r\nHost: t\r\n\r\n"
POST = b"POST /echo HTTP/1.1\r\nHost: t\r\nContent-Length: 2000\r\n\r\n" + b"x" * 2000
SLOW = b"GET /slow?ms=2000 HTTP/1.1\r\nHost: t\r\n\r\n"
LARGE = b"GET /bytes/50000000 HTTP/1.1\r\nHost: t\r\n\r\n"


def dial(where, window=None):
    sock = socket.socket()
    if window:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, window)
    sock.settimeout(30)
    sock.connect(where)
    return sock


def reset(sock):
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    sock.close()


def answer(sock):
    """Reads one answer to its end: its status, 0 where there is none, and whether more may come."""
    text = b""
    while b"\r\n\r\n" not in text:
        piece = sock.recv(65536)
        if not piece:
            assert not text, text
            return 0, False
        text += piece
    head, body = text.split(b"\r\n\r\n", 1)
    length = int(re.search(rb"(?i)content-length: (\d+)", head).group(1))
    while len(body) < length:
        piece = sock.recv(65536)
        assert piece, "an answer that is not whole"
        body += piece
    return int(head[9:12]), b"connection: close" not in head.lower()


def asks(where, dice, tally, kept):
    """One request read to its end, on a connection that is kept or one of its own."""
    stays = dice.random() < 0.8
    sock = kept.pop() if stays and kept else dial(where)
    request = POST if dice.random() < 0.3 else GET
    try:
        sock.sendall(request)
        status, goes_on = answer(sock)
    except (ConnectionResetError, BrokenPipeError):
        status, goes_on = 0, False
    tally["status %d" % status] += 1
    if stays and goes_on and len(kept) < 8:
        kept.append(sock)
    else:
        sock.close()


def leaves_early(where, dice, tally):
    """Is gone before the answer. Long enough after asking that the request has been read."""
    sock = dial(where)
    sock.sendall(SLOW)
    sock.settimeout(1)
    try:
        status, _ = answer(sock)
        tally["status %d" % status] += 1
    except TimeoutError:
        tally["left"] += 1
    reset(sock) if dice.random() < 0.5 else sock.close()


def leaves_inside(where, dice, tally):
    """Is gone inside a large answer, of which it has read some."""
    sock = dial(where, 4096)
    sock.sendall(LARGE)
    head = sock.recv(400)
    if head.startswith(b"HTTP/1.1 200"):
        tally["left"] += 1
    else:
        tally["status %s" % (head[9:12].decode() or "0")] += 1
    reset(sock) if dice.random() < 0.5 else sock.close()


def stalls_as_reader(where, dice, tally):
    """Reads the beginning, then nothing, until it is cut off."""
    sock = dial(where, 4096)
    sock.sendall(LARGE)
    head = sock.recv(400)
    if not head.startswith(b"HTTP/1.1 200"):
        tally["status %s" % (head[9:12].decode() or "0")] += 1
        sock.close()
        return
    tally["write_stall"] += 1
    time.sleep(4)
    sock.close()


def stalls_in_a_head(where, dice, tally):
    sock = dial(where)
    sock.sendall(GET[:20])
    text = sock.recv(1000)
    assert text.startswith(b"HTTP/1.1 408"), text
    tally["request_head"] += 1
    sock.close()


def stalls_in_a_body(where, dice, tally):
    sock = dial(where)
    sock.sendall(POST[:200])
    text = b""
    while piece := sock.recv(65536):
        text += piece
    # The shop begins to answer at once. A fault that answers or cuts off waits for the rest first,
    # and is not counted as a body that stalled.
    stalled = text.startswith((b"HTTP/1.1 200", b"HTTP/1.1 408"))
    tally["body_stall" if stalled else "status %s" % (text[9:12].decode() or "0")] += 1
    sock.close()


ODD = [leaves_early, leaves_inside, stalls_as_reader, stalls_in_a_head, stalls_in_a_body]


def clients(where, seed, rate, until, pipe):
    """Some clients of each kind, in threads; their tallies, added up, go into the pipe."""
    tally, lock = collections.Counter(), threading.Lock()

    def run(number):
        dice, mine, kept = random.Random(seed * 1000 + number), collections.Counter(), []
        odd = number >= 6
        due = time.monotonic()
        while time.monotonic() < until:
            if odd:
                ODD[(number - 6) % len(ODD)](where, dice, mine)
                time.sleep(dice.expovariate(2))
            else:
                asks(where, dice, mine, kept)
                due += dice.expovariate(rate / 6)
                time.sleep(max(0, due - time.monotonic()))
        [sock.close() for sock in kept]
        with lock:
            tally.update(mine)

    failed = []

    def guarded(number):
        try:
            run(number)
        except BaseException as error:
            failed.append("%s: %r" % (number, error))
            raise

    threads = [threading.Thread(target=guarded, args=(n,)) for n in range(6 + 2 * len(ODD))]
    [thread.start() for thread in threads]
    [thread.join() for thread in threads]
    pipe.send((dict(tally), failed))


class Instance:
    def __init__(self, options, directory):
        self.directory = directory
        self.shop = self.start(options.binary, "shop", "sample-service", "--listen", "127.0.0.1:0",
                               "--payments-listen", "127.0.0.1:0")
        self.upstream = self.ready("shop")["checkout"]
        self.write(10)
        self.proxy = self.start(options.binary, "proxy", "run", self.path("soak.toml"), "--listen",
                                "127.0.0.1:0", "--admin-listen", "127.0.0.1:0", "--seed", "1")
        ready = self.ready("proxy")
        self.url, self.admin = ready["proxy"], ready["admin"]

    def path(self, name):
        return os.path.join(self.directory, name)

    def start(self, binary, name, *more):
        return subprocess.Popen([os.path.abspath(binary), *more, "--ready-file", self.path(name)],
                                cwd=self.directory, stdout=subprocess.DEVNULL,
                                stderr=open(self.path(name + ".log"), "w"))

    def ready(self, name):
        while not os.path.exists(self.path(name)):
            time.sleep(0.05)
        return json.load(open(self.path(name)))

    def write(self, share):
        with open(self.path("new"), "w") as file:
            file.write(SCENARIO % dict(upstream=self.upstream, share=share))
        os.rename(self.path("new"), self.path("soak.toml"))

    def metrics(self):
        text = urllib.request.urlopen(self.admin + "/metrics").read().decode()
        return [line.rsplit(" ", 1) for line in text.splitlines() if not line.startswith("#")]

    def metric(self, name, *labels):
        return sum(int(float(value)) for sample, value in self.metrics()
                   if sample.split("{")[0] == name and all(label in sample for label in labels))

    def of_process(self):
        proc = "/proc/%d" % self.proxy.pid
        status = open(proc + "/status").read()
        return (len(os.listdir(proc + "/fd")), len(os.listdir(proc + "/task")),
                int(re.search(r"VmRSS:\s+(\d+)", status).group(1)))

    def quiet(self):
        """Waits until nothing is in progress and nobody is connected."""
        deadline = time.monotonic() + 60
        last = None
        while time.monotonic() < deadline:
            now = (self.metric("http_server_active_requests"), self.of_process()[0])
            if now[0] == 0 and now == last:
                return
            last = now
            # Longer than pooled connections are kept.
            time.sleep(6)
        sys.exit("still busy after a minute: %s requests, %s descriptors" % last)

    def end(self):
        for program in (self.proxy, self.shop):
            program.terminate()
            program.wait(30)


def main():
    options = arguments.parse_args()
    with tempfile.TemporaryDirectory() as directory:
        instance = Instance(options, directory)
        try:
            sys.exit(soak(instance, options))
        finally:
            instance.end()


def soak(instance, options):
    where = (lambda host, port: (host, int(port)))(*instance.url.split("//")[1].split(":"))
    # Whatever is made at first use is made.
    for _ in range(20):
        sock = dial(where)
        sock.sendall(GET)
        try:
            answer(sock)
        except ConnectionResetError:
            pass
        sock.close()
    for share in (11, 10):
        instance.write(share)
        time.sleep(5)
    instance.quiet()
    counted = instance.metric("http_server_request_duration_seconds_count")
    reloaded = instance.metric("backburn_scenario_reloads_total", 'result="applied"')
    time.sleep(2)
    descriptors, threads, _ = instance.of_process()
    begun = time.monotonic()
    until = begun + 60 * options.minutes
    mine, theirs = multiprocessing.Pipe()
    crowd = [multiprocessing.Process(target=clients, args=(where, seed, options.rate / 2, until, theirs))
             for seed in (1, 2)]
    [process.start() for process in crowd]
    memory, reloads, due = [], 0, begun + 10
    while time.monotonic() < until:
        memory.append(instance.of_process()[2])
        if time.monotonic() >= due:
            due += 10
            reloads += 1
            instance.write(10 + reloads % 5)
        time.sleep(1)
    tally, failed = collections.Counter(), []
    for process in crowd:
        part, errors = mine.recv()
        tally.update(part)
        failed += errors
        process.join()
    instance.quiet()

    def same(what, is_so, should):
        print("%-4s %-34s %s, %s" % ("ok" if is_so == should else "NOT", what, is_so, should))
        if is_so != should:
            failed.append(what)

    # Threads that read files, and calls to the admin address, take a while to go.
    deadline = time.monotonic() + 30
    while (now := instance.of_process())[:2] != (descriptors, threads) and time.monotonic() < deadline:
        time.sleep(1)
    same("descriptors, before", now[0], descriptors)
    same("threads, before", now[1], threads)
    same("reloads, written", instance.metric("backburn_scenario_reloads_total", 'result="applied"') - reloaded, reloads)
    same("held", instance.metric("backburn_held_requests"), 0)
    # The first tenth is warming up.
    memory = memory[len(memory) // 10:]
    half = len(memory) // 2
    first, second = sum(memory[:half]) / half, sum(memory[half:]) / (len(memory) - half)
    growth = second / first - 1
    print("%-4s memory, halves: %.1f MiB, %.1f MiB (%+.1f %%)"
          % ("ok" if growth <= 0.05 else "NOT", first / 1024, second / 1024, 100 * growth))
    if growth > 0.05:
        failed.append("memory")
    duration = "http_server_request_duration_seconds_count"
    unread = tally["left"] + tally["write_stall"]
    whole = sum(count for what, count in tally.items() if what.startswith("status "))
    same("requests, the clients' own", instance.metric(duration) - counted,
         whole + unread + tally["body_stall"])
    for reason in ("request_head", "body_stall"):
        same("refused for " + reason, instance.metric("backburn_refused_total", 'reason="%s"' % reason), tally[reason])
    # What was left or cut off is counted by the status it had got so far, or as gone.
    gone = 0
    for status in (200, 503):
        ours = instance.metric(duration, 'status_code="%d"' % status)
        print("     status %d: %d counted, %d read to the end" % (status, ours, tally["status %d" % status]))
        gone += ours - tally["status %d" % status]
    print(json.dumps(dict(tally), sort_keys=True))
    for sample, value in instance.metrics():
        if sample.startswith(("backburn_slo_e", "backburn_refused", "backburn_scenario_reloads")):
            print(sample, value)
    print("failed: " + "; ".join(failed) if failed else "all is well")
    return 1 if failed else 0


if __name__ == "__main__":
    main()
