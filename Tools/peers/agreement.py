#!/usr/bin/env python3
"""Compares answers and perplexity of a GGUF file with llama.cpp's on the same file.

    pip install xllamacpp jinja2 numpy
    python3 Tools/peers/agreement.py MODEL.gguf --binary .build/release/deepseek-vl [--compute float32]

Twenty prompts, twelve to be continued and eight in a conversation, are answered greedily by both; and the
perplexity of a text is measured by both over the same windows. llama.cpp rounds activations to eight bits
where weights are quantized, so that after a near tie the two may go different ways: a prompt counts as
equal if all its tokens are, and the share of tokens before the first difference is given besides.

--cache FILE keeps llama.cpp's results, which take longer than ours, from run to run. Exit status 1 if the
prompts' ids differ anywhere, or the perplexities by more than --limit (0.005).
"""

import argparse
import hashlib
import json
import math
import subprocess
import sys
import tempfile
from pathlib import Path

COMPLETIONS = [
    "The capital of France is",
    "Water boils at a temperature of",
    "Once upon a time, in a small village by the sea,",
    "def fibonacci(n):\n    ",
    "The three primary colours are red,",
    "In 1969, astronauts landed on",
    "To make a cup of tea, first",
    "1, 2, 3, 4, 5, 6,",
    "Die Hauptstadt von Deutschland ist",
    "SELECT name, price FROM",
    "Photosynthesis is the process by which",
    "Dear Sir or Madam,\n\nI am writing to",
]
QUESTIONS = [
    "What is the capital of Italy?",
    "Write one sentence about the moon.",
    "How many days are in a week?",
    "Name three animals that live in the sea.",
    "Explain what a computer does, in simple words.",
    "What is 12 + 30?",
    "Give me a short recipe for pancakes.",
    "Translate 'good morning' into French.",
]


def ours(binary, *arguments):
    found = subprocess.run([binary, *arguments, "--format", "json"], capture_output=True)
    if found.returncode != 0:
        sys.exit(f"{' '.join(arguments[:1])}: {found.stderr.decode().strip()}")
    return json.loads(found.stdout)


def default_text():
    """Some 2,000 tokens of our own documents."""
    root = Path(__file__).resolve().parents[2]
    files = [root / "CONTRIBUTING.md", *sorted((root / "docs").glob("adding-*.md"))]
    text = "\n\n".join(file.read_text() for file in files)[:8600]
    return text[: text.rfind("\n") + 1]


def windows(ids, size):
    return [ids[start : start + size] for start in range(0, len(ids), size)]


def peer(path, text, tokens, window, exact):
    """llama.cpp's side of everything."""
    import jinja2
    from llamacpp import Llama

    llama = Llama(path, exact=exact)
    result = {"completions": [], "questions": []}
    for prompt in COMPLETIONS:
        ids = llama.tokenize(prompt)
        answer, margins = llama.greedy(ids, tokens)
        result["completions"].append({"ids": ids, "tokens": answer, "margins": margins})
        print(f"llama.cpp: {prompt!r} -> {llama.text(answer)!r}", file=sys.stderr)
    environment = jinja2.Environment(trim_blocks=True, lstrip_blocks=True)
    template = environment.from_string(llama.template) if llama.template else None
    for question in QUESTIONS if template else []:
        whole = template.render(
            messages=[{"role": "user", "content": question}], add_generation_prompt=True, bos_token=""
        )
        ids = llama.tokenize(whole, begin=False)
        answer, margins = llama.greedy(ids, tokens)
        result["questions"].append({"ids": ids, "tokens": answer, "margins": margins})
        print(f"llama.cpp: {question!r} -> {llama.text(answer)!r}", file=sys.stderr)
    losses = []
    # Every window begins as every text does: with the begin token if the file wants one.
    begin = llama.tokenize("")
    for part in windows(llama.tokenize(text, special=False, begin=False), window - len(begin)):
        losses += llama.losses(begin + part)
    result["scored"] = len(losses)
    result["perplexity"] = math.exp(sum(losses) / len(losses))
    return result


