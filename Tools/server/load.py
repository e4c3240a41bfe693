#!/usr/bin/env python3
"""Loads a server with many clients at once and checks that nothing breaks, leaks or grows. Needs Python alone.

    python3 Tools/server/load.py --binary .build/release/deepseek-vl --clients 64 --seconds 300
    python3 Tools/server/load.py --url http://127.0.0.1:8080 --model NAME --clients 8 --seconds 60 --mix text

With --binary it starts the server of the bundled model itself, samples its memory and its open files, and reads its
/metrics in the end. With --url it only asks a server that runs already, ours or another one with OpenAI's interface.

The mix `all` has streamed and whole answers, texts and pictures (known ones and new ones), a needle (one request with
a seed whose answer must always be the same, whatever shares its steps), and clients that go at a random moment.
Exit status 1 if anything is not as it should be.
"""

import argparse
import asyncio
import base64
import json
import os
import random
import re
import ssl
import statistics
import struct
import subprocess
import sys
import tempfile
import time
import zlib
from pathlib import Path
from urllib.parse import urlsplit

ROOT = Path(__file__).resolve().parents[2]
WORDS = "count the red rings and crosses that you see then say where each one is and why it is there".split()


def png(random_, side):
    """A new picture: rectangles of random colours."""
    rows = [bytearray(b"\xff" * 3 * side) for _ in range(side)]
    for _ in range(4):
        left, right = sorted(random_.randrange(side) for _ in range(2))
        top, bottom = sorted(random_.randrange(side) for _ in range(2))
        colour = bytes(random_.randrange(256) for _ in range(3))
        for row in rows[top:bottom]:
            row[3 * left : 3 * right] = colour * (right - left)

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    data = zlib.compress(b"".join(b"\0" + bytes(row) for row in rows), 1)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", data) + chunk(b"IEND", b"")


def image_part(data):
    return {"type": "image_url", "image_url": {"url": "data:image/png;base64," + base64.b64encode(data).decode()}}


class Failure(Exception):
    pass


class Refused(Exception):
    """The server has no room: 503 or 429 with Retry-After."""


class Target:
    def __init__(self, url, model, key):
        parts = urlsplit(url)
        self.host, self.port = parts.hostname, parts.port or (443 if parts.scheme == "https" else 80)
        self.tls = ssl._create_unverified_context() if parts.scheme == "https" else None
        self.model, self.key = model, key

    async def open(self, method, path, body=None):
        """Sends a request; gives status, headers, reader and writer, which the caller closes."""
        reader, writer = await asyncio.wait_for(
            asyncio.open_connection(self.host, self.port, ssl=self.tls, limit=1 << 22), 60
        )
        data = json.dumps(body).encode() if body is not None else b""
        lines = [f"{method} {path} HTTP/1.1", f"Host: {self.host}:{self.port}", "Connection: close"]
        if self.key:
            lines.append("Authorization: Bearer " + self.key)
        if body is not None:
            lines += ["Content-Type: application/json", f"Content-Length: {len(data)}"]
        try:
            writer.write("\r\n".join(lines).encode() + b"\r\n\r\n" + data)
            await writer.drain()
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        except BaseException:
            writer.close()
            raise
        status = int(head[0].split()[1])
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in head[1:])}
        return status, headers, reader, writer

    async def whole(self, method, path, body=None):
        status, headers, reader, writer = await self.open(method, path, body)
        try:
            parts = [part async for part in chunks(reader, headers)]
            return status, headers, b"".join(parts)
        finally:
            writer.close()


async def chunks(reader, headers):
    """The parts of a body."""
    if headers.get("transfer-encoding") == "chunked":
        while True:
            size = int((await reader.readline()).split(b";")[0], 16)
            data = await reader.readexactly(size + 2)
            if size == 0:
                return
            yield data[:-2]
    elif "content-length" in headers:
        yield await reader.readexactly(int(headers["content-length"]))
    else:
        yield await reader.read()


