"""Servers under load: ours against llama-server, the same GGUF file, the same requests, the same threads.

Both stand ready at the same time and are asked in turn. A turn is a fixed list of requests that so many clients take one
after the other: prompts of token numbers that share no beginning, answers of a given length (the end token is
forbidden), greedy, streamed. Each turn has prompts of its own, so that neither side finds them in its cache.
"""

import asyncio
import json
import pathlib
import random
import socket
import statistics
import subprocess
import sys
import time
from dataclasses import dataclass

from measuring import WATCH, Failed, Side

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2] / "Tools/server"))
from load import Target, chunks  # noqa: E402

# Token counts of prompts and answers: least and greatest.
PROMPT, ANSWER = (128, 384), (32, 96)
RATE_GOAL, FIRST_GOAL = {"ratio": 1.3}, {"ratio": 1.43}


@dataclass
class Load:
    """What a turn took."""

    seconds: float
    first: list
    tokens: int


class Server:
    """A process that answers OpenAI's completions."""

    def __init__(self, command, port, log):
        self.log = log.open("w", encoding="utf-8")
        self.process = subprocess.Popen(
            [str(word) for word in command], stdin=subprocess.DEVNULL, stdout=self.log, stderr=self.log
        )
        WATCH.began(self.process.pid)
        self.target = Target(f"http://127.0.0.1:{port}", "m", None)
        asyncio.run(self.ready(log))

    async def ready(self, log):
        for _ in range(600):
            try:
                if (await self.target.whole("GET", "/health"))[0] == 200:
                    return
            except (OSError, asyncio.IncompleteReadError):
                pass
            if self.process.poll() is not None:
                break
            await asyncio.sleep(0.2)
        raise Failed(f"a server did not get ready: {log.read_text(encoding='utf-8')[-300:]}")

    def close(self):
        self.process.terminate()
        try:
            self.process.wait(30)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        WATCH.ended(self.process.pid, 0)
        self.log.close()


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def requests(count, vocabulary, ends, seed):
    """The bodies of a turn."""
    choose = random.Random(seed)
    for _ in range(count):
        yield {
            "model": "m",
            "prompt": [choose.randrange(300, vocabulary - 300) for _ in range(choose.randint(*PROMPT))],
            "max_tokens": choose.randint(*ANSWER),
            "temperature": 0,
            "logit_bias": {str(end): -100 for end in ends},
            "stream": True,
            "stream_options": {"include_usage": True},
        }


async def answer(target, body, load):
    start = time.monotonic()
    status, headers, reader, writer = await target.open("POST", "/v1/completions", body)
    try:
        rest, first, used = b"", None, None
        async for part in chunks(reader, headers):
            if status != 200:
                raise Failed(f"a server answered {status}: {part[:200].decode(errors='replace')}")
            first = first or time.monotonic()
            *lines, rest = (rest + part).split(b"\n")
            for line in lines:
                # Reading all of them as JSON would take processor time from both sides.
                if b'"completion_tokens"' in line:
                    used = json.loads(line.removeprefix(b"data: "))["usage"]
        if not used or used["completion_tokens"] != body["max_tokens"] or used["prompt_tokens"] != len(body["prompt"]):
            raise Failed(
                f"expected {len(body['prompt'])} tokens of prompt and {body['max_tokens']} of answer, found {used}"
            )
        load.first.append(first - start)
        load.tokens += used["completion_tokens"]
    finally:
        writer.close()


async def turn(target, bodies, clients):
    """Lets so many clients ask; each takes the next request when it has its answer."""
    load = Load(0, [], 0)
    waiting = iter(bodies)

    async def client():
        for body in waiting:
            await answer(target, body, load)

    start = time.monotonic()
    await asyncio.gather(*(client() for _ in range(clients)))
    load.seconds = time.monotonic() - start
    return load


def serving(context, file, title, key, vocabulary, ends, clients, threads):
    """Requests a second and the time to the first token, for each number of clients."""
    most = max(clients)
    logs = context.work / "logs"
    logs.mkdir(exist_ok=True)
    ports = [free_port(), free_port()]
    servers = []
    try:
        servers.append(
            Server(
                [context.ours, "serve", "--model", file, "--port", ports[0], "--threads", threads, "--log-level", "error",
                 "--served-model-name", "m"],
                ports[0], logs / "serving-ours.txt",
            )
        )
        # As many slots as clients, each with room for the longest request.
        servers.append(
            Server(
                [context.work / "llama.cpp/build/bin/llama-server", "--model", file, "--port", ports[1], "--threads",
                 threads, "--threads-batch", threads, "--parallel", most, "--ctx-size", most * 512, "--no-webui"],
                ports[1], logs / "serving-theirs.txt",
            )
        )
        records = []
        for count in clients:
            sides = Side(), Side()
            seeds = [0, 0]

            def measure(place, count=count, sides=sides, seeds=seeds):
                seeds[place] += 1
                # Enough that the clients' start and end together are a small part.
                bodies = list(requests(max(6, 3 * count), vocabulary, ends, 1000 * count + seeds[place]))
                start = time.monotonic()
                load = asyncio.run(turn(servers[place].target, bodies, count))
                others = WATCH.others(start, start + load.seconds)
                sides[place].add("rate", len(bodies) / load.seconds, others)
                sides[place].add("first", statistics.median(load.first), others)

            for place in (0, 1):
                bodies = list(requests(count, vocabulary, ends, 500_000 + count))
                asyncio.run(turn(servers[place].target, bodies, count))
            rounds = context.run(lambda: measure(0), lambda: measure(1))
            name = f"{title}, {count} client{'s' if count > 1 else ''}"
            for metric, unit, goal in (("rate", "requests/s", RATE_GOAL), ("first", "s", FIRST_GOAL)):
                records.append(
                    context.record(
                        f"serving-{metric}/{key}/c{count}/t{threads}", name, "llama-server", unit,
                        sides[0].samples[metric], sides[1].samples[metric], higher=metric == "rate", threads=threads,
                        rounds=rounds, clients=count, goal=goal if count > 1 else None,
                    )
                )
        return records
    finally:
        for server in servers:
            server.close()