def same(left, right):
    count = 0
    for a, b in zip(left, right):
        if a != b:
            break
        count += 1
    return count


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("model", type=Path)
    parser.add_argument("--binary", default=".build/release/deepseek-vl", help="the program (%(default)s)")
    parser.add_argument("--tokens", type=int, default=48, help="tokens of an answer (%(default)s)")
    parser.add_argument("--text", type=Path, help="text for the perplexity (some of our documents)")
    parser.add_argument("--window", type=int, default=512, help="tokens of a window (%(default)s)")
    parser.add_argument("--compute", default="float32", help="how we compute (%(default)s)")
    parser.add_argument(
        "--exact", action="store_true", help="llama.cpp keeps keys and values in float32, not in float16"
    )
    parser.add_argument("--limit", type=float, default=0.005, help="relative difference (%(default)s)")
    parser.add_argument("--cache", type=Path, help="llama.cpp's results, written if not there")
    options = parser.parse_args()
    text = options.text.read_text() if options.text else default_text()
    key = hashlib.sha256(
        repr((options.model.stat().st_size, options.tokens, options.window, options.exact, text)).encode()
    ).hexdigest()
    theirs = None
    if options.cache and options.cache.exists():
        cached = json.loads(options.cache.read_text())
        theirs = cached["result"] if cached["key"] == key else None
    if theirs is None:
        theirs = peer(options.model, text, options.tokens, options.window, options.exact)
        if options.cache:
            options.cache.write_text(json.dumps({"key": key, "result": theirs}))

    common = ["--model", str(options.model), "--compute", options.compute]
    limit = ["--max-tokens", str(options.tokens), "--temperature", "0"]
    rows, wrong_prompts = [], 0
    prompts = [("complete", p, r) for p, r in zip(COMPLETIONS, theirs["completions"])]
    prompts += [("ask", p, r) for p, r in zip(QUESTIONS, theirs["questions"])]
    for command, prompt, expected in prompts:
        found = ours(options.binary, command, *common, *limit, prompt)
        found = found["results"][0] if "results" in found else found
        if found["prompt_tokens"] != expected["ids"]:
            wrong_prompts += 1
            print(f"prompt {prompt!r}: ids differ:\n  {found['prompt_tokens']}\n  {expected['ids']}")
        equal = same(found["tokens"], expected["tokens"])
        total = max(len(found["tokens"]), len(expected["tokens"]))
        margin = expected["margins"][equal] if equal < len(expected["margins"]) else None
        rows.append((command, prompt, equal, total, margin))
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "text.txt"
        file.write_text(text)
        found = ours(
            options.binary, "perplexity", *common, "--file", str(file), "--context", str(options.window)
        )
    for command, prompt, equal, total, margin in rows:
        note = "equal" if equal == total else f"differs after {equal} of {total}"
        if margin is not None:
            note += f", where llama.cpp's best was ahead by {margin:.3f}"
        print(f"{command:9} {prompt[:44]!r:48} {note}")
    whole = sum(equal == total for _, _, equal, total, _ in rows)
    tokens = sum(equal for _, _, equal, _, _ in rows), sum(total for _, _, _, total, _ in rows)
    first = sum(equal > 0 or total == 0 for _, _, equal, total, _ in rows)
    print(f"prompts with equal ids: {len(rows) - wrong_prompts} of {len(rows)}")
    print(
        f"answers equal to the end: {whole} of {len(rows)}; first tokens: {first} of {len(rows)}; "
        f"tokens before the first difference: {tokens[0]} of {tokens[1]} ({tokens[0] / tokens[1]:.1%})"
    )
    difference = abs(found["perplexity"] / theirs["perplexity"] - 1)
    print(
        f"perplexity: ours {found['perplexity']:.5f} over {found['tokens']} tokens, llama.cpp's "
        f"{theirs['perplexity']:.5f} over {theirs['scored']}: {difference:.3%} apart"
    )
    is_good = wrong_prompts == 0 and difference <= options.limit and found["tokens"] == theirs["scored"]
    sys.exit(0 if is_good else 1)


if __name__ == "__main__":
    main()
