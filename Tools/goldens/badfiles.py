#!/usr/bin/env python3
"""Gives the program malformed, hostile and odd files, and checks that it refuses them in one line.

    python3 Tools/goldens/badfiles.py --badfiles FOLDER [--binary deepseek-vl] [--only 'images/*'] [--jobs 2]

FOLDER has manifest.json, whose entries name a file, what is wrong with it, whether it is to be accepted,
and limits of time and memory. Linux; nothing but Python's own
library is needed.

    images          preprocess FILE --exif apply; an accepted one must have the size of the manifest, upright
    tokenizer       tokenize --model FILE, with a text from standard input
    safetensors     inspect FILE where the program has that command; ask with the file as the weights of
                    --checkpoint
    config          ask with the file as config.json of --checkpoint; then with what is wrong with it put
                    into the checkpoint's own configuration, so that more than its first oddity is met
    gguf            inspect FILE; ask with the file as the model
    http            serve, one process for all entries; each is sent as it is on a connection of its own,
                    and the server must answer /health on another one after it

A refusal is exit status 1 or 2, nothing on standard output, and one line on standard error that names the
program, is UTF-8 without control characters and not longer than 1000 bytes. A signal, a run over the
limits, a warning of a sanitizer or a traceback fails. Exit status 1 if any entry failed or none was found.
"""

import argparse
import atexit
import fnmatch
import json
import os
import resource
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

# Address space of a run: what a defect takes at most before it is noticed as one.
ADDRESS_SPACE = 8 << 30
LONGEST_MESSAGE = 1000
# What the program says of weights that are good, but not the ones that it wants.
MISSING_TENSOR = "found no such tensor"
PROBE = "Hello, world! 12345 \u56fe\u50cf <\u301c> \u00e9"


class Outcome:
    """What one run of the program did."""

    def __init__(self, status, output, error, seconds, megabytes):
        self.status, self.output, self.error = status, output, error
        self.seconds, self.megabytes = seconds, megabytes


def run(command, text=b"", timeout=60):
    """Runs a command with limits; the status is None after a timeout."""
    file = tempfile.TemporaryFile
    with file() as given, file() as output, file() as error:
        given.write(text)
        given.seek(0)
        environment = {**os.environ, "SWIFT_BACKTRACE": "enable=no"}
        start = time.monotonic()
        child = subprocess.Popen(command, stdin=given, stdout=output, stderr=error, env=environment)
        try:
            resource.prlimit(child.pid, resource.RLIMIT_AS, (ADDRESS_SPACE, ADDRESS_SPACE))
            resource.prlimit(child.pid, resource.RLIMIT_CORE, (0, 0))
        except ProcessLookupError:
            pass
        status = usage = None
        pause = 0.001
        while status is None:
            pid, code, usage = os.wait4(child.pid, os.WNOHANG)
            if pid:
                status = os.waitstatus_to_exitcode(code)
            elif time.monotonic() - start > timeout:
                child.kill()
                _, _, usage = os.wait4(child.pid, 0)
                break
            else:
                time.sleep(pause)
                pause = min(pause * 1.5, 0.02)
        seconds = time.monotonic() - start
        # The child has been waited for here, not by its object.
        child.returncode = -1 if status is None else status
        output.seek(0)
        error.seek(0)
        return Outcome(status, output.read(1 << 22), error.read(1 << 20), seconds, usage.ru_maxrss / 1024)


class Binary:
    """The program, and which commands it has."""

    def __init__(self, path):
        self.path = path
        self.commands = run([path, "--help"]).output.decode(errors="replace")

    def has(self, command):
        return any(line.split()[:1] == [command] for line in self.commands.splitlines())