class Load:
    def __init__(self, target, arguments):
        self.target, self.arguments = target, arguments
        self.first, self.between, self.total = [], [], []
        self.counts, self.failures = {}, []
        self.first_by_kind = {}
        self.tokens = 0
        self.refused = 0
        self.needle = None
        # Tokens that end an answer.
        self.ends = []
        self.known = [(ROOT / "Examples" / name).read_bytes() for name in ("rings.png", "shapes.png")]

    def body(self, kind, random_):
        text = " ".join(random_.choices(WORDS, k=random_.randrange(3, 40)))
        content = text
        if kind.startswith("picture"):
            data = png(random_, random_.choice([48, 200])) if "new" in kind else random_.choice(self.known)
            content = [image_part(data), {"type": "text", "text": text}]
            if random_.random() < 0.2:
                content.insert(0, image_part(random_.choice(self.known)))
        if kind == "needle":
            content = "Which shapes are there?"
        endless = {"logit_bias": {str(i): -100 for i in self.ends}} if kind == "long" else {}
        return {
            **endless,
            "model": self.target.model,
            "messages": [{"role": "user", "content": content}],
            "max_tokens": {"needle": 24, "long": 300}.get(kind) or random_.randrange(4, self.arguments.max_tokens + 1),
            "temperature": 0.8,
            "seed": 7 if kind == "needle" else random_.randrange(1 << 31),
            "stream": kind != "whole",
        }

    async def ask(self, kind, random_, leaves=False):
        body = self.body(kind, random_)
        start = time.monotonic()
        status, headers, reader, writer = await self.target.open("POST", "/v1/chat/completions", body)
        try:
            if status != 200:
                text = b"".join([part async for part in chunks(reader, headers)])
                if status in (429, 503) and "retry-after" in headers:
                    raise Refused(int(headers["retry-after"]))
                raise Failure(f"{kind}: status {status}: {text[:300].decode(errors='replace')}")
            if not body["stream"]:
                answer = json.loads(b"".join([part async for part in chunks(reader, headers)]))
                self.tokens += answer["usage"]["completion_tokens"]
                if not answer["choices"][0]["finish_reason"]:
                    raise Failure(f"{kind}: an answer without a reason for its end")
            else:
                text = await self.stream(kind, reader, headers, start, random_.randrange(1, 12) if leaves else None)
                if kind == "needle":
                    if self.needle is None:
                        self.needle = text
                    if text != self.needle:
                        raise Failure(f"needle: expected {self.needle!r}, found {text!r}")
            self.total.append(time.monotonic() - start)
        finally:
            writer.close()

    async def stream(self, kind, reader, headers, start, leaves_after):
        rest, text, last, reason, count = b"", "", None, None, 0
        async for part in chunks(reader, headers):
            rest += part
            *events, rest = rest.split(b"\n\n")
            for event in events:
                if not event.startswith(b"data: "):
                    continue
                if event == b"data: [DONE]":
                    if not reason:
                        raise Failure(f"{kind}: a stream without a reason for its end")
                    return text
                chunk = json.loads(event[6:])
                if "error" in chunk:
                    raise Failure(f"{kind}: in the stream: {chunk['error']}")
                for choice in chunk.get("choices", []):
                    reason = choice.get("finish_reason") or reason
                    piece = choice["delta"].get("content")
                    if not piece:
                        continue
                    now = time.monotonic()
                    (self.first if last is None else self.between).append(now - (start if last is None else last))
                    if last is None:
                        self.first_by_kind.setdefault(kind, []).append(now - start)
                    last = now
                    text += piece
                    count += 1
                    self.tokens += 1
                    if leaves_after is not None and count >= leaves_after:
                        return text
        raise Failure(f"{kind}: a stream that ends without [DONE]")

    async def client(self, number, end):
        random_ = random.Random(self.arguments.seed * 1000 + number)
        while time.monotonic() < end:
            if self.arguments.mix == "text":
                kind, fate = "stream", 1
            else:
                kind = random_.choices(
                    ["stream", "whole", "picture", "picture-new", "needle", "long"], [35, 15, 15, 10, 20, 5]
                )[0]
                fate = random_.random()
            self.counts[kind] = self.counts.get(kind, 0) + 1
            try:
                if fate < 0.12:
                    # Goes at any moment: in the queue, in the prompt, in the answer.
                    self.counts["gone"] = self.counts.get("gone", 0) + 1
                    try:
                        await asyncio.wait_for(self.ask(kind, random_), random_.uniform(0.01, 2))
                    except (asyncio.TimeoutError, TimeoutError):
                        pass
                elif fate < 0.24 and kind not in ("whole", "needle"):
                    self.counts["left"] = self.counts.get("left", 0) + 1
                    await self.ask(kind, random_, leaves=True)
                else:
                    await asyncio.wait_for(self.ask(kind, random_), self.arguments.patience)
            except Refused as refusal:
                self.refused += 1
                await asyncio.sleep(min(refusal.args[0], 5) * random_.uniform(0.5, 1.5))
            except Failure as failure:
                self.failures.append(str(failure))
            except (asyncio.TimeoutError, TimeoutError):
                self.failures.append(f"{kind}: no answer within {self.arguments.patience} s")
            except (OSError, asyncio.IncompleteReadError, ValueError, KeyError) as error:
                self.failures.append(f"{kind}: {type(error).__name__}: {error}")


