"""Asks a language server about one document, over stdio.

    language_server.py FILE QUESTIONS COMMAND...

QUESTIONS is JSON: [["completion" | "hover", LINE, COLUMN], ...], both from 0. Prints a JSON list:
of labels for a completion, of the text for a hover. Gives up after 60 s.
"""

import json
import pathlib
import subprocess
import sys
import threading


class Server:
    def __init__(self, command):
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
        )
        self.last = 0

    def send(self, message):
        body = json.dumps({"jsonrpc": "2.0", **message}).encode()
        self.process.stdin.write(b"Content-Length: %d\r\n\r\n%s" % (len(body), body))
        self.process.stdin.flush()

    def receive(self):
        length = None
        while line := self.process.stdout.readline().strip():
            name, _, value = line.decode().partition(":")
            if name.lower() == "content-length":
                length = int(value)
        if length is None:
            sys.exit("the language server has ended")
        return json.loads(self.process.stdout.read(length))

    def ask(self, method, params):
        self.last += 1
        self.send({"id": self.last, "method": method, "params": params})
        message = self.wait(lambda message: message.get("id") == self.last)
        if "error" in message:
            sys.exit(f"{method}: {message['error']}")
        return message["result"]

    def wait(self, wanted):
        while True:
            message = self.receive()
            if "method" in message and "id" in message:
                # It asks the editor something; it gets on without an answer.
                self.send({"id": message["id"], "result": None})
            elif wanted(message):
                return message

    def tell(self, method, params):
        self.send({"method": method, "params": params})


def main():
    path, questions, command = sys.argv[1], json.loads(sys.argv[2]), sys.argv[3:]
    server = Server(command)
    watchdog = threading.Timer(60, server.process.kill)
    watchdog.daemon = True
    watchdog.start()
    uri = pathlib.Path(path).resolve().as_uri()
    server.ask(
        "initialize",
        {
            "processId": None,
            "rootUri": pathlib.Path(path).resolve().parent.as_uri(),
            "capabilities": {
                "textDocument": {"hover": {"contentFormat": ["markdown"]}, "completion": {}}
            },
        },
    )
    server.tell("initialized", {})
    text = pathlib.Path(path).read_text()
    document = {"uri": uri, "languageId": "toml", "version": 1, "text": text}
    server.tell("textDocument/didOpen", {"textDocument": document})
    # It knows the document when it says what is wrong with it: every document here has mistakes.
    server.wait(lambda message: message.get("method") == "textDocument/publishDiagnostics")
    answers = []
    for kind, line, column in questions:
        place = {"textDocument": {"uri": uri}, "position": {"line": line, "character": column}}
        answer = server.ask(f"textDocument/{kind}", place)
        if kind == "completion":
            items = answer if isinstance(answer, list) else (answer or {}).get("items", [])
            answers.append([item["label"] for item in items])
        else:
            contents = (answer or {}).get("contents", "")
            answers.append(contents if isinstance(contents, str) else contents["value"])
    server.ask("shutdown", None)
    server.tell("exit", None)
    server.process.wait()
    print(json.dumps(answers))


main()