class Server:
    """The program as a server, started for the first entry that needs it."""

    _shared = None
    _lock = threading.Lock()

    def __init__(self, binary, checkpoint):
        self.keys = tempfile.NamedTemporaryFile("w", suffix=".txt")
        self.keys.write("test-key\n")
        self.keys.flush()
        self.child = subprocess.Popen(
            [binary.path, "serve", "--model", str(checkpoint), "--port", "0", "--api-keys", self.keys.name]
            + ["--served-model-name", "test", "--body-timeout", "3", "--cache-memory", "256"]
            + ["--log-level", "error"],
            stdout=subprocess.PIPE,
            env={**os.environ, "SWIFT_BACKTRACE": "enable=no"},
        )
        line = self.child.stdout.readline().decode()
        self.port = int(line.rsplit(":", 1)[1])

    @classmethod
    def shared(cls, binary, checkpoint):
        with cls._lock:
            if cls._shared is None:
                cls._shared = cls(binary, checkpoint)
                atexit.register(cls._shared.stop)
            return cls._shared

    def stop(self):
        self.child.terminate()
        self.child.wait(60)

    def megabytes(self):
        text = Path(f"/proc/{self.child.pid}/status").read_text()
        return int(text.split("VmHWM:")[1].split()[0]) / 1024

    def send(self, data, seconds):
        """The status of the first answer and all bytes that came; None if the connection was closed without one."""
        answer = b""
        end = time.monotonic() + seconds
        with socket.create_connection(("127.0.0.1", self.port), timeout=seconds) as connection:
            try:
                connection.sendall(data)
            except OSError:
                pass
            while time.monotonic() < end:
                connection.settimeout(max(0.01, end - time.monotonic()))
                try:
                    part = connection.recv(1 << 16)
                except OSError:
                    break
                if not part:
                    break
                answer += part
        lines = [line.split() for line in answer.splitlines() if line.startswith(b"HTTP/1.1 ")]
        statuses = [int(words[1]) for words in lines if len(words) > 1]
        final = [status for status in statuses if status >= 200] or statuses
        return (final[0] if final else None), answer


