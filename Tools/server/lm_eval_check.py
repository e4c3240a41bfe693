#!/usr/bin/env python3
"""Evaluates a server of the bundled model with lm-evaluation-harness, and holds its figures against the program's own.

    pip install 'lm-eval[api]'
    python3 Tools/server/lm_eval_check.py [--binary .build/release/deepseek-vl]

Four small tasks from files of its own, so that no hub is needed: choices (`loglikelihood`: echoed log-probabilities of
token ids), a text (`loglikelihood_rolling`), continuations and questions about pictures (`generate_until` over both
endpoints). The tokenizer is the server's. Every value is compared with what `deepseek-vl complete`, `perplexity` and
`ask` say without a server. Starts the servers itself. Exit status 1 if anything is not as it should be.
"""

import argparse
import json
import math
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from running import ROOT, Server, check, finish

# The tokens of a beginning must begin those of the whole, for the harness puts them together.
CHOICES = [
    ("The image shows a", [" blue", " sofa and a lamp", " red circle"], 2),
    ("There are 3", [" shapes", " image", " and"], 0),
    ("The green shape is a", [" red", " circle.", " cross"], 1),
    ("How many shapes", [" are there?", " image the"], 1),
    ("图中有", ["蓝色", "3个圆环。", " shapes"], 1),
]
TEXT = "The image shows a red circle, a blue square and a green cross on a pink background. There are 3 shapes. " * 4
STARTS = ["The image shows", "There are", "图中有"]
QUESTIONS = [
    ("shapes.png", "Which shape is green?"),
    ("rings.png", "图中有几个圆环？"),
    ("ring-and-cross.png", "What shape is red?"),
]

COMMON = """
task: {name}
dataset_path: json
dataset_kwargs: {{data_files: {{test: '{file}'}}}}
test_split: test
metadata: {{version: 1}}
"""
TASKS = {
    "choices": """
output_type: multiple_choice
doc_to_text: "{{context}}"
target_delimiter: ""
doc_to_choice: "{{choices}}"
doc_to_target: gold
metric_list: [{metric: acc}, {metric: acc_norm}]
""",
    "rolling": """
output_type: loglikelihood_rolling
doc_to_text: ""
doc_to_target: "{{text}}"
metric_list: [{metric: bits_per_byte}, {metric: byte_perplexity}]
""",
    "continuations": """
output_type: generate_until
doc_to_text: "{{context}}"
doc_to_target: "{{answer}}"
generation_kwargs: {max_gen_toks: 12, until: ["\\n\\n"]}
metric_list: [{metric: exact_match}]
""",
    "questions": """
output_type: generate_until
doc_to_text: "{{question}}"
doc_to_image: !function pictures.picture
doc_to_target: "{{answer}}"
generation_kwargs: {max_gen_toks: 24, until: ["\\n\\n"]}
metric_list: [{metric: exact_match}]
""",
}
# The harness saves pictures as PNG: these are PNG already.
PICTURES = """
import pathlib

class Picture:
    def __init__(self, path):
        self.path = path

    def save(self, buffer, format):
        buffer.write(pathlib.Path(self.path).read_bytes())

def picture(document):
    return [Picture(document["picture"])]
"""


class Program:
    """The program without a server."""

    def __init__(self, binary):
        self.binary = binary

    def run(self, *arguments):
        run = subprocess.run([self.binary, *arguments, "--format", "json"], capture_output=True, text=True, cwd=ROOT)
        if run.returncode:
            sys.exit(f"FAILED  {arguments}: {run.stderr}")
        return json.loads(run.stdout)

    def complete(self, text, *arguments):
        return self.run("complete", "--temperature", "0", *arguments, text)

    def ask(self, picture, question):
        arguments = ["--temperature", "0", "--max-tokens", "24", "--image", f"Examples/{picture}"]
        return self.run("ask", *arguments, question)["results"][0]["text"]

    def score(self, context, continuation):
        """Log-probability of a continuation, and whether each of its tokens is the most probable one."""
        before = len(self.complete(context, "--max-tokens", "1")["prompt_tokens"])
        report = self.complete(context + continuation, "--logprobs", "1", "--echo", "--max-tokens", "1")
        place = slice(before, len(report["prompt_tokens"]))
        values = report["logprobs"]["token_logprobs"][place]
        best = [max(top.values()) for top in report["logprobs"]["top_logprobs"][place]]
        return sum(values), values == best


