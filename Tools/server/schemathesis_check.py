#!/usr/bin/env python3
"""Lets schemathesis hold a server of the bundled model against its own description, with right and wrong requests.

    pip install schemathesis
    python3 Tools/server/schemathesis_check.py [--binary .build/release/deepseek-vl] [--examples 40] [--seed 1]

Sends every example of /openapi.json, every edge of every field, and generated requests, all without a right key, too.
No answer may be a server error, lack a description or differ from it; no request that the description forbids may be
served. Valid requests may be refused, for the description cannot say how long a context is. Answers are short, which
keeps the whole below a minute or two. Starts the server itself. Exit status 1 if anything is not as it should be.
"""

import argparse
import collections
import re
import subprocess
import sys
import tempfile
from pathlib import Path

from running import ROOT, Server, check, finish

KEY = "key-of-the-check"
CONFIGURATION = """
hooks = "bounded"
request-timeout = 60

[checks.positive_data_acceptance]
enabled = false
"""
# A name that is generated is no model's, and a number that is generated is mostly a long answer.
HOOKS = """
import schemathesis

@schemathesis.hook
def before_call(context, case, kwargs):
    body = case.body
    if not isinstance(body, dict):
        return
    if isinstance(body.get("model"), str):
        body["model"] = "m"
    for name in ["max_tokens", "max_completion_tokens", "max_output_tokens"]:
        if type(body.get(name)) is int and 4 < body[name] <= 2**53:
            body[name] = 4
"""


def statuses(server):
    """How often each status was answered, by the server's own count."""
    page = server.ask("GET", "/metrics", headers={"x-api-key": KEY})[2].decode()
    counts = collections.Counter()
    for status, count in re.findall(r'requests_total\{.*status="(\d+)"\} (\d+)', page):
        counts[status] += int(count)
    running = re.search(r"^deepseek_vl_running\{.*\} (\d+)", page, re.MULTILINE)
    return counts, int(running.group(1))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--binary", default=str(ROOT / ".build/release/deepseek-vl"), help="the program (%(default)s)")
    parser.add_argument("--examples", type=int, default=40, help="generated requests of an operation (%(default)s)")
    parser.add_argument("--seed", type=int, default=1, help="another one makes other requests (%(default)s)")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "schemathesis.toml").write_text(CONFIGURATION)
        (folder / "bounded.py").write_text(HOOKS)
        (folder / "keys.txt").write_text(KEY + "\n")
        options = ["--api-keys", str(folder / "keys.txt"), "--default-max-tokens", "4", "--cache-memory", "64"]
        with Server(arguments.binary, *options, "--log-level", "error") as server:
            command = [str(Path(sys.executable).parent / "schemathesis"), "run", server.url + "/openapi.json"]
            command += ["--phases", "examples,coverage,fuzzing", "--continue-on-failure", "--output-sanitize", "false"]
            command += ["--max-examples", str(arguments.examples), "--seed", str(arguments.seed)]
            command += ["--header", f"Authorization: Bearer {KEY}"]
            run = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=600)
            counts, running = statuses(server)
            print("answers by status: " + ", ".join(f"{s}: {n}" for s, n in sorted(counts.items())))
            cases = re.search(r"(\d+) generated.*", run.stdout)
            check(f"schemathesis finds nothing in {cases.group(1) if cases else 'no'} cases", run.returncode == 0)
            if run.returncode:
                print(run.stdout + run.stderr)
            check("hundreds of requests were right, and hundreds wrong", counts["200"] > 300 and counts["400"] > 300)
            check("nothing runs on, and the server answers", running == 0 and server.is_alive())
    finish()


if __name__ == "__main__":
    main()
