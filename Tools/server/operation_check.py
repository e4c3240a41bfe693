#!/usr/bin/env python3
"""Operates a server of the bundled model as its owner and as its enemies would, over real connections.

    python3 Tools/server/operation_check.py --binary .build/release/deepseek-vl

Starts the servers itself, on ports that the system chooses. Needs Python and openssl alone. Exit status 1 if anything
is not as it should be.
"""

import argparse
import base64
import http.server
import json
import os
import signal
import socket
import ssl
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

from running import ROOT, Server, check, finish


def chat(text="Count.", **fields):
    return {"model": "m", "messages": [{"role": "user", "content": text}], "max_tokens": 8, "temperature": 0, **fields}


def endless(server):
    """A chat that only its length or its listener ends: no token that ends an answer is chosen."""
    ids = json.loads(server.ask("POST", "/tokenize", {"prompt": "", "add_special_tokens": False})[2])
    assert ids["count"] == 0
    info = json.loads(server.ask("GET", "/tokenizer_info")[2])
    end = json.loads(server.ask("POST", "/tokenize", {"prompt": info["eos_token"], "add_special_tokens": False})[2])
    return {"logit_bias": {str(i): -100 for i in end["tokens"]}}


def code(answer):
    try:
        return json.loads(answer[2])["error"]["code"]
    except (ValueError, KeyError, TypeError):
        return None


def closes(connection, within):
    """Seconds until the server closes a connection; nil if it does not. What it sends is read and forgotten."""
    start = time.monotonic()
    connection.settimeout(0.2)
    while time.monotonic() - start < within:
        try:
            if not connection.recv(65536):
                return time.monotonic() - start
        except (socket.timeout, TimeoutError):
            continue
        except OSError:
            return time.monotonic() - start
    return None


# MARK: What the owner configures


