#!/usr/bin/env python3
"""Compares our program with llama.cpp, PyTorch, Pillow and tokenizers on this machine, both sides in turn.

    run.py --part decode,prefill --types q4_0,bf16 --threads 1,2 --rounds 3
    run.py --part vision --tiles 1,4
    run.py --part serve --shapes smollm2,vl2-tiny --clients 1,8,32
    run.py --write docs/performance.md

Results are kept in results.json beside this file, one for each comparison: a later one replaces an earlier one, so that
parts can be measured in separate calls. --write puts all of them into a table between the markers of a document, after
measuring what --part names, if it does. Benchmarks/peers/setup and make_gguf.py come first.
"""

import argparse
import datetime
import json
import pathlib
import platform
import subprocess
import sys
import time

import parts
import report
from measuring import Failed

FOLDER = pathlib.Path(__file__).resolve().parent
ROOT = FOLDER.parent.parent
PARTS = ("decode", "prefill", "smollm2", "vision", "hybrid", "preprocess", "tokenizer", "ask", "load", "serve")


def listed(convert, allowed=None):
    def parse(text):
        values = [convert(word) for word in text.split(",") if word]
        for value in values:
            if allowed and value not in allowed:
                raise argparse.ArgumentTypeError(f"expected {', '.join(map(str, allowed))}, found '{value}'")
        return values

    return parse


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("--part", type=listed(str, PARTS), default=[], help=f"of {', '.join(PARTS)}; several with commas")
    add("--shapes", type=listed(str), default=["vl2-tiny"], help="decode, prefill, load, serve: vl2-tiny, vl2-small, llm-7b; serve: smollm2")
    add("--types", type=listed(str), default=["q4_0"], help="decode, prefill, load: bf16, q8_0, q4_0, q4_k")
    add("--threads", type=listed(int), default=[2], help="numbers of threads, for both sides (default 2)")
    add("--depths", type=listed(int), default=[0], help="tokens in the cache beforehand, e.g. 0,1024,4096")
    add("--prompt", type=int, default=512, help="tokens of a prefill (default %(default)s)")
    add("--generate", type=int, default=64, help="tokens of a decode (default %(default)s)")
    add("--own-weights", action="store_true", help="ours runs random weights of its own (bench --config), not the file")
    add("--clients", type=listed(int), default=[1, 8, 32], help="serve: numbers of clients (default 1,8,32)")
    add("--tiles", type=listed(int), default=[1], help="vision: tiles at once")
    add("--vision-weights", default="bf16", help="vision: our type; theirs stays bfloat16 (default %(default)s)")
    add("--tokenizer", help="tokenizer: a checkpoint's tokenizer.json, or that with .gz")
    add("--rounds", type=int, default=3, help="turns of each side (default %(default)s)")
    add("--repeat", type=int, default=3, help="measurements in a turn (default %(default)s)")
    add("--quiet", type=float, default=0.05, help="share of a processor that others may use (default %(default)s)")
    add("--wait", type=float, default=20, help="seconds to wait for quiet before a turn (default %(default)s)")
    add("--seconds", type=float, default=230, help="begin no further turn that would end later (default %(default)s)")
    add("--work", type=pathlib.Path, default=ROOT / ".build-peers", help="the folder that setup made")
    add("--ours", type=pathlib.Path, default=ROOT / ".build/release/deepseek-vl", help="our program")
    add("--commit", help="what our program was built from, if it is not this checkout's HEAD")
    add("--results", type=pathlib.Path, default=FOLDER / "results.json", help="where results are kept")
    add("--write", type=pathlib.Path, help="a document whose table is rewritten")
    return parser.parse_args()


def commit():
    def git(*words):
        return subprocess.run(["git", *words], cwd=ROOT, capture_output=True, text=True, check=False).stdout.strip()

    changed = git("status", "--porcelain", "--", "Sources", "Package.swift")
    return git("rev-parse", "--short=10", "HEAD") + ("+" if changed else "")


def machine():
    name, count = platform.processor() or platform.machine(), 0
    flags = set()
    for line in pathlib.Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
        key, _, value = line.partition(":")
        if key.strip() == "model name":
            name, count = value.strip(), count + 1
        elif key.strip() == "flags":
            flags = set(value.split())
    kinds = [flag for flag in ("avx2", "avx512f", "avx512_vnni", "avx512_bf16", "amx_tile") if flag in flags]
    memory = pathlib.Path("/proc/meminfo").read_text(encoding="utf-8").split()[1]
    return f"{name}, {count} processors ({', '.join(kinds)}), {round(int(memory) / 2**20)} GiB"


def comparisons(options):
    """Yields (name, function that measures): one for each combination that the options name."""
    metrics = [part for part in ("decode", "prefill") if part in options.part]
    for shape in options.shapes if metrics else []:
        for kind in options.types:
            for threads in options.threads:
                for depth in options.depths:
                    yield (
                        f"{shape} {kind}, {threads} threads, depth {depth}",
                        lambda context, s=shape, k=kind, t=threads, d=depth: parts.language(context, s, k, t, d, metrics),
                    )
    if "smollm2" in options.part:
        for threads in options.threads:

            def smollm2(context, t=threads):
                parts.prepare_smollm2(context)
                return parts.language(context, "smollm2", "q4_1", t, 0, ["decode", "prefill"])

            yield f"SmolLM2, {threads} threads", smollm2
    for part in ("vision", "hybrid"):
        for tiles in (options.tiles if part == "vision" else [1]) if part in options.part else []:
            for threads in options.threads:
                yield (
                    f"{part}, {tiles} tiles, {threads} threads",
                    lambda context, h=part == "hybrid", n=tiles, t=threads: parts.vision(context, h, n, t),
                )
    if "preprocess" in options.part:
        for threads in options.threads:
            yield f"preprocess, {threads} threads", lambda context, t=threads: parts.preprocess(context, t)
    if "tokenizer" in options.part:
        yield "tokenizer", parts.tokenizer
    if "ask" in options.part:
        yield "ask", parts.ask
    if "load" in options.part:
        for shape in options.shapes:
            for kind in options.types:
                yield f"load {shape} {kind}", lambda context, s=shape, k=kind: parts.load(context, s, k)
    if "serve" in options.part:
        for shape in options.shapes:
            for kind in options.types:
                for threads in options.threads:
                    yield (
                        f"serve {shape} {kind}, {threads} threads",
                        lambda context, s=shape, k=kind, t=threads: parts.serve(context, s, k, t),
                    )


def main():
    options = arguments()
    deadline = time.monotonic() + options.seconds
    context = parts.Context(
        root=ROOT, work=options.work.resolve(), ours=options.ours.resolve(), rounds=options.rounds,
        repeat=options.repeat, limit=options.quiet, deadline=deadline, options=options,
    )
    stored = json.loads(options.results.read_text(encoding="utf-8")) if options.results.exists() else {"results": {}}
    failed = False
    for name, measure in comparisons(options):
        if time.monotonic() > deadline:
            print(f"{name}: left out, the time is used up", file=sys.stderr)
            failed = True
            continue
        try:
            records = measure(context)
        except (Failed, OSError) as error:
            print(f"{name}: {error}", file=sys.stderr)
            failed = True
            continue
        for record in records:
            record |= {"date": datetime.date.today().isoformat(), "commit": options.commit or commit(), "machine": machine()}
            stored["results"][record["key"]] = record
            print(report.line(record), flush=True)
        options.results.write_text(
            json.dumps(stored, indent=1, sort_keys=True, ensure_ascii=False) + "\n", encoding="utf-8"
        )
    if options.write:
        report.write(options.write, stored["results"])
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
