"""An independent client: how many answers came whole and right. Python's standard library only.

usage: whole.py URL SERVICE_URL REQUESTS CONNECTIONS [GIVE_UP_SHARE GIVE_UP_SECONDS]

Asks the service itself for the right answer first. A share of the requests gives up after a time.
Prints JSON: sent, whole (200 and the right body, read to its end), gave_up (whose answer was not
read to its end for that reason), and everything else by what it was.
"""
import collections, http.client, json, random, sys, threading, urllib.parse

url, service, requests, connections = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
share = float(sys.argv[5]) if len(sys.argv) > 5 else 0.0
patience = float(sys.argv[6]) if len(sys.argv) > 6 else 60.0
host = urllib.parse.urlsplit(url).netloc
path = "/api/items"


def ask(conn):
    conn.request("GET", path, headers={"User-Agent": "whole"})
    answer = conn.getresponse()
    return answer.status, answer.read()


right = ask(http.client.HTTPConnection(urllib.parse.urlsplit(service).netloc))
assert right[0] == 200 and right[1], right
lock = threading.Lock()
seen = collections.Counter()


def client(count, seed):
    dice = random.Random(seed)
    mine = collections.Counter()
    conn = None
    for _ in range(count):
        gives_up = dice.random() < share
        if conn is None:
            conn = http.client.HTTPConnection(host, timeout=60)
            conn.connect()
        conn.sock.settimeout(patience if gives_up else 60) if conn.sock else None
        mine["sent"] += 1
        try:
            got = ask(conn)
            mine["whole" if got == right else "status %d" % got[0] if got[0] != 200 else "wrong"] += 1
        except TimeoutError:
            mine["gave_up"] += 1
            conn.close()
            conn = None
            continue
        except (http.client.HTTPException, OSError) as error:
            mine[type(error).__name__] += 1
            conn.close()
            conn = None
            continue
        if conn.sock is None:
            conn = None
    with lock:
        seen.update(mine)


threads = [threading.Thread(target=client, args=(requests // connections, n)) for n in range(connections)]
[thread.start() for thread in threads]
[thread.join() for thread in threads]
print(json.dumps(seen))