def tls(binary, folder):
    certificate, key = folder / "cert.pem", folder / "key.pem"
    made = subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost"]
        + ["-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1", "-keyout", str(key), "-out", str(certificate)],
        capture_output=True,
    )
    if made.returncode:
        return check("openssl makes a certificate", False, made.stderr.decode()[-200:])
    with Server(binary, "--tls-certificate", str(certificate), "--tls-key", str(key)) as server:
        trusting = ssl.create_default_context(cafile=str(certificate))
        check("the address that is printed is https", server.url.startswith("https://"))
        status, _, data = server.ask("POST", "/v1/chat/completions", chat(), context=trusting)
        check("a chat goes over TLS, whose certificate is checked", status == 200, data[:200])
        status, _, data = server.ask("POST", "/v1/chat/completions", chat(stream=True), context=trusting)
        check("a stream goes over TLS", status == 200 and data.endswith(b"data: [DONE]\n\n"), data[-100:])
        try:
            server.ask("GET", "/health", context=ssl.create_default_context())
            check("a client that does not know the certificate goes away", False)
        except ssl.SSLError:
            check("a client that does not know the certificate goes away", True)
        old = ssl.create_default_context(cafile=str(certificate))
        old.minimum_version, old.maximum_version = ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_2
        check("TLS 1.2 is spoken", server.ask("GET", "/health", context=old)[0] == 200)
        plain = server.raw()
        plain.sendall(b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n")
        check("plain text is not answered over TLS", b"HTTP/1.1 200" not in drain(plain, 5))
        silent = [server.raw() for _ in range(20)]
        check(
            "a connection that never begins TLS is closed",
            all(closes(c, 25) is not None for c in silent),
        )
        check("and others are served", server.ask("GET", "/health", context=trusting)[0] == 200)
    for wrong in [["--tls-certificate", str(key), "--tls-key", str(key)], ["--tls-certificate", str(certificate)]]:
        run = subprocess.run([binary, "serve", "--port", "0", *wrong], capture_output=True, text=True, timeout=60)
        check("a wrong certificate is an error that says so", run.returncode in (1, 2) and "ls" in run.stderr.lower())


def drain(connection, seconds):
    """What comes until the connection closes, or for so long."""
    connection.settimeout(seconds)
    data = b""
    try:
        while part := connection.recv(65536):
            data += part
    except OSError:
        pass
    return data


def cors(binary):
    with Server(binary, "--cors-origin", "https://app.example") as server:
        ask = {"Origin": "https://app.example", "Access-Control-Request-Method": "POST"}
        status, headers, _ = server.ask("OPTIONS", "/v1/chat/completions", headers=ask)
        check(
            "a page of a listed origin may ask beforehand",
            status == 204
            and headers["Access-Control-Allow-Origin"] == "https://app.example"
            and "POST" in headers["Access-Control-Allow-Methods"]
            and "authorization" in headers["Access-Control-Allow-Headers"].lower()
            and headers["Vary"] == "Origin",
            dict(headers),
        )
        _, headers, _ = server.ask("POST", "/v1/chat/completions", chat(), {"Origin": "https://app.example"})
        check("and reads the answer", headers["Access-Control-Allow-Origin"] == "https://app.example")
        for origin in ["https://evil.example", "null", "https://app.example.evil.example"]:
            status, headers, _ = server.ask("OPTIONS", "/v1/chat/completions", headers={**ask, "Origin": origin})
            other, more, _ = server.ask("POST", "/v1/chat/completions", chat(), {"Origin": origin})
            check(
                f"a page of {origin} may not",
                status == 403 == other
                and headers["Access-Control-Allow-Origin"] is None is more["Access-Control-Allow-Origin"],
            )
        check("a client without an origin is served", server.ask("GET", "/v1/models")[0] == 200)
    with Server(binary) as server:
        status, headers, _ = server.ask("OPTIONS", "/v1/models", headers={"Origin": "https://app.example"})
        check("without --cors-origin no page gets leave", status == 405 and not headers["Access-Control-Allow-Origin"])
        status, headers, _ = server.ask("POST", "/v1/chat/completions", b"{}", {"Content-Type": "text/plain"})
        check("a body that a page may send unasked (text/plain) is refused", status == 415)
        status, _, data = server.ask("GET", "/v1/models", headers={"Host": "evil.example"})
        check("a name that is not this machine's is refused", status == 421, data)
    with Server(binary, "--cors-origin", "*") as server:
        status, headers, _ = server.ask("OPTIONS", "/v1/models", headers={"Origin": "https://any.example"})
        check("'*' lets every page ask", status == 204 and headers["Access-Control-Allow-Origin"] == "*")


def keys(binary, folder):
    file = folder / "keys.txt"
    file.write_text("# keys\nalpha first customer\n\nbeta\n")
    with Server(binary, "--api-keys", str(file), "--requests-per-minute", "3") as server:
        alpha, beta = {"Authorization": "Bearer alpha"}, {"x-api-key": "beta"}
        check("a key of the file opens", server.ask("GET", "/v1/models", headers=alpha)[0] == 200)
        check("also as x-api-key", server.ask("GET", "/v1/models", headers=beta)[0] == 200)
        wrong = [{}, {"Authorization": "Bearer "}, {"Authorization": "alpha"}, {"Authorization": "Bearer alph"}]
        wrong += [{"Authorization": "Bearer # keys"}, {"x-api-key": "alpha first customer"}]
        check("others do not", all(server.ask("GET", "/v1/models", headers=w)[0] == 401 for w in wrong))
        statuses = [server.ask("POST", "/v1/chat/completions", chat(), alpha)[0] for _ in range(3)]
        last = server.ask("POST", "/v1/chat/completions", chat(), alpha)
        wait = last[1]["Retry-After"]
        check(
            "the fourth request in a minute is told when to come back",
            statuses == [200] * 3 and last[0] == 429 and wait and 1 <= int(wait) <= 60,
            (statuses, last[0], wait),
        )
        check("its error has OpenAI's form", code(last) == "rate_limit_exceeded")
        check("another key is not held up", server.ask("POST", "/v1/chat/completions", chat(), beta)[0] == 200)
        check("and reading is not counted", server.ask("GET", "/v1/models", headers=alpha)[0] == 200)
        log = server.text()
        check("no key is in the log", "alpha" not in log and "beta" not in log and "key=0" in log, log[-300:])
    empty = folder / "none.txt"
    empty.write_text("# nothing\n")
    run = subprocess.run(
        [binary, "serve", "--port", "0", "--api-keys", str(empty)], capture_output=True, text=True, timeout=60
    )
    check("a file without keys is an error, no open door", run.returncode == 1 and "none.txt" in run.stderr)
    with Server(binary, "--requests-at-once", "2") as server:
        long = chat(stream=True, **endless(server))
        long["max_tokens"] = 1500
        held = [stream(server, long) for _ in range(2)]
        answer = server.ask("POST", "/v1/chat/completions", chat())
        check(
            "a third request at the same time is refused with 429",
            answer[0] == 429 and answer[1]["Retry-After"] and code(answer) == "too_many_open_requests",
            answer[0],
        )
        for connection in held:
            connection.close()
        deadline = time.monotonic() + 20
        while (status := server.ask("POST", "/v1/chat/completions", chat())[0]) == 429 and time.monotonic() < deadline:
            time.sleep(0.1)
        check("and served when one has gone", status == 200)


def stream(server, body):
    """A connection whose answer has begun."""
    data = json.dumps(body).encode()
    connection = server.raw()
    connection.sendall(
        b"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
        + f"Content-Length: {len(data)}\r\n\r\n".encode()
        + data
    )
    begun = b""
    while b'"content":"' not in begun:
        part = connection.recv(4096)
        if not part:
            sys.exit("FAILED  a stream ended at its beginning: " + begun.decode(errors="replace"))
        begun += part
    return connection


def configuration(binary, folder):
    file = folder / "serve.json"

    def served(arguments, environment=None):
        with Server(binary, *arguments, environment=environment) as server:
            return [m["id"] for m in json.loads(server.ask("GET", "/v1/models")[2])["data"]], server.metric(
                "cache_blocks_total"
            )

    file.write_text(json.dumps({"cache-memory": 4, "requests-per-minute": 5, "no-prefix-cache": True}))
    small = served(["--config", str(file)])[1]
    larger = served(["--config", str(file)], {"DEEPSEEK_VL_SERVE_CACHE_MEMORY": "8"})[1]
    largest = served(
        ["--config", str(file), "--cache-memory", "16"], {"DEEPSEEK_VL_SERVE_CACHE_MEMORY": "8"}
    )[1]
    check(
        "flags go before the environment, which goes before the file",
        small and abs(larger / small - 2) < 0.1 and abs(largest / small - 4) < 0.1,
        (small, larger, largest),
    )
    from_environment = served([], {"DEEPSEEK_VL_SERVE_CONFIG": str(file)})[1]
    check("the file may be named by the environment", from_environment == small)

    def refused(arguments, environment=None):
        run = subprocess.run(
            [binary, "serve", "--port", "0", *arguments],
            capture_output=True,
            text=True,
            timeout=60,
            env={**os.environ, **(environment or {})},
        )
        return (run.returncode, run.stderr)

    for text, word in [
        ('{"cache-memroy": 4}', "cache-memroy"),
        ('{"port": true}', "port"),
        ('{"no-prefix-cache": "yes"}', "no-prefix-cache"),
        ('{"cors-origin": "*"}', "cors-origin"),
        ('{"port": 1, "port": 2}', "port"),
        ('{"step-tokens": 0}', "step-tokens"),
        ("[]", "serve.json"),
        ("{", "serve.json"),
    ]:
        file.write_text(text)
        status, error = refused(["--config", str(file)])
        check(f"{text} is an error that names what is wrong", status == 2 and word in error, (status, error[-200:]))
    status, error = refused(["--config", str(folder / "missing.json")])
    check("a missing file is an error", status == 2 and "missing.json" in error, error[-200:])
    status, error = refused([], {"DEEPSEEK_VL_SERVE_PROT": "1"})
    check("an unknown variable is an error", status == 2 and "DEEPSEEK_VL_SERVE_PROT" in error, error[-200:])
    status, error = refused([], {"DEEPSEEK_VL_SERVE_NO_PREFIX_CACHE": "1"})
    check("a flag is true or false", status == 2 and "DEEPSEEK_VL_SERVE_NO_PREFIX_CACHE" in error, error[-200:])


def logs(binary):
    secret = "a very secret question about zebras"
    with Server(binary, "--log-format", "json") as server:
        _, headers, _ = server.ask("POST", "/v1/chat/completions", chat(secret))
        server.ask("POST", "/v1/chat/completions", chat(secret, temperature=9))
        time.sleep(0.3)
        text = server.text()
        lines = [json.loads(line) for line in text.splitlines() if line.startswith("{")]
        found = [line for line in lines if line.get("id") == headers["x-request-id"]]
        check(
            "a request is one JSON line with its id, route, status and time",
            len(found) == 1
            and found[0]["status"] == 200
            and found[0]["route"] == "/v1/chat/completions"
            and found[0]["ms"] >= 0
            and found[0]["time"].endswith("Z"),
            text[-300:],
        )
        check("no line has what was asked", secret not in text and "zebras" not in text)


# MARK: Pictures of the web


class Pictures(http.server.BaseHTTPRequestHandler):
    """A host of pictures, good and bad."""

    asked = []

    def do_GET(self):
        Pictures.asked.append(self.path)
        data = (ROOT / "Examples/shapes.png").read_bytes()
        if self.path.startswith("/redirect/"):
            left = int(self.path.rsplit("/", 1)[1])
            return self.send(302, b"", Location=f"/redirect/{left - 1}" if left else "/shapes.png")
        if self.path == "/elsewhere":
            return self.send(302, b"", Location=f"http://localhost:{self.server.server_port}/shapes.png")
        if self.path == "/scheme":
            return self.send(302, b"", Location="file:///etc/passwd")
        if self.path == "/huge":
            return self.send(200, b"", **{"Content-Length": str(1 << 40)})
        if self.path == "/endless":
            self.send_response(200)
            self.end_headers()
            try:
                while True:
                    self.wfile.write(b"\x89PNG" * 65536)
            except OSError:
                return
        if self.path == "/slow":
            self.send_response(200)
            self.end_headers()
            try:
                for _ in range(60):
                    self.wfile.write(b"\x89")
                    time.sleep(1)
            except OSError:
                return
        if self.path == "/text":
            return self.send(200, b"no picture", **{"Content-Type": "image/png"})
        if self.path == "/gone":
            return self.send(404, b"SECRET of an inner page")
        self.send(200, data)

    def send(self, status, data, **headers):
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        if "Content-Length" not in headers:
            self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_):
        pass


