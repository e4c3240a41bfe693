#!/usr/bin/env python3
"""A server that serves the page's files as they lie in the folder, for work on the page and for its tests.

    python3 Tools/web/fake_server.py --upstream http://127.0.0.1:8080     the page over a real server
    python3 Tools/web/fake_server.py                                      the page over scripted answers

Scripted answers are chosen by a word in the last question; they are what no well-behaved model says: scripts, endless
tables, overrides of direction, and every way in which a request can fail.
"""

import argparse
import json
import re
import socket
import threading
import time
import urllib.error
import urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
TYPES = {
    "html": "text/html; charset=utf-8", "css": "text/css; charset=utf-8", "js": "text/javascript; charset=utf-8",
    "svg": "image/svg+xml", "png": "image/png", "jpg": "image/jpeg",
}


def policy():
    """The Content-Security-Policy of the real server, read from its source so that both are the same."""
    source = (ROOT / "Sources/VLServer/WebPage.swift").read_text()
    inner = re.search(r"static let policy = \[(.*?)\]", source, re.S).group(1)
    return "; ".join(re.findall(r'"([^"]+)"', inner))


def assets():
    """The page's files by their paths, as the C target lists them."""
    folder = ROOT / "Sources/CVLWeb"
    source = (folder / "assets.c").read_text()
    files = dict(re.findall(r"static const uint8_t (\w+)\[\] = \{\n#embed \"([^\"]+)\"", source))
    found = {}
    for path, kind, name in re.findall(r'ASSET\("([^"]*)", "([^"]*)", (\w+)\)', source):
        found["/" + path] = (kind, (folder / files[name]).resolve())
    return found


