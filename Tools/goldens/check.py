#!/usr/bin/env python3
"""Compares the program with golden values of the official code, through its command line.

    pip install numpy safetensors
    python3 Tools/goldens/check.py FIXTURES [--binary deepseek-vl] [--only 'vl2-*/two_*'] [--chunk]

FIXTURES is a folder with checkpoints/NAME, goldens/NAME/CASE.json and .safetensors, and images/. Each case runs in
float32 with --dump; ids, masks, crops and greedy tokens must be equal, tensors within the tolerances below, relative to
the largest value. With --chunk each case runs again with incremental prefilling. Prints a line a case and a summary a
checkpoint; exit status 1 if anything failed.
"""
import argparse
import fnmatch
import hashlib
import json
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
from safetensors.numpy import load_file

# |a - b| <= tolerance * max |b|.
TOLERANCE = {
    "vision_features": 1e-4, "projector_output": 1e-4, "inputs_embeds": 1e-4, "hidden": 2e-4, "logits": 3e-4,
    "step_logits": 3e-4,
}


def unroll(pairs):
    return [value for value, count in pairs for _ in range(count)]


class Case:
    def __init__(self, fixtures, checkpoint, path, binary):
        self.fixtures, self.checkpoint, self.binary = fixtures, checkpoint, binary
        self.golden = json.loads(path.read_text())
        self.name = path.stem
        self.tensors = load_file(str(path.with_suffix(".safetensors")))
        self.problems, self.errors = [], {}

    def expect(self, what, holds):
        if not holds:
            self.problems.append(what)

    def close(self, kind, name, found, wanted):
        if found.shape != wanted.shape:
            self.problems.append(f"{name}: shape {found.shape}, expected {wanted.shape}")
            return
        error = float(np.abs(found.astype(np.float64) - wanted).max() / max(np.abs(wanted).max(), 1e-30)) if wanted.size else 0.0
        self.errors[kind] = max(self.errors.get(kind, 0.0), error)
        if not error <= TOLERANCE[kind]:
            self.problems.append(f"{name}: {error:.1e} > {TOLERANCE[kind]:.0e}")

    def absolute(self, messages):
        images = str((self.fixtures / "images").resolve())
        return [{**m, "images": [f"{images}/{i}" for i in m["images"]]} if m.get("images") else m for m in messages]

    def command(self, folder):
        given = self.golden["input"]
        base = [self.binary, "ask", "--model", str(self.fixtures / "checkpoints" / self.checkpoint)]
        if "prompt" in given:
            mode = "sft" if given.get("apply_sft_format") else "raw"
            arguments = ["--prompt-mode", mode]
            for image in given.get("images", []):
                arguments += ["--image", str(self.fixtures / "images" / image)]
            if given.get("system_prompt"):
                arguments += ["--system", given["system_prompt"]]
            return base + arguments + ["--", given["prompt"]]
        listed = given["batch"] if "batch" in given else given["conversation"]
        listed = [self.absolute(m) for m in listed] if "batch" in given else self.absolute(listed)
        (folder / "conversation.json").write_text(json.dumps(listed))
        return base + ["--conversation", str(folder / "conversation.json")]

    def run(self, folder, extra=()):
        command = self.command(folder)
        options = ["--max-tokens", "32", "--exif", "ignore", "--compute", "float32", "--format", "json",
                   "--dump", str(folder / "dump.safetensors"), *extra]
        place = command.index("--") if "--" in command else len(command)
        done = subprocess.run(command[:place] + options + command[place:], capture_output=True, text=True)
        if done.returncode != 0:
            self.problems.append(f"status {done.returncode}: {done.stderr.strip()[:200]}")
            return None, None
        return json.loads(done.stdout)["results"], load_file(str(folder / "dump.safetensors"))

    def check(self, chunked):
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            results, dump = self.run(folder)
            if results is None:
                return
            for row, sample in enumerate(self.golden["samples"]):
                self.check_row(results[row], sample, row)
            self.check_dump(dump)
            if chunked:
                tokens = [r["tokens"] for r in results]
                again, _ = self.run(folder, ["--chunk-size", "16"])
                self.expect("tokens with chunks differ", again is not None and [r["tokens"] for r in again] == tokens)

    def check_row(self, result, sample, row):
        # A system text given as an argument shows in the printed prompt only.
        if "system_prompt" not in self.golden["input"]:
            self.expect(f"row {row}: prompt text", result["prompt"] == sample["sft_format"])
        self.expect(f"row {row}: prompt ids", result["prompt_tokens"] == unroll(sample["input_ids_run_length"]))
        wanted = self.golden["greedy"]["rows"][row]
        ids = wanted["ids"][:-1] if wanted["stopped_on_eos"] else wanted["ids"]
        self.expect(f"row {row}: greedy tokens", result["tokens"] == ids)
        self.expect(f"row {row}: finish", (result["finish_reason"] == "stop") == wanted["stopped_on_eos"])
        text = wanted["text_with_special_tokens"]
        if not wanted["stopped_on_eos"]:
            self.expect(f"row {row}: text", result["text"] == text)

    def check_dump(self, dump):
        golden, tensors = self.golden, self.tensors
        mask = tensors["attention_mask"][0].astype(bool)
        positions = tensors["stored_positions"]
        kept = mask[positions]
        shift = len(mask) - int(mask.sum())
        rows = positions[kept] - shift
        self.expect("mask", np.array_equal(dump["images_seq_mask"], tensors["images_seq_mask"][0][mask]))
        crops = tensors["images_spatial_crop"][0]
        used = crops[: len(dump["images_spatial_crop"])]
        self.expect("crops", np.array_equal(dump["images_spatial_crop"], used) and not crops[len(used):].any())
        self.close("inputs_embeds", "inputs_embeds", dump["inputs_embeds"][rows], tensors["inputs_embeds"][0][kept])
        layers = max(int(n.split(".")[1]) for n in dump if n.startswith("hidden_states."))
        for layer in range(1, layers + 1):
            if f"hidden_{layer}" not in tensors:
                continue
            found = dump["final_norm"] if layer == layers else dump[f"hidden_states.{layer}"]
            self.close("hidden", f"hidden_{layer}", found[rows], tensors[f"hidden_{layer}"][0][kept])
        self.close("logits", "first_logits", dump["logits"], tensors["first_logits"][0])
        steps = dump["generated_logits"]
        ids = tensors["step_top_ids"][0][: len(steps)]
        self.close("step_logits", "step_top_logits", np.take_along_axis(steps[: len(ids)], ids.astype(np.int64), 1),
                   tensors["step_top_logits"][0][: len(steps)])
        if "pixel_values" in dump and len(golden["samples"]) == 1:
            digest = hashlib.sha256(np.ascontiguousarray(dump["pixel_values"], "<f4").tobytes()).hexdigest()
            self.expect("pixels", digest == golden["pixels"]["float32_sha256"])
            for name in ("vision_features", "projector_output"):
                stored = golden["stored_tiles"][name]
                found = dump[name] if stored["tiles"] == "all" else dump[name][stored["tiles"]]
                found = found if stored["tokens"] == "all" else found[:, stored["tokens"]]
                self.close(name, name, found, tensors[name])


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("fixtures", type=Path)
    parser.add_argument("--binary", default=".build/release/deepseek-vl")
    parser.add_argument("--only", default="vl2-*/*", help="pattern of checkpoint/case")
    parser.add_argument("--chunk", action="store_true", help="also run with --chunk-size 16")
    arguments = parser.parse_args()
    failed = 0
    for folder in sorted((arguments.fixtures / "goldens").iterdir()):
        passed, worst, count = 0, {}, 0
        for path in sorted(folder.glob("*.json")):
            if not fnmatch.fnmatch(f"{folder.name}/{path.stem}", arguments.only):
                continue
            case = Case(arguments.fixtures, folder.name, path, arguments.binary)
            case.check(arguments.chunk)
            count += 1
            passed += not case.problems
            for kind, error in case.errors.items():
                worst[kind] = max(worst.get(kind, 0.0), error)
            if case.problems:
                failed += 1
                print(f"FAILED {folder.name}/{case.name}: " + "; ".join(case.problems))
        if count:
            figures = ", ".join(f"{kind} {error:.1e}" for kind, error in sorted(worst.items()))
            print(f"{folder.name}: {passed} of {count} cases passed; worst relative errors: {figures}")
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