def fetching(binary):
    web = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Pictures)
    threading.Thread(target=web.serve_forever, daemon=True).start()
    base = f"http://127.0.0.1:{web.server_port}"

    def see(server, url):
        content = [{"type": "image_url", "image_url": {"url": url}}, {"type": "text", "text": "Where?"}]
        return server.ask("POST", "/v1/chat/completions", chat(content))

    with Server(binary) as server:
        answer = see(server, base + "/shapes.png")
        check("nothing is fetched by default", answer[0] == 400 and code(answer) == "image_url_not_allowed")
    with Server(binary, "--fetch-host", "127.0.0.1", "--fetch-host", "localhost", "--fetch-host", "*.nip.io") as server:
        urls = [base, f"http://localhost:{web.server_port}"]
        check(
            "an allowed host with a private address is not asked",
            all(code(see(server, url + "/shapes.png")) == "image_url_not_allowed" for url in urls),
        )
        strange = ["http://2130706433", "http://0x7f.0.0.1", "http://127.1", "http://[::1]", "http://[::ffff:127.0.0.1]"]
        strange += ["http://a@127.0.0.1", "http://127.0.0.1\\@example.org", "http://127.0.0.1%00.example.org", "http://0"]
        strange += ["http://169.254.169.254/latest/meta-data", "http://127.0.0.1:port", "HTTP://127.0.0.1 ", "http://"]
        strange += ["http://localhost.", "gopher://127.0.0.1", "ftp://127.0.0.1/x", "http://evil.example/x.png"]
        found = {url: see(server, url)[0] for url in strange}
        check("other spellings are refused, too", set(found.values()) == {400}, found)
    check("and nobody was asked in all that", Pictures.asked == [], Pictures.asked)
    with Server(binary, "--fetch-host", "127.0.0.1", "--fetch-private") as server:
        fetched = see(server, base + "/shapes.png")
        data = base64.b64encode((ROOT / "Examples/shapes.png").read_bytes()).decode()
        sent = see(server, "data:image/png;base64," + data)
        texts = [json.loads(a[2]).get("choices", [{}])[0].get("message") for a in (fetched, sent)]
        check("a picture of an allowed host is seen as one that was sent", fetched[0] == 200 and texts[0] == texts[1])
        check("three redirections are followed", see(server, base + "/redirect/2")[0] == 200)
        Pictures.asked.clear()
        many = see(server, base + "/redirect/9")
        check("more are not", code(many) == "image_fetch_failed" and len(Pictures.asked) == 4, Pictures.asked)
        Pictures.asked.clear()
        answer = see(server, base + "/elsewhere")
        check(
            "a redirection to a host that is not allowed is not followed",
            code(answer) == "image_url_not_allowed" and Pictures.asked == ["/elsewhere"],
            Pictures.asked,
        )
        check("nor one to another scheme", code(see(server, base + "/scheme")) == "image_fetch_failed")
        for path in ["/huge", "/endless"]:
            start = time.monotonic()
            answer = see(server, base + path)
            check(f"{path} is cut off", code(answer) == "image_fetch_failed" and time.monotonic() - start < 15)
        start = time.monotonic()
        answer = see(server, base + "/slow")
        check("a slow host is given up", code(answer) == "image_fetch_failed" and time.monotonic() - start < 20)
        answer = see(server, base + "/text")
        check("what is no picture is refused, whatever it calls itself", answer[0] == 400 and code(answer) == "invalid_image")
        answer = see(server, base + "/gone")
        check("an error tells nothing of an inner page", answer[0] == 400 and b"SECRET" not in answer[2])
        nowhere = see(server, "http://127.0.0.1:1/x.png")
        check("a closed port is an error of the request", code(nowhere) == "image_fetch_failed", nowhere)
        check("the server lives", server.is_alive())
    web.shutdown()
    run = subprocess.run([binary, "serve", "--fetch-private"], capture_output=True, text=True, timeout=60)
    check("--fetch-private alone is an error", run.returncode == 2)