class Check:
    """One entry of the manifest."""

    def __init__(self, binary, root, checkpoint, entry, slack):
        self.binary, self.root, self.checkpoint, self.entry, self.slack = (
            binary,
            root,
            checkpoint,
            entry,
            slack,
        )
        self.kind = entry["file"].split("/")[0]
        self.path = root / entry["file"]
        self.problems = []
        self.messages = []
        self.skipped = None
        self.seconds = self.megabytes = 0.0
        self.runs = 0

    def perform(self):
        try:
            with tempfile.TemporaryDirectory() as folder:
                self.folder = Path(folder)
                getattr(self, self.kind, self.unknown)()
        except Exception as error:  # A defect of one check must not hide the others.
            self.problems.append(f"{type(error).__name__}: {error}")
        return self

    def unknown(self):
        self.skipped = f"the program has no command for '{self.kind}'"

    # What is run for each kind

    def images(self):
        outcome = self.judge("preprocess", "--format", "json", "--exif", "apply", str(self.path))
        size = self.entry.get("want_size")
        if outcome.status == 0 and size:
            image = json.loads(outcome.output)["images"][0]
            found = [image["width"], image["height"]]
            if found != size:
                self.problems.append(
                    f"expected a picture of {size[0]} x {size[1]}, found {found[0]} x {found[1]}"
                )

    def tokenizer(self):
        line = json.dumps({"text": self.entry.get("probe", PROBE)}) + "\n"
        outcome = self.judge("tokenize", "--model", str(self.path), text=line.encode())
        if outcome.status == 0 and not isinstance(json.loads(outcome.output).get("ids"), list):
            self.problems.append("expected a list of ids, found none")

    def safetensors(self):
        if self.binary.has("inspect"):
            self.judge("inspect", str(self.path))
        folder = self.copy(lambda name: "safetensors" not in name)
        if self.path.parent.name == "safetensors":
            shutil.copyfile(self.path, folder / "model.safetensors")
        else:
            for file in self.path.parent.iterdir():
                shutil.copyfile(file, folder / file.name)
        # A good file has not the weights of this checkpoint either, but nothing else may be wrong with it.
        outcome = self.judge("ask", "--model", str(folder), "--max-tokens", "1", "hi", either=True)
        message = outcome.error.decode(errors="replace").strip()
        is_good = outcome.status == 0 or MISSING_TENSOR in message
        if not self.entry["either_ok"] and is_good != (self.entry["expected"] == "accept"):
            self.problems.append(f"ask: expected to {self.entry['expected']} the file, found {message!r}")

    def gguf(self):
        self.judge("inspect", str(self.path))
        # A good file holds one small tensor and no model that could answer.
        self.judge("ask", "--model", str(self.path), "--max-tokens", "1", "hi", either=True)

    def config(self):
        if self.entry["kind"].startswith("tpl_"):
            # A template for chats. A program that has its own reads none of it.
            folder = self.copy()
            file = folder / "tokenizer_config.json"
            template = json.loads(self.path.read_bytes())["chat_template"]
            file.write_text(json.dumps({**json.loads(file.read_bytes()), "chat_template": template}))
            self.judge("ask", "--model", str(folder), "--max-tokens", "1", "hi", either=True)
            return
        folder = self.copy()
        shutil.copyfile(self.path, folder / "config.json")
        self.judge(
            "ask",
            "--model",
            str(folder),
            "--max-tokens",
            "1",
            "hi",
            either=self.entry["expected"] == "accept",
        )
        grafted = self.graft()
        if grafted is not None:
            (folder / "config.json").write_text(json.dumps(grafted))
            self.judge("ask", "--model", str(folder), "--max-tokens", "1", "hi", label="grafted")

    def http(self):
        if not self.binary.has("serve"):
            self.skipped = "the program has no command 'serve'"
            return
        server = Server.shared(self.binary, self.checkpoint)
        before = server.megabytes()
        start = time.monotonic()
        status, answer = server.send(self.path.read_bytes(), 15 * self.slack)
        self.seconds = time.monotonic() - start
        self.runs = 1
        self.megabytes = max(0.0, server.megabytes() - before)
        self.messages.append(f"{status} {answer[-200:]!r}")
        wanted = self.entry["want_status"]
        if self.seconds >= 15 * self.slack:
            self.problems.append("expected an end of the connection, found none")
        # Where either will do, the manifest asks for no crash, no hang and no waste only.
        if status not in wanted and not self.entry["either_ok"]:
            self.problems.append(f"expected status {wanted}, found {status}: {answer[-300:]!r}")
        if status is not None and status >= 500 and status not in wanted:
            self.problems.append(f"a request must not end in {status}")
        code = self.entry.get("want_code")
        if code and status is not None and status != 200 and code.encode() not in answer:
            self.problems.append(f"expected the code {code!r}, found {answer[-300:]!r}")
        secret = self.entry.get("must_not_contain")
        if secret and secret.encode() in answer:
            self.problems.append(f"the answer holds {secret!r}")
        if self.megabytes > self.entry["max_rss_mb"]:
            self.problems.append(f"expected at most {self.entry['max_rss_mb']} MB more, found {self.megabytes:.0f}")
        health, _ = server.send(b"GET /health HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n", 10)
        if health != 200:
            self.problems.append(f"expected /health to answer 200 afterwards, found {health}")

    def copy(self, wants=lambda name: True):
        """A folder with the files of the checkpoint."""
        folder = self.folder / "model"
        folder.mkdir()
        for file in self.checkpoint.iterdir():
            # What a check may write over must not be a link.
            if file.name in ("config.json", "tokenizer_config.json"):
                shutil.copyfile(file, folder / file.name)
            elif wants(file.name):
                (folder / file.name).symlink_to(file.resolve())
        return folder

    def graft(self):
        """The checkpoint's configuration with what is wrong with this one; None where that cannot be told."""
        # These say what a whole file is, not a part of one.
        if self.entry["kind"] in ("arch_missing", "model_type_unknown"):
            return None
        is_whole = self.entry["kind"].startswith("vl_")
        good = json.loads(
            (self.root / "config" / ("vl_ok.json" if is_whole else "ok_minimal.json")).read_bytes()
        )
        base = json.loads((self.checkpoint / "config.json").read_bytes())
        try:
            bad = json.loads(
                self.path.read_bytes(), object_pairs_hook=unique, parse_constant=refuse, parse_float=finite
            )
        except (ValueError, RecursionError):
            return None
        part = base if is_whole else base.get("language_config")
        if not isinstance(bad, dict) or not isinstance(part, dict):
            return None
        merge(part, good, bad)
        return base

    # What is expected

    def judge(self, *arguments, text=b"", either=False, label=None):
        """Runs the program and notes what is wrong with what it did."""
        where = label or arguments[0]
        seconds = self.entry["max_seconds"] * self.slack
        outcome = run([self.binary.path, *arguments], text, timeout=seconds * 3)
        self.runs += 1
        self.messages.append(outcome.error.decode(errors="replace").strip() or "accepted")
        self.seconds = max(self.seconds, outcome.seconds)
        self.megabytes = max(self.megabytes, outcome.megabytes)

        def problem(text):
            self.problems.append(f"{where}: {text}")

        if outcome.status is None:
            problem(f"expected an end within {seconds:g} s, found none after {outcome.seconds:.1f} s")
            return outcome
        if outcome.seconds > seconds:
            problem(f"expected at most {seconds:g} s, found {outcome.seconds:.1f} s")
        if outcome.megabytes > self.entry["max_rss_mb"]:
            problem(f"expected at most {self.entry['max_rss_mb']} MB, found {outcome.megabytes:.0f} MB")
        message = outcome.error.decode(errors="replace")
        if outcome.status < 0 or outcome.status > 2:
            problem(f"expected exit status 0, 1 or 2, found {outcome.status}: {message.strip()[-200:]!r}")
            return outcome
        may_differ = either or self.entry["either_ok"]
        if not may_differ and (outcome.status == 0) != (self.entry["expected"] == "accept"):
            problem(
                f"expected to {self.entry['expected']} it, "
                f"found exit status {outcome.status}: {message.strip()!r}"
            )
        if outcome.status != 0:
            self.judge_message(outcome, problem)
        elif "Sanitizer" in message or "runtime error" in message:
            problem(f"expected no complaint of a sanitizer, found {message.strip()[:200]!r}")
        return outcome

    @staticmethod
    def judge_message(outcome, problem):
        try:
            text = outcome.error.decode()
        except UnicodeDecodeError:
            problem("expected UTF-8 on standard error")
            return
        if outcome.output:
            problem(f"expected nothing on standard output, found {outcome.output[:80]!r}")
        if text.count("\n") != 1 or not text.endswith("\n"):
            problem(f"expected one line on standard error, found {text[:300]!r}")
        if not text.startswith("deepseek-vl: "):
            problem(f"expected a message that begins with 'deepseek-vl: ', found {text[:100]!r}")
        if any((ord(c) < 0x20 and c != "\n") or 0x7F <= ord(c) < 0xA0 for c in text):
            problem(f"expected no control characters, found {text[:300]!r}")
        if len(outcome.error) > LONGEST_MESSAGE:
            problem(f"expected at most {LONGEST_MESSAGE} bytes of message, found {len(outcome.error)}")