class Process:
    """What the system says of the server."""

    def __init__(self, pid):
        self.pid = pid
        self.samples = []

    def memory(self):
        for line in Path(f"/proc/{self.pid}/status").read_text().splitlines():
            if line.startswith("VmRSS:"):
                return int(line.split()[1]) / 1024
        return 0.0

    def files(self):
        return len(os.listdir(f"/proc/{self.pid}/fd"))

    async def watch(self):
        start = time.monotonic()
        while True:
            try:
                self.samples.append((time.monotonic() - start, self.memory()))
            except OSError:
                return
            await asyncio.sleep(0.5)

    def growth(self):
        """MiB a minute over the last two thirds, and the spread of memory there."""
        if not self.samples:
            return 0.0, 0.0
        end = self.samples[-1][0]
        late = [(t, m) for t, m in self.samples if t > end / 3]
        if len(late) < 4:
            return 0.0, 0.0
        middle = statistics.mean(t for t, _ in late)
        level = statistics.mean(m for _, m in late)
        above = sum((t - middle) * (m - level) for t, m in late)
        return 60 * above / sum((t - middle) ** 2 for t, _ in late), max(m for _, m in late) - min(m for _, m in late)


def metric(page, name):
    found = re.search(rf"^deepseek_vl_{name}{{[^}}]*}} (\S+)$", page, re.MULTILINE)
    return float(found.group(1)) if found else None


def quantile(values, share):
    values = sorted(values)
    return values[min(len(values) - 1, int(len(values) * share))] if values else float("nan")


def checked(what, holds, found=""):
    print(("ok      " if holds else "FAILED  ") + what + (f" ({found})" if found else ""), flush=True)
    return holds


async def settled(target):
    """Waits until nothing runs, and gives the metrics."""
    page = ""
    for _ in range(100):
        _, _, data = await target.whole("GET", "/metrics")
        page = data.decode()
        if metric(page, "running") == 0 and metric(page, "queue_length") == 0:
            break
        await asyncio.sleep(0.1)
    return page


