"""A long run under half load, with a reload every ten seconds and clients of every temper.

usage: soak.py [--minutes 20] [--rate auto|N] [--binary target/release/backburn]

Starts the sample shop and backburn before it. Clients ask and read to the end, come and go, leave
before the answer or inside it, stall inside a head, inside a body and as readers, over HTTP/1.1 and
HTTP/2. With `--rate auto` they first ask as fast as they can for 20 s, and then half as often. After
that warm-up everybody leaves, and descriptors and threads are taken; at the end, when everybody has
left again, they are compared, and what is in progress or held must be nothing; memory of the second
half is compared with the first (within 5 %); what each client saw with what was counted. Ends with 1
if anything differs. Python's standard library only, loopback only.
"""
import argparse, collections, json, multiprocessing, os, random, re, socket, struct, subprocess, sys
import tempfile, threading, time, urllib.request

import frames

arguments = argparse.ArgumentParser()
arguments.add_argument("--minutes", type=float, default=20)
arguments.add_argument("--rate", default="auto", help="requests a second, in all; auto: half of what is possible")
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
SIZE = 50_000_000
LARGE = b"GET /bytes/%d HTTP/1.1\r\nHost: t\r\n\r\n" % SIZE


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
    """Reads the beginning, then nothing, until it must have been cut off: what it gets then is what
    lay in between, and an end."""
    sock = dial(where, 4096)
    sock.sendall(LARGE)
    head = sock.recv(400)
    if not head.startswith(b"HTTP/1.1 200"):
        tally["status %s" % (head[9:12].decode() or "0")] += 1
        sock.close()
        return
    # Three times the limit, and by the clock: where the machine stood still, it is simply read on.
    time.sleep(6)
    taken = len(head)
    try:
        while taken < SIZE and (piece := sock.recv(1 << 20)):
            taken += len(piece)
    except ConnectionResetError:
        pass
    tally["write_stall" if taken < SIZE else "status 200"] += 1
    sock.close()


def answer_on(client, stream):
    """How a stream ends over HTTP/2: as a status, and the code of a reset. The shop and the faults of
    this run answer 200, which has an index in HPACK, and 503, which has none."""
    status = 0
    while (frame := client.next()) is not None:
        kind, flags, on, payload = frame
        if on != stream:
            continue
        if kind == frames.RESET:
            return status, int.from_bytes(payload, "big")
        if kind == frames.HEADERS:
            status = 200 if payload[0] == 0x88 else 503
        if flags & frames.END_STREAM and kind in (frames.HEADERS, frames.DATA):
            return status, None
    raise EOFError("closed inside an answer")


def asks_by_stream(where, dice, tally):
    """Several requests on one connection, some at once."""
    client = frames.Client(where)
    for first in range(1, 20, 4):
        client.send(frames.get(first, "/api/items") + frames.get(first + 2, "/api/items"))
        # In the order in which they end.
        left = {first: 0, first + 2: 0}
        while left:
            kind, flags, on, payload = client.next()
            if on not in left:
                continue
            if kind == frames.HEADERS:
                left[on] = 200 if payload[0] == 0x88 else 503
            if kind == frames.RESET:
                left[on] = 0
            if kind == frames.RESET or flags & frames.END_STREAM and kind in (frames.HEADERS, frames.DATA):
                tally["status %d" % left.pop(on)] += 1
    client.close()


def stalls_as_stream(where, dice, tally):
    """Gives no window back: the stream is reset, and no other on its connection."""
    client = frames.Client(where)
    client.send(frames.get(1, "/bytes/%d" % SIZE))
    status, code = answer_on(client, 1)
    stalled = status == 200 and code == frames.CANCEL
    tally["write_stall" if stalled else "status %d" % (0 if code else status)] += 1
    client.send(frames.get(3, "/api/items"))
    status, code = answer_on(client, 3)
    tally["status %d" % (0 if code else status)] += 1
    client.close()


def leaves_a_stream(where, dice, tally):
    """Resets a stream before its answer, or its whole connection."""
    client = frames.Client(where)
    client.send(frames.get(1, "/slow?ms=2000"))
    client.sock.settimeout(1)
    try:
        status, code = answer_on(client, 1)
        tally["status %d" % (0 if code else status)] += 1
    except TimeoutError:
        tally["left"] += 1
        if dice.random() < 0.5:
            client.send(frames.frame(frames.RESET, 0, 1, frames.CANCEL.to_bytes(4, "big")))
    client.close()


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


ODD = [leaves_early, leaves_inside, stalls_as_reader, stalls_in_a_head, stalls_in_a_body,
       asks_by_stream, stalls_as_stream, leaves_a_stream]
STEADY = 6


