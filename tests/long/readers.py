"""What a caller costs that asks for much and takes nothing.

usage: readers.py [--readers 400] [--most 100] [--workers 2] [--streams 50] [--binary target/release/backburn]

First over HTTP/1.1, then over HTTP/2 with several streams a connection, each of which has had its
window full. Prints memory by the hundred; ends with 1 where a reader costs more than `most` KiB on
average, beyond the first 256 of each worker, which may have three pieces of 64 KiB before them.
Python's standard library only, loopback only.
"""
import argparse, json, os, re, resource, socket, subprocess, sys, tempfile, time, urllib.request

import frames

arguments = argparse.ArgumentParser()
arguments.add_argument("--readers", type=int, default=400)
arguments.add_argument("--most", type=float, default=100, help="KiB each, beyond those that are few")
arguments.add_argument("--workers", type=int, default=2)
arguments.add_argument("--streams", type=int, default=50, help="a connection, over HTTP/2")
arguments.add_argument("--binary", default="target/release/backburn")

FEW, EACH_OF_FEW = 256, 260
SCENARIO = """
[proxy]
upstream = "%s"
timeouts = { write_stall = "1h" }
limits = { connections = 20000 }
"""
LARGE = "/bytes/1073741824"


def start(binary, directory, name, *more):
    program = subprocess.Popen([os.path.abspath(binary), *more, "--ready-file", os.path.join(directory, name)],
                               cwd=directory, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 30
    while not os.path.exists(os.path.join(directory, name)):
        if program.poll() is not None or time.monotonic() > deadline:
            sys.exit("%s has not become ready" % name)
        time.sleep(0.05)
    return program, json.load(open(os.path.join(directory, name)))


def resident(pid):
    """KiB that it shares with nobody."""
    text = open("/proc/%d/smaps_rollup" % pid).read()
    return int(re.search(r"Pss:\s+(\d+)", text).group(1))


def over_h1(where, options):
    sock = socket.socket()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    sock.settimeout(30)
    sock.connect(where)
    sock.sendall(b"GET %s HTTP/1.1\r\nHost: t\r\n\r\n" % LARGE.encode())
    assert sock.recv(15) == b"HTTP/1.1 200 OK"
    return sock, 1


def over_h2(where, options):
    client = frames.Client(where)
    client.send(b"".join(frames.get(2 * n + 1, LARGE) for n in range(options.streams)))
    left = 65535 * options.streams
    while left > 0:
        kind, _, _, payload = client.next()
        left -= len(payload) if kind == frames.DATA else 0
    return client, options.streams


def measure(options, name, reader):
    with tempfile.TemporaryDirectory() as directory:
        shop, ready = start(options.binary, directory, "shop", "sample-service", "--listen", "127.0.0.1:0",
                            "--payments-listen", "127.0.0.1:0")
        with open(os.path.join(directory, "readers.toml"), "w") as file:
            file.write(SCENARIO % ready["checkout"])
        proxy, ready = start(options.binary, directory, "proxy", "run", "readers.toml", "--listen", "127.0.0.1:0",
                             "--admin-listen", "127.0.0.1:0", "--workers", str(options.workers))
        try:
            host, port = ready["proxy"].split("//")[1].split(":")
            before, kept, count, shown = resident(proxy.pid), [], 0, 100
            while count < options.readers:
                one, more = reader((host, int(port)), options)
                kept.append(one)
                count += more
                if count >= shown or count >= options.readers:
                    shown = count + 100
                    # What is read for them has been read when this has come through.
                    urllib.request.urlopen(ready["proxy"] + "/api/items", timeout=30).read()
                    now = resident(proxy.pid) - before
                    print("%-8s %5d readers  %8.1f MiB  %6.1f KiB each" % (name, count, now / 1024, now / count))
            few = min(count, FEW * options.workers)
            allowed = few * max(EACH_OF_FEW, options.most) + (count - few) * options.most
            is_so = now <= allowed
            print("%-4s %s: %.1f MiB of %.1f allowed" % ("ok" if is_so else "NOT", name, now / 1024, allowed / 1024))
            for one in kept:
                one.close()
            return is_so
        finally:
            for program in (proxy, shop):
                program.terminate()
                program.wait(30)


def main():
    options = arguments.parse_args()
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    fine = [measure(options, "HTTP/1.1", over_h1), measure(options, "HTTP/2", over_h2)]
    sys.exit(0 if all(fine) else 1)


if __name__ == "__main__":
    main()