# MARK: Bad and slow clients


def limits(binary):
    with Server(binary) as server:

        def status(body, path="/v1/chat/completions", **headers):
            return server.ask("POST", path, body, headers)

        check("the body may be of 32 MiB", status(b" " * ((32 << 20) + 1))[0] == 413)
        connection = server.raw()
        connection.sendall(
            b"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
            b"Content-Length: 1000000000000\r\n\r\n"
        )
        start = time.monotonic()
        answer = drain(connection, 5)
        check("a length beyond it is refused before it comes", b" 413 " in answer and time.monotonic() - start < 4)
        connection = server.raw()
        connection.sendall(
            b"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
            b"Transfer-Encoding: chunked\r\n\r\n"
        )
        try:
            for _ in range(40):
                connection.sendall(b"100000\r\n" + b" " * (1 << 20) + b"\r\n")
        except OSError:
            pass
        check("also in chunks", b" 413 " in drain(connection, 10))
        deep = b'{"model":"m","messages":' + b"[" * 100_000 + b"]" * 100_000 + b"}"
        start = time.monotonic()
        check("JSON of 100000 levels is refused at once", status(deep)[0] == 400 and time.monotonic() - start < 5)
        fine = b'{"model":"m","max_tokens":1,"messages":[{"role":"user","content":"a"}],"x":' + b"[" * 126 + b"]" * 126 + b"}"
        check("JSON of 127 levels is read", status(fine)[0] == 200)
        check("JSON of 129 is not", status(fine.replace(b"[" * 126, b"[" * 128).replace(b"]" * 126, b"]" * 128))[0] == 400)
        million = b'{"model":"m","messages":[],"x":{' + b",".join(b'"%d":0' % i for i in range(1_000_000)) + b"}}"
        start = time.monotonic()
        answer = status(million)
        check("a million keys are read or refused in seconds", answer[0] == 400 and time.monotonic() - start < 60)
        for what, body in [
            ("n in the millions", chat(n=5_000_000)),
            ("n of 0", chat(n=0)),
            ("thousands of stop strings", chat(stop=["x%d" % i for i in range(5000)])),
            ("an empty stop string", chat(stop=[""])),
            ("thousands of biases", chat(logit_bias={str(i): 1 for i in range(5000)})),
            ("an unknown role", chat(messages=[{"role": "root", "content": "a"}])),
            ("a picture too many", chat([{"type": "image_url", "image_url": {"url": "data:,"}}] * 33)),
            ("a picture that is none", chat([{"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}])),
            ("messages that are no list", chat(messages="hi")),
            ("a number that is a text", chat(temperature="1")),
            ("a prompt beyond the context", chat("a b c d " * 20000)),
            ("a schema that is not served", chat(response_format={"type": "json_schema", "json_schema": 5})),
        ]:
            start = time.monotonic()
            answer = status(body)
            fine = answer[0] == 400 and isinstance(json.loads(answer[2])["error"]["message"], str)
            check(f"{what}: 400 with an error object", fine and time.monotonic() - start < 20, answer[0])
        other_forms(status)
        for what, data in [
            ("cut JSON", b'{"model":'),
            ("bytes that are no UTF-8", b'{"model":"\xff"}'),
            ("half a surrogate", b'{"model":"\\ud800"}'),
            ("NaN", b'{"model":"m","temperature":NaN}'),
            ("a number of 400 digits", b'{"model":"m","max_tokens":' + b"9" * 400 + b"}"),
            ("a key twice", b'{"model":"m","model":"m"}'),
            ("nothing", b""),
            ("a list", b"[]"),
        ]:
            for path in ["/v1/chat/completions", "/v1/messages", "/v1/messages/count_tokens", "/v1/responses"]:
                check(f"{what}: 400 on {path}", status(data, path)[0] == 400)
        bomb = base64.b64encode(png_head(50_000, 50_000)).decode()
        start = time.monotonic()
        answer = status(chat([{"type": "image_url", "image_url": {"url": "data:image/png;base64," + bomb}}]))
        check("a picture of 2500 million pixels is refused from its head", answer[0] == 400 and time.monotonic() - start < 2)
        connection = server.raw()
        connection.sendall(b"GET /health HTTP/1.1\r\nHost: localhost\r\n" + b"".join(b"X-%d: y\r\n" % i for i in range(20000)))
        check("twenty thousand header fields are refused", b" 200 " not in drain(connection, 12))
        check("the server lives after all that", server.is_alive())


def other_forms(status):
    """What the bodies of messages and responses can have wrong."""
    ask = [{"role": "user", "content": "a"}]
    picture = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "AAAA"}}
    message = {"model": "m", "max_tokens": 2, "messages": ask}
    item = {"type": "input_image", "image_url": "data:,"}
    response = {"model": "m", "max_output_tokens": 2, "input": "a"}
    for path, fields, cases in [
        (
            "/v1/messages",
            message,
            [
                ("no limit of tokens", {"max_tokens": None}),
                ("a limit beyond the context", {"max_tokens": 10**12}),
                ("thousands of stop sequences", {"stop_sequences": ["x%d" % i for i in range(5000)]}),
                ("an unknown role", {"messages": [{"role": "root", "content": "a"}]}),
                ("an unknown block", {"messages": [{"role": "user", "content": [{"type": "x"}]}]}),
                ("a block that is no object", {"messages": [{"role": "user", "content": [5]}]}),
                ("a source of an unknown type", {"messages": [{"role": "user", "content": [{"type": "image", "source": {}}]}]}),
                ("a picture that is none", {"messages": [{"role": "user", "content": [picture]}]}),
                ("a picture too many", {"messages": [{"role": "user", "content": [picture] * 33}]}),
                ("a picture of the assistant", {"messages": ask + [{"role": "assistant", "content": [picture]}]}),
                ("thousands of messages", {"messages": ask * 5000}),
                ("a system of numbers", {"system": [1]}),
                ("a prompt beyond the context", {"messages": [{"role": "user", "content": "a b c d " * 20000}]}),
                ("a schema that is not served", {"output_config": {"format": {"type": "json_schema", "schema": {"not": {}}}}}),
            ],
        ),
        (
            "/v1/responses",
            response,
            [
                ("no input", {"input": None}),
                ("an input that is a number", {"input": 5}),
                ("an unknown item", {"input": [{"type": "x"}]}),
                ("an unknown role", {"input": [{"role": "root", "content": "a"}]}),
                ("an unknown part", {"input": [{"role": "user", "content": [{"type": "x"}]}]}),
                ("a picture too many", {"input": [{"role": "user", "content": [item] * 33}]}),
                ("a picture that is none", {"input": [{"role": "user", "content": [item]}]}),
                ("thousands of items", {"input": ask * 5000}),
                ("a limit beyond the context", {"max_output_tokens": 10**12}),
                ("thousands of labels", {"metadata": {str(i): "x" for i in range(5000)}}),
                ("a prompt beyond the context", {"input": "a b c d " * 20000}),
                ("a schema that is not served", {"text": {"format": {"type": "json_schema", "name": "n", "schema": {"not": {}}}}}),
            ],
        ),
    ]:
        check(f"{path}: the fields alone are served", status(fields, path)[0] == 200)
        for what, wrong in cases:
            start = time.monotonic()
            answer = status({**fields, **wrong}, path)
            error = json.loads(answer[2])
            fine = answer[0] == 400 and isinstance(error["error"]["message"], str)
            fine = fine and (error.get("type") == "error") == (path == "/v1/messages")
            check(f"{path}: {what}: 400 with an error object", fine and time.monotonic() - start < 20, answer[0])


def png_head(width, height):
    import struct
    import zlib

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(b"\0" * 1000)) + chunk(b"IEND", b"")


def slow(binary):
    with Server(binary, "--body-timeout", "4") as server:
        silent = [server.raw() for _ in range(50)]
        dripping = [server.raw() for _ in range(50)]
        bodies = [server.raw() for _ in range(50)]
        for connection in bodies:
            connection.sendall(
                b"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
                b"Content-Length: 1000\r\n\r\n{"
            )
        isOver = threading.Event()

        def drip():
            # A byte a second keeps each of them busy.
            text = b"GET /health HTTP/1.1\r\nX: " + b"a" * 500
            place = 0
            while not isOver.is_set():
                for connection in dripping:
                    try:
                        connection.sendall(text[place : place + 1])
                    except OSError:
                        pass
                for connection in bodies:
                    try:
                        connection.sendall(b" ")
                    except OSError:
                        pass
                place += 1
                isOver.wait(1)

        thread = threading.Thread(target=drip)
        thread.start()
        times = []
        for _ in range(10):
            start = time.monotonic()
            server.ask("GET", "/health")
            times.append(time.monotonic() - start)
        check("150 slow connections hold up nobody", max(times) < 1, max(times))
        found = [closes(c, 20) for c in bodies]
        check("a body that comes a byte a second is given up after --body-timeout", None not in found and max(found) < 15)
        check("silent connections are closed", all(closes(c, 20) is not None for c in silent))
        check("a header that comes a byte a second is given up", all(closes(c, 25) is not None for c in dripping))
        isOver.set()
        thread.join()
        check("the server lives", server.is_alive())

        # A client that reads nothing of a long stream, and one that is gone without a word.
        long = chat(stream=True, logprobs=True, top_logprobs=20, **endless(server))
        long["max_tokens"] = 1500
        stream(server, long).close()
        half = stream(server, long)
        half.shutdown(socket.SHUT_WR)
        gone = stream(server, long)
        gone.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        gone.close()
        deadline = time.monotonic() + 20
        while server.metric("running") and time.monotonic() < deadline:
            time.sleep(0.1)
        check(
            "clients that close, half close or reset are let go, with all their blocks",
            server.metric("running") == 0 == server.metric("cache_blocks_reserved"),
        )
        half.close()


def ending(binary):
    with Server(binary, "--grace", "60") as server:
        body = chat(stream=True, **endless(server))
        body["max_tokens"] = 1500
        running = [stream(server, body) for _ in range(4)]
        server.process.send_signal(signal.SIGTERM)
        time.sleep(0.3)
        try:
            answer = server.ask("POST", "/v1/chat/completions", chat())
            refused = answer[0] == 503 and answer[1]["Retry-After"] is not None
            health = server.ask("GET", "/health")[0]
        except OSError:
            refused, health = False, 0
        check("a server that ends refuses new requests with 503 and Retry-After", refused)
        check("and says so at /health", health == 503)
        ends = [drain(connection, 60) for connection in running]
        check("what ran comes to its end", all(b"data: [DONE]" in end for end in ends))
        try:
            check("then the program ends with status 0", server.process.wait(30) == 0)
        except subprocess.TimeoutExpired:
            check("then the program ends with status 0", False)
    with Server(binary, "--grace", "1") as server:
        body = chat(stream=True, **endless(server))
        body["max_tokens"] = 1800
        held = stream(server, body)
        server.process.send_signal(signal.SIGTERM)
        start = time.monotonic()
        try:
            status = server.process.wait(30)
        except subprocess.TimeoutExpired:
            status = None
        check("--grace is the longest time that it takes", status == 0 and time.monotonic() - start < 15, status)
        held.close()
    with Server(binary) as server:
        run = subprocess.run([binary, "serve", "--port", str(server.port)], capture_output=True, text=True, timeout=60)
        check("a port that is taken is an error", run.returncode == 1 and str(server.port) in run.stderr, run.stderr[-200:])


def cache(binary, folder):
    place = folder / "features"
    data = base64.b64encode((ROOT / "Examples/rings.png").read_bytes()).decode()
    content = [{"type": "image_url", "image_url": {"url": "data:image/png;base64," + data}}, {"type": "text", "text": "Where?"}]

    def once():
        with Server(binary, "--feature-cache", str(place), "--no-prefix-cache") as server:
            answer = json.loads(server.ask("POST", "/v1/chat/completions", chat(content))[2])
            time.sleep(0.3)
            return (
                answer["choices"][0]["message"],
                server.metric("image_tiles_total"),
                server.metric("image_stored_total"),
            )

    first, second = once(), once()
    check("a picture is encoded by one server and found by the next", first[1] > 0 and first[2] == 0 and second[1:] == (0, 1), (first, second))
    check("and answers the same", first[0] == second[0])
    file = next(place.glob("*.features"))
    damaged = bytearray(file.read_bytes())
    damaged[len(damaged) // 2] ^= 1
    file.write_bytes(damaged)
    third = once()
    check("a damaged file counts as not there", third[0] == first[0] and third[1] > 0 and third[2] == 0, third)
    check("and is written anew", once()[1:] == (0, 1))
    check("nobody else may read the folder", place.stat().st_mode & 0o077 == 0)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--binary", default=str(ROOT / ".build/release/deepseek-vl"))
    parser.add_argument("--only", help="parts, separated by commas")
    arguments = parser.parse_args()
    binary = arguments.binary
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        parts = {
            "tls": lambda: tls(binary, folder),
            "cors": lambda: cors(binary),
            "keys": lambda: keys(binary, folder),
            "configuration": lambda: configuration(binary, folder),
            "logs": lambda: logs(binary),
            "fetching": lambda: fetching(binary),
            "limits": lambda: limits(binary),
            "slow": lambda: slow(binary),
            "ending": lambda: ending(binary),
            "cache": lambda: cache(binary, folder),
        }
        for part in arguments.only.split(",") if arguments.only else parts:
            parts[part]()
    finish()


if __name__ == "__main__":
    main()
