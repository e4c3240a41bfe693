#!/usr/bin/env python3
"""Runs every block of docs/server-examples.md against a server of the bundled model.

    pip install openai anthropic
    python3 Tools/server/examples_check.py [--binary .build/release/deepseek-vl] [--only TEXT]

Blocks of `sh` and `python` are run as they are, those of `swift` compiled and run; only the port is another one. A block
of `text` behind one is what it must print, where `…` stands for anything. Starts the server itself. Needs curl and
swiftc, too. Exit status 1 if a block fails or prints something else.
"""

import argparse
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from running import ROOT, Server, check, finish

PAGE = ROOT / "docs" / "server-examples.md"
LANGUAGES = ["sh", "python", "swift"]


def blocks(page):
    """Line, language, source and expected output (or None) of each block that is to be run."""
    found = []
    for match in re.finditer(r"^```(\w+)\n(.*?)^```$", page, re.MULTILINE | re.DOTALL):
        language, source = match.groups()
        line = page.count("\n", 0, match.start()) + 1
        if language in LANGUAGES:
            found.append([line, language, source, None])
        elif language == "text" and found and found[-1][3] is None:
            found[-1][3] = source
        else:
            sys.exit(f"FAILED  {PAGE.name}:{line}: expected a block of {', '.join(LANGUAGES)}, or text behind one")
    return found


def run(language, source, folder):
    """The finished process of a block."""
    if language == "sh":
        command = ["bash", "-euo", "pipefail", "-c", source]
    elif language == "python":
        command = [sys.executable, "-c", source]
    else:
        (folder / "main.swift").write_text(source)
        command = ["swiftc", "-o", str(folder / "example"), str(folder / "main.swift")]
        compiled = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300)
        if compiled.returncode:
            return compiled
        command = [str(folder / "example")]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120)


def fits(found, expected):
    pattern = ".*?".join(re.escape(part) for part in expected.strip().split("…"))
    return re.fullmatch(pattern, found.strip(), re.DOTALL) is not None


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--binary", default=str(ROOT / ".build/release/deepseek-vl"), help="the program (%(default)s)")
    parser.add_argument("--only", default="", help="blocks that have this text in them")
    arguments = parser.parse_args()
    known = blocks(PAGE.read_text())
    if {language for _, language, _, _ in known} != set(LANGUAGES):
        sys.exit(f"FAILED  {PAGE.name}: expected blocks of each of {', '.join(LANGUAGES)}")
    options = ["--served-model-name", "shapes-vl2", "--log-level", "error", "--cache-memory", "64"]
    with Server(arguments.binary, *options) as server, tempfile.TemporaryDirectory() as name:
        for line, language, source, expected in known:
            if arguments.only not in source:
                continue
            start = time.monotonic()
            done = run(language, source.replace("localhost:8080", f"localhost:{server.port}"), Path(name))
            what = f"{PAGE.name}:{line}: {language}, {time.monotonic() - start:.1f} s"
            check(what, done.returncode == 0 and (expected is None or fits(done.stdout, expected)))
            if done.returncode or (expected is not None and not fits(done.stdout, expected)):
                print(f"{done.stdout}{done.stderr}\nexpected: {expected}")
        check("the server answers", server.is_alive())
    finish()


if __name__ == "__main__":
    main()