def clients(where, seed, rate, until, pipe):
    """Some clients of each kind, in threads; their tallies, added up, go into the pipe."""
    tally, lock = collections.Counter(), threading.Lock()

    def run(number):
        dice, mine, kept = random.Random(seed * 1000 + number), collections.Counter(), []
        odd = number >= STEADY
        due = time.monotonic()
        while time.monotonic() < until:
            if odd:
                ODD[(number - STEADY) % len(ODD)](where, dice, mine)
                time.sleep(dice.expovariate(2))
            else:
                asks(where, dice, mine, kept)
                if rate:
                    due += dice.expovariate(rate / STEADY)
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

    threads = [threading.Thread(target=guarded, args=(n,)) for n in range(STEADY + 2 * len(ODD))]
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
        names = collections.Counter(open("%s/task/%s/comm" % (proc, task)).read().strip()
                                    for task in os.listdir(proc + "/task"))
        runtime = names.pop(RUNTIME, 0)
        return (len(os.listdir(proc + "/fd")), sum(names.values()), runtime,
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


# The runtime keeps a thread that reads files for ten seconds after its last work, and there is some
# every two: as many of those it had at its busiest may stay for good.
RUNTIME, SPARE = "tokio-rt-worker", 5
REFUSED = ("request_head", "body_stall", "write_stall")


def main():
    options = arguments.parse_args()
    with tempfile.TemporaryDirectory() as directory:
        instance = Instance(options, directory)
        try:
            sys.exit(soak(instance, options))
        finally:
            instance.end()


def crowd(where, rate, until, meanwhile):
    """Clients of all kinds, at a rate or as fast as they can, and what they have seen."""
    mine, theirs = multiprocessing.Pipe()
    both = [multiprocessing.Process(target=clients, args=(where, seed, rate / 2, until, theirs)) for seed in (1, 2)]
    [process.start() for process in both]
    while time.monotonic() < until:
        meanwhile()
        time.sleep(1)
    tally, failed = collections.Counter(), []
    for process in both:
        part, errors = mine.recv()
        tally.update(part)
        failed += errors
        process.join()
    return tally, failed


DURATION = "http_server_request_duration_seconds_count"


def capacity(instance, where, seconds=20):
    """Requests a second, when everybody asks as fast as they can."""
    counts = []
    crowd(where, 0, time.monotonic() + seconds,
          lambda: counts.append((time.monotonic(), instance.metric(DURATION))))
    # The first quarter is for getting under way.
    (begun, before), (ended, after) = counts[len(counts) // 4], counts[-1]
    return (after - before) / (ended - begun)


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
    possible = capacity(instance, where) if options.rate == "auto" else None
    rate = possible / 2 if possible else float(options.rate)
    print("%.0f requests a second%s" % (rate, ", half of %.0f" % possible if possible else ""), flush=True)
    instance.quiet()
    counted = instance.metric(DURATION)
    refused = {reason: instance.metric("backburn_refused_total", 'reason="%s"' % reason) for reason in REFUSED}
    by_status = {status: instance.metric(DURATION, 'status_code="%d"' % status) for status in (200, 503)}
    reloaded = instance.metric("backburn_scenario_reloads_total", 'result="applied"')
    time.sleep(2)
    descriptors, threads, runtime, _ = instance.of_process()
    begun = time.monotonic()
    memory, reloads = [], [0]

    def meanwhile():
        memory.append(instance.of_process()[3])
        if time.monotonic() >= begun + 10 * (reloads[0] + 1):
            reloads[0] += 1
            instance.write(10 + reloads[0] % 5)

    tally, failed = crowd(where, rate, begun + 60 * options.minutes, meanwhile)
    instance.quiet()
    print("%-4s %-40s %12s %12s" % ("", "", "is", "should be"))

    def same(what, is_so, should):
        print("%-4s %-40s %12s %12s" % ("ok" if is_so == should else "NOT", what, is_so, should))
        if is_so != should:
            failed.append(what)

    # Calls to the admin address take a while to go.
    deadline = time.monotonic() + 30
    while (now := instance.of_process())[:2] != (descriptors, threads) and time.monotonic() < deadline:
        time.sleep(1)
    same("descriptors, as before", now[0], descriptors)
    same("threads, as before", now[1], threads)
    more = now[2] - runtime
    print("%-4s %-40s %12d %12s" % ("ok" if more <= SPARE else "NOT", "threads of the runtime, at most", now[2], runtime + SPARE))
    if more > SPARE:
        failed.append("threads of the runtime")
    same("requests in progress", instance.metric("http_server_active_requests"), 0)
    same("requests held", instance.metric("backburn_held_requests"), 0)
    same("reloads, as written", instance.metric("backburn_scenario_reloads_total", 'result="applied"') - reloaded,
         reloads[0])
    # The first tenth is warming up.
    memory = memory[len(memory) // 10:]
    half = len(memory) // 2
    first, second = sum(memory[:half]) / half, sum(memory[half:]) / (len(memory) - half)
    growth = second / first - 1
    print("%-4s %-40s %8.1f MiB %8.1f MiB, %+.1f %% (5 %%)"
          % ("ok" if growth <= 0.05 else "NOT", "memory, second half and first", second / 1024, first / 1024,
             100 * growth))
    if growth > 0.05:
        failed.append("memory")
    unread = tally["left"] + tally["write_stall"]
    whole = sum(count for what, count in tally.items() if what.startswith("status "))
    same("requests, as the clients count them", instance.metric(DURATION) - counted,
         whole + unread + tally["body_stall"])
    for reason in REFUSED:
        now = instance.metric("backburn_refused_total", 'reason="%s"' % reason)
        same("refused for " + reason, now - refused[reason], tally[reason])
    # What was left or cut off is counted by the status it had got so far, or as gone.
    for status in (200, 503):
        ours = instance.metric(DURATION, 'status_code="%d"' % status) - by_status[status]
        print("     %-40s %12d %12d read to the end" % ("counted as status %d" % status, ours, tally["status %d" % status]))
    print(json.dumps(dict(tally), sort_keys=True))
    for sample, value in instance.metrics():
        if sample.startswith(("backburn_slo_e", "backburn_refused", "backburn_scenario_reloads")):
            print(sample, value)
    print("failed: " + "; ".join(failed) if failed else "all is well")
    return 1 if failed else 0


if __name__ == "__main__":
    main()
