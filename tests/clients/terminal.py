"""Runs a program on a terminal of its own and does things to it as its output appears.

    terminal.py ROWS COLUMNS STEPS PROGRAM ARGUMENTS...

STEPS is JSON: [[TEXT, ACTION], ...]; when TEXT has appeared in what came since the step before,
ACTION is carried out: "kill SIGNAL", "size ROWS COLUMNS", "type TEXT", or "". Prints JSON: all that
was written, by step, and the exit code. Gives up after 60 s without the next TEXT.
"""

import fcntl
import json
import os
import pty
import select
import signal
import struct
import sys
import termios
import time


def resize(terminal, rows, columns):
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))


def main():
    rows, columns, steps = int(sys.argv[1]), int(sys.argv[2]), json.loads(sys.argv[3])
    child, terminal = pty.fork()
    if child == 0:
        # Not before the terminal has its size.
        while os.get_terminal_size(1).columns != columns:
            time.sleep(0.005)
        os.execvp(sys.argv[4], sys.argv[4:])
    resize(terminal, rows, columns)
    parts, seen, deadline = [], "", time.monotonic() + 60
    while time.monotonic() < deadline:
        if steps and steps[0][0] in seen:
            action = steps.pop(0)[1].split(" ", 1)
            parts.append(seen)
            seen, deadline = "", time.monotonic() + 60
            if action[0] == "kill":
                os.kill(child, getattr(signal, action[1]))
            elif action[0] == "size":
                resize(terminal, *(int(number) for number in action[1].split()))
            elif action[0] == "type":
                os.write(terminal, action[1].encode())
            continue
        if not select.select([terminal], [], [], 1)[0]:
            continue
        try:
            data = os.read(terminal, 65536)
        except OSError:
            break
        if not data:
            break
        seen += data.decode("utf-8", "replace")
    else:
        os.kill(child, signal.SIGKILL)
        print(f"{steps[:1]} did not come; last: {seen[-2000:]!r}", file=sys.stderr)
        sys.exit(1)
    parts.append(seen)
    _, status = os.waitpid(child, 0)
    print(json.dumps({"parts": parts, "code": os.waitstatus_to_exitcode(status)}))


main()
