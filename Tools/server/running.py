"""What the checks of a server have in common: starting one, asking it, and noting what does not hold."""

import http.client
import json
import os
import socket
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
failures = []


def check(what, holds, found=""):
    """Prints what was checked, and notes it if it does not hold."""
    print(("ok      " if holds else "FAILED  ") + what + ("" if holds or not found else f" ({found})"), flush=True)
    if not holds:
        failures.append(what)
    return holds


def finish():
    """Ends the program, with status 1 if anything did not hold."""
    if failures:
        print(f"{len(failures)} failed: " + "; ".join(failures))
    sys.exit(1 if failures else 0)


class Server:
    """A running server of the bundled model, called `m` unless told otherwise; its log is kept."""

    def __init__(self, binary, *arguments, environment=None):
        self.log = tempfile.TemporaryFile("w+")
        command = [str(Path(binary).resolve()), "serve", "--port", "0", *arguments]
        if "--served-model-name" not in arguments:
            command += ["--served-model-name", "m"]
        self.process = subprocess.Popen(
            command,
            stdout=subprocess.PIPE,
            stderr=self.log,
            text=True,
            env={**os.environ, **(environment or {})},
            cwd=ROOT,
        )
        line = self.process.stdout.readline()
        if not line.startswith("listening at "):
            self.process.wait()
            sys.exit(f"FAILED  the server did not start with {arguments}: {self.text()}")
        self.url = line.split()[-1]
        self.port = int(self.url.rsplit(":", 1)[1])

    def text(self):
        self.log.seek(0)
        return self.log.read()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait()
        self.log.close()

    def ask(self, method, path, body=None, headers=None, context=None, timeout=120):
        """Status, headers and body of one request."""
        if context:
            connection = http.client.HTTPSConnection("localhost", self.port, timeout=timeout, context=context)
        else:
            connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=timeout)
        headers = dict(headers or {})
        if body is not None and not isinstance(body, bytes):
            body = json.dumps(body).encode()
        if body is not None:
            headers.setdefault("Content-Type", "application/json")
        try:
            connection.request(method, path, body=body, headers=headers)
            answer = connection.getresponse()
            return answer.status, answer.headers, answer.read()
        finally:
            connection.close()

    def raw(self):
        return socket.create_connection(("127.0.0.1", self.port), timeout=120)

    def is_alive(self):
        return self.ask("GET", "/health")[0] == 200

    def metric(self, name):
        for line in self.ask("GET", "/metrics")[2].decode().splitlines():
            if line.startswith(f"deepseek_vl_{name}{{"):
                return float(line.rsplit(" ", 1)[1])
        return None