HOSTILE = (
    "<script>window.hacked = 1</script> <img src=x onerror=\"window.hacked = 2\"> <svg onload=\"window.hacked=3\"></svg>\n\n"
    "[a link](javascript:window.hacked=4) [data](data:text/html,<script>window.hacked=5</script>) ![p](https://example.com/p.png)\n\n"
    "<iframe src=\"javascript:window.hacked=6\"></iframe> <a href=\"javascript:window.hacked=7\">x</a> "
    "<style>body{display:none}</style> </article></main><base href=\"https://example.com/\">\n\n"
    "```html\n<script>window.hacked = 8</script>\n```\n\n$\\text{<img src=x onerror=window.hacked=9>}$\n\n"
    "<|ref|><b onmouseover=\"window.hacked=10\">label</b><|/ref|><|det|>[[10, 10, 500, 500]]<|/det|>\n\nfine"
)
RTL = "safe \u202edetrever\u202c and \u2066isolated\u2069 and \u0007bell " + "\u0301" * 400 + " end"
TABLE = "| a | b |\n|---|---|\n" + "".join(f"| {i} | {'x' * 20} |\n" for i in range(5000)) + "\nafter"
WIDE = "|" + "|".join(f"c{i}" for i in range(400)) + "|\n|" + "---|" * 400 + "\n|" + "v|" * 400 + "\n"
DEEP = "> " * 3000 + "deep\n\n" + "".join("  " * i + "- x\n" for i in range(400)) + "*" * 20000 + "[" * 20000 + "`" * 3 + "$" * 5001
LONG = "word " * 120000
RICH = (
    "# A heading\n\nSome **bold**, *italic* and `code`, a [link](https://example.com/a_(b)) and https://example.org/x.\n\n"
    "| shape | count |\n|:--|--:|\n| circle | 2 |\n| star | 1 |\n\n1. first\n2. second\n   - inner\n   - other\n\n"
    "```python\nprint(1 < 2)\n```\n\nInline $a^2 + b^2 = c^2$ and\n\n$$\\int_0^1 \\frac{x^{n}}{\\sqrt{1+x}}\\,dx = \\sum_{k=0}^{\\infty} \\binom{n}{k}$$\n\n> a quote\n"
)


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    upstream = None
    files = {}
    policy = ""
    seen = []

    def log_message(self, *arguments):
        pass

    def end(self, status, body, kind="application/json", headers=()):
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        for name, value in headers:
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def json(self, value, status=200, headers=()):
        self.end(status, json.dumps(value).encode(), headers=headers)

    def refuse(self, status, code, message, headers=()):
        self.json({"error": {"message": message, "type": "x", "param": None, "code": code}}, status, headers)

    def do_GET(self):
        path = self.path.split("?")[0]
        if path in self.files:
            kind, file = self.files[path]
            return self.end(200, file.read_bytes(), kind, [
                ("Content-Security-Policy", self.policy), ("X-Content-Type-Options", "nosniff"), ("Cache-Control", "no-cache")])
        if self.upstream:
            return self.forward(None)
        if path == "/v1/models":
            return self.json({"object": "list", "data": [{
                "id": "fake", "object": "model", "created": 0, "owned_by": "x", "max_model_len": 4096, "architecture": "scripted",
                "sees": True, "weights": "none", "weight_bytes": 0, "vocab_size": 1, "loaded": True}]})
        if path == "/health":
            return self.json({"status": "ok"})
        self.refuse(404, "unknown_url", "there is nothing at this path")

    def do_POST(self):
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if self.upstream:
            return self.forward(body)
        request = json.loads(body)
        Handler.seen.append((self.path, request))
        pictures = [part for message in request["messages"] for part in (message["content"] if isinstance(message["content"], list) else []) if part["type"] == "image_url"]
        last = request["messages"][-1]["content"]
        text = last if isinstance(last, str) else " ".join(part.get("text", "") for part in last)
        if self.path == "/v1/plan":
            tokens = sum(len(json.dumps(message["content"])) // 4 if isinstance(message["content"], str) else 20 for message in request["messages"]) + 421 * len(pictures)
            if "refuse picture" in text:
                return self.refuse(400, "invalid_image", "image 1: expected a PNG, found 12 bytes of something else")
            return self.json({"object": "plan", "model": "fake", "prompt_tokens": tokens, "text_tokens": 0, "images": [
                {"width": 400, "height": 200, "tiles": 3, "tokens": 421, "tiles_across": 2, "tiles_down": 1} for _ in pictures],
                "context": 4096, "context_left": max(0, 4096 - tokens), "max_tokens": 1, "fits": True})
        self.chat(text, request, len(pictures))

    def chat(self, text, request, pictures):
        if "queue full" in text:
            return self.refuse(503, "overloaded", "the queue is full (256 requests wait)", [("Retry-After", "7")])
        if "too fast" in text:
            return self.refuse(429, "rate_limit_exceeded", "too many requests in a minute", [("Retry-After", "30")])
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Connection", "close")
        self.end_headers()

        def send(value):
            self.wfile.write(b"data: " + (value if isinstance(value, bytes) else json.dumps(value).encode()) + b"\n\n")
            self.wfile.flush()

        def delta(**fields):
            send({"choices": [{"index": 0, "delta": fields, "finish_reason": None}]})

        try:
            delta(role="assistant", content="")
            pause = 0.7 if "progress" in text else 0
            for done in range(1, pictures + 1):
                send({"choices": [], "progress": {"index": 0, "phase": "pictures", "done": done, "total": pictures}})
                time.sleep(pause)
            for done in (0, 50, 100):
                send({"choices": [], "progress": {"index": 0, "phase": "prefill", "done": done, "total": 100, "cached_tokens": 0}})
                time.sleep(pause)
            if "server gone" in text:
                delta(content="The first half of")
                time.sleep(0.2)
                self.connection.shutdown(socket.SHUT_RDWR)
                return
            if "slow" in text:
                for i in range(400):
                    delta(content=f"word{i} ")
                    time.sleep(0.03)
            for word, answer in [("script", HOSTILE), ("table", TABLE), ("wide", WIDE), ("rtl", RTL), ("deep", DEEP), ("long", LONG), ("rich", RICH)]:
                if word in text:
                    for start in range(0, len(answer), 4096):
                        delta(content=answer[start:start + 4096])
            if "script" in text and pictures:
                delta(grounding=[{"label": "<b onmouseover=\"window.hacked=10\">label</b>", "image": pictures - 1, "box": [10, 10, 500, 500],
                                  "pixels": [1, 1, 60, 28], "stored_pixels": [1, 1, 60, 28], "confidence": 0.5}])
            if "boxes early" in text:
                delta(content="Here is <|ref|>one<|/ref|><|det|>[[0, 0, 499, 999]]<|/det|> and")
                delta(grounding=[{"label": "one", "image": pictures - 1, "box": [0, 0, 499, 999], "pixels": [0, 0, 56, 128], "stored_pixels": [0, 0, 56, 128], "confidence": 0.875}])
                time.sleep(2)
                delta(content=" more.")
            if "bad boxes" in text:
                delta(grounding=[{"label": 5, "image": "x", "pixels": "y"}, {"label": "far", "image": 99, "box": [0, 0, 1, 1], "pixels": [0, 0, 9, 9]},
                                 None, {"label": "far", "image": 0, "box": [0, 0, 999, 999], "pixels": [-1e9, -1e9, 1e9, 1e9], "confidence": None}])
                delta(content="survived")
            if "echo" in text:
                delta(content=json.dumps([m["role"] for m in request["messages"]]))
            send({"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]})
            send({"choices": [], "usage": {"prompt_tokens": 100, "completion_tokens": 12, "total_tokens": 112, "prompt_tokens_details": {"cached_tokens": 64}}})
            send(b"[DONE]")
        except (BrokenPipeError, ConnectionResetError):
            pass

    def forward(self, body):
        headers = {name: value for name, value in self.headers.items() if name.lower() in ("content-type", "authorization")}
        request = urllib.request.Request(self.upstream + self.path, body, headers)
        try:
            answer = urllib.request.urlopen(request)
        except urllib.error.HTTPError as error:
            answer = error
        self.send_response(answer.status)
        for name in ("Content-Type", "Retry-After"):
            if answer.headers.get(name):
                self.send_header(name, answer.headers[name])
        self.send_header("Connection", "close")
        self.end_headers()
        try:
            while part := answer.read1(65536):
                self.wfile.write(part)
                self.wfile.flush()
        except (BrokenPipeError, ConnectionResetError):
            answer.close()
        self.close_connection = True


def start(port=0, upstream=None):
    """A server on a thread of its own; its address is `server.server_address`."""
    handler = type("PageHandler", (Handler,), {"upstream": upstream, "files": assets(), "policy": policy()})
    server = ThreadingHTTPServer(("127.0.0.1", port), handler)
    # A browser that hangs up is no news.
    server.handle_error = lambda *arguments: None
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--port", type=int, default=8090)
    parser.add_argument("--upstream", help="address of a real server, without a slash at the end")
    arguments = parser.parse_args()
    server = start(arguments.port, arguments.upstream)
    print(f"http://127.0.0.1:{server.server_address[1]}/", flush=True)
    threading.Event().wait()