def unique(pairs):
    if len({key for key, _ in pairs}) != len(pairs):
        raise ValueError("a key occurs twice")
    return dict(pairs)


def refuse(name):
    raise ValueError(name)


def finite(text):
    value = float(text)
    if value in (float("inf"), float("-inf")):
        raise ValueError(text)
    return value


def merge(target, good, bad):
    """Changes `target` as `bad` differs from `good`."""
    for key in good.keys() - bad.keys():
        target.pop(key, None)
    for key, value in bad.items():
        if key in good and good[key] == value and type(good[key]) is type(value):
            continue
        if isinstance(value, dict) and isinstance(good.get(key), dict) and isinstance(target.get(key), dict):
            merge(target[key], good[key], value)
        else:
            target[key] = value


def report(kind, checks, verbose):
    skipped = [check for check in checks if check.skipped]
    failed = [check for check in checks if check.problems]
    passed = len(checks) - len(skipped) - len(failed)
    print(
        f"{kind}: {passed} of {len(checks)} files passed, {len(failed)} failed, {len(skipped)} skipped",
        end="",
    )
    if len(skipped) < len(checks):
        slowest = max(checks, key=lambda check: check.seconds)
        largest = max(checks, key=lambda check: check.megabytes)
        print(f"; {sum(check.runs for check in checks)} runs", end="")
        print(f"; longest {slowest.seconds:.2f} s ({slowest.path.name})", end="")
        print(f"; largest {largest.megabytes:.0f} MB ({largest.path.name})", end="")
    print()
    for reason in sorted({check.skipped for check in skipped}):
        print(f"  skipped: {reason}")
    for check in failed:
        print(f"  FAILED {check.entry['file']} ({check.entry['wrong']})")
        for problem in check.problems:
            print(f"    {problem}")
    if verbose:
        for check in checks:
            print(
                f"  {check.entry['file']}: {check.seconds:.2f} s, {check.megabytes:.0f} MB "
                f"({check.entry['wrong']})"
            )
            for message in check.messages:
                print(f"    {message}")


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path, nargs="?", help="the same as --badfiles")
    parser.add_argument("--badfiles", type=Path, help="folder with manifest.json")
    parser.add_argument("--binary", default=".build/release/deepseek-vl", help="the program (%(default)s)")
    parser.add_argument(
        "--checkpoint",
        type=Path,
        default=Path(__file__).resolve().parents[2] / "Models" / "shapes-vl2",
        help="a good checkpoint, for what needs one around it (the bundled model)",
    )
    parser.add_argument("--only", default="*", help="pattern of file names in FOLDER (%(default)s)")
    parser.add_argument("--jobs", type=int, default=1, help="files that are tried at a time (%(default)s)")
    parser.add_argument("--slack", type=float, default=1.0, help="factor of the time limits, for slow builds")
    parser.add_argument("--verbose", action="store_true", help="prints time, memory and message of each file")
    options = parser.parse_args()
    root = options.badfiles or options.folder
    if root is None:
        parser.error("--badfiles: expected a folder, found none")
    if not os.access(options.binary, os.X_OK):
        parser.error(f"--binary: expected a program, found none at {options.binary}")
    if not (options.checkpoint / "config.json").is_file():
        parser.error(f"--checkpoint: expected a folder with config.json, found none at {options.checkpoint}")
    binary = Binary(options.binary)
    entries = json.loads((root / "manifest.json").read_bytes())["entries"]
    groups = {}
    for entry in entries:
        if fnmatch.fnmatch(entry["file"], options.only):
            check = Check(binary, root, options.checkpoint, entry, options.slack)
            groups.setdefault(check.kind, []).append(check)
    with ThreadPoolExecutor(max(1, options.jobs)) as pool:
        futures = {kind: [pool.submit(check.perform) for check in checks] for kind, checks in groups.items()}
        for kind, checks in futures.items():
            report(kind, [check.result() for check in checks], options.verbose)
            sys.stdout.flush()
    checks = [check for group in groups.values() for check in group]
    if not checks:
        print(f"no file matches '{options.only}'")
    sys.exit(0 if checks and not any(check.problems for check in checks) else 1)


if __name__ == "__main__":
    main()
