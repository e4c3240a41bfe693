"""Runs two sides in turn, and tells measurements apart that other processes disturbed.

Both sides' programs say when each of their measurements began and how long it took. A thread beside them notes every
tenth of a second how much processor time the whole machine and how much our own children have used; the difference is
what others took. A measurement is clean if others (and the hypervisor) used less than a given share of one processor
while it ran. Only clean ones count, unless there are none: then all count, and the result is marked.
"""

import json
import os
import statistics
import subprocess
import threading
import time
from dataclasses import dataclass, field

TICK = 1 / os.sysconf("SC_CLK_TCK")


@dataclass
class Sample:
    """One measurement: the figure, and the processors' share that others used meanwhile."""

    value: float
    others: float


@dataclass
class Side:
    """What one of the two programs gave: samples of each metric, and figures that hold for a whole run."""

    samples: dict = field(default_factory=dict)
    facts: dict = field(default_factory=dict)

    def add(self, metric, value, others):
        self.samples.setdefault(metric, []).append(Sample(value, others))


class Watch:
    """Notes over time how much processor time other processes used."""

    def __init__(self, interval=0.1):
        self.children = {}
        self.finished = 0.0
        self.notes = []
        self.interval = interval
        self.lock = threading.Lock()
        self.note()
        threading.Thread(target=self._run, daemon=True).start()

    def _run(self):
        while True:
            time.sleep(self.interval)
            self.note()

    @staticmethod
    def _machine():
        with open("/proc/stat", encoding="ascii") as file:
            fields = [int(field) for field in file.readline().split()[1:]]
        user, nice, system, _, _, irq, softirq, steal = fields[:8]
        return (user + nice + system + irq + softirq + steal) * TICK

    @staticmethod
    def _of(pid):
        try:
            with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as file:
                fields = file.read().rpartition(")")[2].split()
            return (int(fields[11]) + int(fields[12])) * TICK
        except OSError:
            return None

    def note(self):
        with self.lock:
            for pid in self.children:
                used = self._of(pid)
                if used is not None:
                    self.children[pid] = used
            own = self.finished + sum(self.children.values()) + time.process_time()
            self.notes.append((time.monotonic(), self._machine() - own))

    def began(self, pid):
        with self.lock:
            self.children[pid] = 0.0

    def ended(self, pid, seconds):
        with self.lock:
            self.children.pop(pid, None)
            self.finished += seconds

    def others(self, start, end):
        """Processors that others used on average between two moments, taken from the notes around them."""
        self.note()
        with self.lock:
            before = [note for note in self.notes if note[0] <= start][-1:] or self.notes[:1]
            after = [note for note in self.notes if note[0] >= end][:1] or self.notes[-1:]
        (first, used), (last, used_then) = before[0], after[0]
        return max(0.0, used_then - used) / max(1e-9, last - first)


WATCH = Watch()


class Failed(Exception):
    """A program that did not do its work."""


@dataclass
class Finished:
    output: str
    start: float
    seconds: float
    resident: int
    # Lines of standard error, with the moment of each.
    errors: list


def execute(command, environment=None, text=None):
    """Runs a program to its end; its memory's peak comes from the kernel."""
    start = time.monotonic()
    process = subprocess.Popen(
        [str(word) for word in command],
        stdin=subprocess.PIPE if text is not None else subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=None if environment is None else {**os.environ, **environment},
    )
    WATCH.began(process.pid)
    errors, output = [], []

    def read_errors():
        for line in process.stderr:
            errors.append((time.monotonic(), line.decode("utf-8", "replace").rstrip()))

    def read_output():
        output.append(process.stdout.read())

    readers = [threading.Thread(target=target) for target in (read_errors, read_output)]
    for reader in readers:
        reader.start()
    if text is not None:
        try:
            process.stdin.write(text)
            process.stdin.close()
        except BrokenPipeError:
            pass
    _, status, usage = os.wait4(process.pid, 0)
    seconds = time.monotonic() - start
    WATCH.ended(process.pid, usage.ru_utime + usage.ru_stime)
    process.returncode = os.waitstatus_to_exitcode(status)
    for reader in readers:
        reader.join()
    process.stdout.close()
    process.stderr.close()
    if process.returncode != 0:
        tail = " / ".join(line for _, line in errors[-3:])
        raise Failed(f"{' '.join(str(word) for word in command)}: status {process.returncode}: {tail}")
    return Finished(output[0].decode("utf-8", "replace"), start, seconds, usage.ru_maxrss * 1024, errors)


class Worker:
    """A process of workers.py, that measures whenever it is asked."""

    def __init__(self, command, environment=None):
        self.process = subprocess.Popen(
            [str(word) for word in command],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            env=None if environment is None else {**os.environ, **environment},
        )
        WATCH.began(self.process.pid)
        if self.process.stdout.readline().strip() != "ready":
            self.process.wait()
            raise Failed(f"{' '.join(str(word) for word in command)}: did not get ready")

    def measure(self):
        """Seconds of one measurement, and the others' share meanwhile."""
        start = time.monotonic()
        self.process.stdin.write("\n")
        self.process.stdin.flush()
        line = self.process.stdout.readline()
        if not line:
            raise Failed("a worker ended early")
        return float(line), WATCH.others(start, time.monotonic())

    def close(self):
        self.process.stdin.close()
        _, _, usage = os.wait4(self.process.pid, 0)
        self.process.returncode = 0
        WATCH.ended(self.process.pid, usage.ru_utime + usage.ru_stime)


def wait_for_quiet(limit, until):
    """Returns when others used less than a share of a processor for a second, or when the time is up."""
    while time.monotonic() < until:
        start = time.monotonic()
        time.sleep(1)
        if WATCH.others(start, time.monotonic()) <= limit:
            return


def interleave(first, second, rounds, deadline, limit, patience):
    """Calls the two in turn, each when the machine is quiet or `patience` seconds have passed.

    Stops early when another round would not end before the deadline. Returns the number of rounds.
    """
    longest = 0.0
    for number in range(rounds):
        start = time.monotonic()
        if number and start + longest > deadline:
            return number
        for side in (first, second):
            wait_for_quiet(limit, min(deadline, time.monotonic() + patience))
            side()
        longest = max(longest, time.monotonic() - start)
    return rounds


def spread(samples, limit):
    """Median, least and greatest of the clean samples, and how many there are of how many."""
    clean = [sample.value for sample in samples if sample.others <= limit]
    used = clean or [sample.value for sample in samples]
    return {
        "median": statistics.median(used),
        "min": min(used),
        "max": max(used),
        "clean": len(clean),
        "count": len(samples),
        "others": round(max(sample.others for sample in samples), 3),
    }


def parse_json(finished, what):
    try:
        return json.loads(finished.output)
    except ValueError as error:
        raise Failed(f"{what}: expected JSON, found '{finished.output[:80]}'") from error