async def run(arguments, process, target):
    load = Load(target, arguments)
    files = None
    if process:
        # The needle alone, before anything shares its steps.
        if arguments.mix == "all":
            info = json.loads((await target.whole("GET", "/tokenizer_info"))[2])
            end = {"prompt": info["eos_token"], "add_special_tokens": False}
            load.ends = json.loads((await target.whole("POST", "/tokenize", end))[2])["tokens"]
            await load.ask("needle", random.Random(0))
        files = process.files()
        watcher = asyncio.create_task(process.watch())
    start = time.monotonic()
    await asyncio.gather(*(load.client(i, start + arguments.seconds) for i in range(arguments.clients)))
    seconds = time.monotonic() - start
    done = len(load.total)
    report = {
        "clients": arguments.clients,
        "seconds": round(seconds, 1),
        "requests": done,
        "requests_per_second": round(done / seconds, 3),
        "tokens_per_second": round(load.tokens / seconds, 1),
        "ttft_median_ms": round(1000 * quantile(load.first, 0.5), 1),
        "ttft_p95_ms": round(1000 * quantile(load.first, 0.95), 1),
        "inter_token_median_ms": round(1000 * quantile(load.between, 0.5), 2),
        "inter_token_p95_ms": round(1000 * quantile(load.between, 0.95), 2),
        "inter_token_max_ms": round(1000 * max(load.between, default=float("nan")), 1),
        "ttft_median_p95_ms_by_kind": {
            kind: [round(1000 * quantile(values, share), 1) for share in (0.5, 0.95)]
            for kind, values in sorted(load.first_by_kind.items())
        },
        "refused": load.refused,
        "kinds": load.counts,
    }
    results = [
        checked("every request was answered", not load.failures and done > 0, f"{done} whole, {len(load.failures)} not")
    ]
    for text in load.failures[:10]:
        print("        " + text)
    if not arguments.overload:
        results.append(checked("nothing was refused", load.refused == 0, f"{load.refused} refused"))
    if process:
        page = await settled(target)
        names = ["running", "queue_length", "cache_blocks_reserved", "cache_blocks_used", "cache_blocks_prefix"]
        values = {name: metric(page, name) for name in names}
        results.append(checked("nothing runs and nothing waits", values["running"] == 0 == values["queue_length"]))
        results.append(
            checked(
                "no cache block is lost: none is reserved, and those in use are kept for prefixes",
                values["cache_blocks_reserved"] == 0
                and values["cache_blocks_used"] == values["cache_blocks_prefix"],
                ", ".join(f"{name} {value:.0f}" for name, value in values.items()),
            )
        )
        await asyncio.sleep(2)
        watcher.cancel()
        slope, spread = process.growth()
        report["rss_mib"] = round(process.memory(), 1)
        report["rss_mib_per_minute"] = round(slope, 2)
        report["rss_spread_mib"] = round(spread, 1)
        # Less than a minute says nothing of a slope.
        limit = arguments.growth if seconds >= 60 else max(arguments.growth, 32)
        results.append(checked("memory is flat", slope < limit, f"{slope:+.2f} MiB a minute, spread {spread:.1f} MiB"))
        now = process.files()
        results.append(checked("no file stays open", now <= files + 4, f"{files} before, {now} after"))
        report["steps"] = metric(page, "steps_total")
        report["preempted"] = metric(page, "preempted_total")
    print(json.dumps(report, indent=1))
    return all(results)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--binary", default=str(ROOT / ".build/release/deepseek-vl"))
    parser.add_argument("--url", help="a server that runs already; nothing is started and no memory is watched")
    parser.add_argument("--model", default="m", help="what the server calls its model")
    parser.add_argument("--key", help="API key")
    parser.add_argument("--clients", type=int, default=64)
    parser.add_argument("--seconds", type=float, default=20)
    parser.add_argument("--mix", choices=["all", "text"], default="all")
    parser.add_argument("--max-tokens", type=int, default=48)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--patience", type=float, default=120, help="seconds that an answer may take")
    parser.add_argument("--growth", type=float, default=1, help="MiB a minute that memory may grow")
    parser.add_argument("--overload", action="store_true", help="a short queue: being refused with 503 is right")
    parser.add_argument("--cache-memory", type=int, default=48, help="MiB of the server's keys and values")
    parser.add_argument("server", nargs="*", help="further arguments of the server, behind --")
    arguments = parser.parse_args()
    if arguments.url:
        sys.exit(0 if asyncio.run(run(arguments, None, Target(arguments.url, arguments.model, arguments.key))) else 1)
    command = [arguments.binary, "serve", "--port", "0", "--served-model-name", arguments.model]
    command += ["--cache-memory", str(arguments.cache_memory), "--image-cache-memory", "8", "--log-level", "error"]
    if arguments.overload:
        command += ["--max-waiting", "8", "--max-running", "8"]
    with tempfile.TemporaryFile("w+") as log:
        server = subprocess.Popen(command + arguments.server, stdout=subprocess.PIPE, stderr=log, text=True)
        try:
            line = server.stdout.readline()
            if not line.startswith("listening at "):
                log.seek(0)
                sys.exit("the server did not start: " + log.read())
            target = Target(line.split()[-1], arguments.model, arguments.key)
            holds = asyncio.run(run(arguments, Process(server.pid), target))
            server.terminate()
            holds &= checked("the server ends when it is told to", server.wait(60) == 0, f"status {server.returncode}")
        finally:
            server.kill()
            server.wait()
            log.seek(0)
            if text := log.read():
                print("standard error of the server:\n" + text[-2000:])
    sys.exit(0 if holds else 1)


if __name__ == "__main__":
    main()