def write_tasks(folder, program):
    documents = {
        "choices": [{"context": c, "choices": list(o), "gold": g} for c, o, g in CHOICES],
        "rolling": [{"text": TEXT}],
        "continuations": [{"context": s, "answer": program.complete(s, "--max-tokens", "12")["text"]} for s in STARTS],
        "questions": [
            {"picture": str(ROOT / "Examples" / p), "question": q, "answer": program.ask(p, q)} for p, q in QUESTIONS
        ],
    }
    for name, task in TASKS.items():
        file = folder / f"{name}.jsonl"
        file.write_text("".join(json.dumps(d, ensure_ascii=False) + "\n" for d in documents[name]))
        (folder / f"{name}.yaml").write_text(COMMON.format(name=name, file=file).lstrip() + task.lstrip())
    (folder / "pictures.py").write_text(PICTURES)


def evaluate(folder, url, kind, tasks, *arguments, **more):
    """Results and samples of one run of the harness."""
    path = "/v1/chat/completions" if kind == "local-chat-completions" else "/v1/completions"
    model = {"model": "m", "base_url": url + path, "max_length": 2048, "num_concurrent": 4, **more}
    output = folder / f"{kind}-{'-'.join(tasks)}"
    command = [sys.executable, "-m", "lm_eval", "run", "--model", kind, "--tasks", ",".join(tasks)]
    command += ["--model_args", ",".join(f"{k}={v}" for k, v in model.items())]
    command += ["--include_path", str(folder), "--output_path", str(output), "--log_samples", *arguments]
    quiet = {"HF_HUB_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1", "HF_HOME": str(folder / "hub"), "TQDM_DISABLE": "1"}
    run = subprocess.run(command, capture_output=True, text=True, timeout=300, env={**os.environ, **quiet})
    if run.returncode:
        sys.exit(f"FAILED  lm_eval over {kind}: {run.stdout[-1000:]}\n{run.stderr[-3000:]}")
    results = json.loads(next(output.rglob("results_*.json")).read_text())["results"]
    samples = {}
    for task in tasks:
        file = next(output.rglob(f"samples_{task}_*.jsonl"))
        samples[task] = sorted(map(json.loads, file.read_text().splitlines()), key=lambda s: s["doc_id"])
    return results, samples


def close(left, right):
    return math.isclose(left, right, rel_tol=1e-5, abs_tol=1e-5)


def scoring(folder, binary, program):
    with Server(binary, "--add-begin-token") as server:
        results, samples = evaluate(
            folder, server.url, "local-completions", ["choices", "continuations"], tokenized_requests=True
        )
    right = normalised = 0
    for sample, (context, options, gold) in zip(samples["choices"], CHOICES, strict=True):
        found = [(float(value), str(greedy) == "True") for value, greedy in sample["filtered_resps"]]
        own = [program.score(context, option) for option in options]
        check(
            f"'{context}' and {len(options)} ends: log-probabilities as the program's",
            all(close(f[0], o[0]) and f[1] == o[1] for f, o in zip(found, own, strict=True)),
            (found, own),
        )
        best = max(range(len(own)), key=lambda i: own[i][0])
        right += best == gold
        normalised += max(range(len(own)), key=lambda i: own[i][0] / len(options[i])) == gold
    values = results["choices"]["acc,none"], results["choices"]["acc_norm,none"]
    check(
        f"accuracy {values[0]:.2f}, by length {values[1]:.2f}",
        close(values[0], right / len(CHOICES)) and close(values[1], normalised / len(CHOICES)),
        (right, normalised),
    )
    value = results["continuations"]["exact_match,none"]
    check(f"continuations are the program's: exact match {value:.2f}", value == 1, samples["continuations"])


def rolling(folder, binary, program):
    # The harness puts the begin token, 0 in this model, before the text itself.
    with Server(binary) as server:
        results, samples = evaluate(
            folder, server.url, "local-completions", ["rolling"], tokenized_requests=True, custom_prefix_token_id=0
        )
    (folder / "text.txt").write_text(TEXT)
    own = program.run("perplexity", "--file", str(folder / "text.txt"))
    bits = own["nll"] * own["tokens"] / len(TEXT.encode()) / math.log(2)
    value = results["rolling"]["bits_per_byte,none"]
    check(f"a text of {own['tokens']} tokens has {value:.4f} bits a byte", close(value, bits), bits)


def chats(folder, binary):
    with Server(binary) as server:
        results, samples = evaluate(
            folder, server.url, "local-chat-completions", ["questions"], "--apply_chat_template"
        )
    value = results["questions"]["exact_match,none"]
    check(f"answers about pictures are the program's: exact match {value:.2f}", value == 1, samples["questions"])


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--binary", default=str(ROOT / ".build/release/deepseek-vl"), help="the program (%(default)s)")
    arguments = parser.parse_args()
    binary = str(Path(arguments.binary).resolve())
    program = Program(binary)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_tasks(folder, program)
        scoring(folder, binary, program)
        rolling(folder, binary, program)
        chats(folder, binary)
    finish()


if __name__ == "__main__":
    main()
