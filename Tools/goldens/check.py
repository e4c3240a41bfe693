#!/usr/bin/env python3
"""Compares the program with golden values of the official code, through its command line.

    pip install numpy safetensors
    python3 Tools/goldens/check.py --fixtures FOLDER [--binary deepseek-vl] [--only 'vl2-*/two_*'] [--jobs 2]

FOLDER has checkpoints/NAME, goldens/NAME/CASE.json with CASE.safetensors, and images/. Each case runs twice
in float32: once with the whole prompt, once with incremental prefilling in chunks of 16 tokens. Rows of a
batch run once more, alone, since --dump shows the first one only.

Exact: prompt text, prompt ids, image mask and its runs, crops, pixels (by their hash), greedy ids, the
reason for the end, the text. Within a tolerance, relative to the largest value of the tensor: everything
that the dump has of what the goldens hold, and the norm of each row where goldens hold only some rows. A
golden's left padding is removed.

Texts to complete are given as raw prompts, one at a time. A golden's scores after a repetition penalty are compared
with ours after the same. Cases that the program has no way to express are skipped, with the reason. Prints a table for each
checkpoint; the exit status is 1 if a case failed or no case was found.
"""

import argparse
import fnmatch
import hashlib
import json
import os
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from safetensors.numpy import load_file

MAX_TOKENS = 32
CHUNK = 16
# Seconds for one run of the program.
TIMEOUT = 600

# |a - b| <= tolerance * max |b|, float32 against float32.
TOLERANCE = {
    "vision": 1e-4,
    "projector": 1e-4,
    "embeds": 1e-4,
    "hidden": 2e-4,
    "logits": 3e-4,
    "chunked": 3e-4,
    "steps": 3e-4,
    # Weights of the experts: absolute.
    "router": 1e-5,
}
# Tensors with a row for each token of the prompt: name in the dump and in the golden, kind.
TOKEN_TENSORS = [
    ("inputs_embeds", "embeds"),
    ("layer0_attention", "hidden"),
    ("first_moe_output", "hidden"),
]
# Tensors of the pictures, [tiles, tokens, width].
TILE_TENSORS = [
    ("vision_embedded", "vision"),
    ("vision_block0", "vision"),
    ("vision_features", "vision"),
    ("siglip_embedded", "vision"),
    ("siglip_block0", "vision"),
    ("siglip_features", "vision"),
    ("sam_embedded", "vision"),
    ("sam_first_window_block", "vision"),
    ("sam_first_global_block", "vision"),
    ("sam_neck", "vision"),
    ("sam_neck_hd", "vision"),
    ("sam_features", "vision"),
    ("aligner_high", "projector"),
    ("aligner_low", "projector"),
    ("aligner_output", "projector"),
    ("projector_output", "projector"),
]


class Skip(Exception):
    """A case that the program cannot express."""


def unroll(pairs):
    return [value for value, count in pairs for _ in range(count)]


def runs(mask):
    """[start, length] of each run of ones."""
    edges = np.flatnonzero(np.diff(np.concatenate([[0], np.asarray(mask, dtype=np.int8), [0]])))
    return [[int(a), int(b - a)] for a, b in zip(edges[::2], edges[1::2])]


class Binary:
    """The program, and what it can do."""

    def __init__(self, path):
        self.path = path
        self.help = self.text("ask", "--help")
        self.commands = self.text("--help")
        self.has_prompt_mode = "--prompt-mode" in self.help

    def text(self, *arguments):
        done = subprocess.run([self.path, *arguments], capture_output=True, text=True, timeout=TIMEOUT)
        return done.stdout + done.stderr


class Golden:
    """One case as the fixtures hold it, with the padding of each row removed."""

    def __init__(self, path):
        self.json = json.loads(path.read_text())
        self.tensors = load_file(str(path.with_suffix(".safetensors")))
        self.given = self.json["input"]
        self.samples = self.json.get("samples")
        self.masks = self.tensors["attention_mask"].astype(bool)
        self.rows = len(self.masks)
        self.penalty = self.given.get("generate", {}).get("repetition_penalty", 1)
        # DeepSeek-VL's official program passes embeddings, so that the penalty does not see the prompt.
        self.penalizes_prompt = self.json["family"] != "deepseek-vl"

    def ids(self, row):
        if self.samples:
            return unroll(self.samples[row]["input_ids_run_length"])
        ids = np.array(unroll(self.json["input_ids_run_length"][row]))
        return ids[self.masks[row]].tolist()

    def prompt(self, row):
        """The prompt's text; None if it is not known or not what the ids say."""
        if self.samples is None:
            return self.json["rendered_prompt"]
        # As an argument, a system text of DeepSeek-VL2 shows in the printed prompt only.
        if "system_prompt" in self.given and "prompt" not in self.given:
            return None
        return self.samples[row]["sft_format"]

    def penalized(self, logits, row, steps=0):
        """Logits of a step after the repetition penalty, `steps` tokens of the answer being known."""
        if self.penalty == 1:
            return logits
        seen = self.json["greedy"]["rows"][row]["ids"][:steps]
        ids = np.unique(np.array(seen + (self.ids(row) if self.penalizes_prompt else []), dtype=np.int64))
        logits = logits.copy()
        logits[ids] = np.where(logits[ids] < 0, logits[ids] * self.penalty, logits[ids] / self.penalty)
        return logits

    def greedy(self, row):
        wanted = self.json["greedy"]["rows"][row]
        return (wanted["ids"][:-1] if wanted["stopped_on_eos"] else wanted["ids"]), wanted

    def stored(self, row):
        """Which of the stored positions are real, and where they lie without the padding."""
        positions = self.tensors["stored_positions"]
        kept = self.masks[row][positions]
        padding = len(self.masks[row]) - int(self.masks[row].sum())
        return kept, positions[kept] - padding


class Case:
    """Runs one case and collects what is wrong with it."""

    def __init__(self, binary, fixtures, checkpoint, path, folder, decoded):
        self.binary, self.fixtures, self.checkpoint, self.folder = binary, fixtures, checkpoint, folder
        self.name = path.stem
        self.path = path
        self.decoded = decoded
        self.problems = []
        self.errors = {}
        self.skipped = None
        self.compared = 0

    def run(self):
        try:
            self.golden = Golden(self.path)
            self.folder.mkdir(parents=True, exist_ok=True)
            self.check()
        except Skip as reason:
            self.skipped = str(reason)
        except Exception as error:  # A defect of one case must not hide the others.
            self.problems.append(f"{type(error).__name__}: {error}")
        return self

    # Conversations and commands

    def image(self, name):
        path = self.decoded.get(name, self.fixtures / "images" / name)
        return str(Path(path).resolve())

    def conversations(self):
        given = self.golden.given
        if "messages" in given:
            return [given["messages"]]
        lists = given["batch"] if "batch" in given else [given["conversation"]]
        return [
            [{**m, "images": [self.image(i) for i in m["images"]]} if m.get("images") else m for m in one]
            for one in lists
        ]

    def arguments(self, row=None):
        """Arguments for all rows, or for one of a batch; and those that go to the end."""
        given = self.golden.given
        extra = []
        for name, value in given.get("generate", {}).items():
            extra += [f"--{name.replace('_', '-')}", str(value)]
        if "texts" in given:
            if not self.binary.has_prompt_mode:
                raise Skip("prompt mode: 'ask' has no --prompt-mode")
            return extra + ["--prompt-mode", "raw"], ["--", given["texts"][row or 0]]
        if "prompt" in given:
            if not self.binary.has_prompt_mode:
                raise Skip("prompt mode: 'ask' has no --prompt-mode")
            extra += ["--prompt-mode", "sft" if given.get("apply_sft_format") else "raw"]
            for name in given.get("images", []):
                extra += ["--image", self.image(name)]
            if given.get("system_prompt"):
                extra += ["--system", given["system_prompt"]]
            return extra, ["--", given["prompt"]]
        lists = self.conversations()
        if "system_prompt" in given and self.golden.json["family"] == "deepseek-vl":
            # There it replaces the default one, and so does a system message in front.
            lists = [[{"role": "system", "content": given["system_prompt"]}, *one] for one in lists]
        content = lists[row] if row is not None else lists if "batch" in given else lists[0]
        file = self.folder / ("conversation.json" if row is None else f"conversation-{row}.json")
        file.write_text(json.dumps(content, ensure_ascii=False, indent=1))
        return extra + ["--conversation", str(file)], []

    def ask(self, label, *options, row=None):
        """The results of a run and its dump; raises with what standard error says."""
        extra, last = self.arguments(row)
        dump = self.folder / f"{label}.safetensors"
        command = [self.binary.path, "ask", "--model", str(self.fixtures / "checkpoints" / self.checkpoint)]
        command += extra + ["--max-tokens", str(MAX_TOKENS), "--exif", "ignore", "--compute", "float32"]
        command += ["--format", "json", "--dump", str(dump), *options, *last]
        done = subprocess.run(command, capture_output=True, timeout=TIMEOUT)
        (self.folder / f"{label}.json").write_bytes(done.stdout)
        if done.returncode != 0:
            text = done.stderr.decode(errors="replace").strip()[:300]
            raise RuntimeError(f"{label}: exit status {done.returncode}: {text}")
        return json.loads(done.stdout)["results"], load_file(str(dump))

    # Comparisons

    def expect(self, what, holds):
        self.compared += 1
        if not holds:
            self.problems.append(what)

    def equal(self, what, found, wanted):
        self.compared += 1
        if found == wanted:
            return
        if isinstance(wanted, list) and isinstance(found, list):
            place = next(
                (i for i, (a, b) in enumerate(zip(found, wanted)) if a != b), min(len(found), len(wanted))
            )
            found, wanted = found[place : place + 4], wanted[place : place + 4]
            what += f", from {place}"
        self.problems.append(f"{what}: expected {str(wanted)[:80]!r}, found {str(found)[:80]!r}")

    def close(self, kind, name, found, wanted):
        self.compared += 1
        if found.shape != wanted.shape:
            self.problems.append(f"{name}: expected the shape {wanted.shape}, found {found.shape}")
            return
        if wanted.size == 0:
            return
        scale = 1.0 if kind == "router" else max(float(np.abs(wanted).max()), 1e-30)
        error = float(np.abs(found.astype(np.float64) - wanted).max()) / scale
        # What is no number is the worst there is.
        error = float("inf") if np.isnan(error) else error
        if error >= self.errors.get(kind, (-1.0, ""))[0]:
            self.errors[kind] = (error, name)
        if not error <= TOLERANCE[kind]:
            self.problems.append(f"{name}: relative error {error:.1e}, at most {TOLERANCE[kind]:.0e}")

    def check(self):
        golden = self.golden
        results, dumps = self.answers("whole")
        self.equal("results", len(results), golden.rows)
        for row, result in enumerate(results[: golden.rows]):
            self.check_result(result, row)
        for row in range(len(dumps), golden.rows):
            alone, dump = self.ask(f"row-{row}", row=row)
            self.equal(f"row {row} alone: tokens", alone[0]["tokens"], golden.greedy(row)[0])
            dumps.append(dump)
        for row, dump in enumerate(dumps):
            self.check_prompt(results[row], dump, row)
            self.check_tokens(dump, row)
        self.check_pixels(dumps)
        self.check_tiles(dumps)
        chunked, dumps = self.answers("chunked", "--chunk-size", str(CHUNK))
        for row, result in enumerate(chunked[: golden.rows]):
            self.equal(f"row {row}: tokens with chunks", result["tokens"], golden.greedy(row)[0])
        for row, dump in enumerate(dumps):
            self.check_first_logits("chunked", dump, row)

    def answers(self, label, *options):
        """The results of all rows, and the dumps that come with them; texts to complete are asked one by one."""
        if "texts" not in self.golden.given:
            results, dump = self.ask(label, *options)
            return results, [dump]
        pairs = [self.ask(f"{label}-{row}", *options, row=row) for row in range(self.golden.rows)]
        return [results[0] for results, _ in pairs], [dump for _, dump in pairs]

    def check_first_logits(self, kind, dump, row):
        logits = self.golden.penalized(dump["logits"], row)
        self.close(kind, f"row {row}: first_logits, {kind}", logits, self.golden.tensors["first_logits"][row])

    def check_result(self, result, row):
        tokens, wanted = self.golden.greedy(row)
        text = self.golden.prompt(row)
        if text is not None:
            self.equal(f"row {row}: prompt text", result["prompt"], text)
        self.equal(f"row {row}: prompt ids", result["prompt_tokens"], self.golden.ids(row))
        self.equal(f"row {row}: greedy ids", result["tokens"], tokens)
        reason = "stop" if wanted["stopped_on_eos"] else "length"
        self.equal(f"row {row}: finish_reason", result["finish_reason"], reason)
        text = wanted["text_with_special_tokens"]
        # The token that ends an answer is the last special one, and no part of it.
        text = text[: text.rindex("<｜")] if wanted["stopped_on_eos"] else text
        self.equal(f"row {row}: text", result["text"], text)
        usage = result["usage"]
        self.equal(f"row {row}: usage.prompt_tokens", usage["prompt_tokens"], len(self.golden.ids(row)))
        self.equal(f"row {row}: usage.completion_tokens", usage["completion_tokens"], len(tokens))

    def check_prompt(self, result, dump, row):
        golden = self.golden
        self.equal(f"row {row}: input_ids", dump["input_ids"].tolist(), golden.ids(row))
        if golden.samples is None:
            return
        mask = golden.tensors["images_seq_mask"][row][golden.masks[row]]
        self.expect(f"row {row}: images_seq_mask", np.array_equal(dump["images_seq_mask"], mask))
        lengths = golden.samples[row]["num_image_tokens"]
        if len(lengths) == len(result["image_mask"]):
            self.equal(f"row {row}: image_mask", [length for _, length in result["image_mask"]], lengths)
        # Pictures without text between make one run of the mask.
        spans = np.zeros(len(mask), dtype=np.int8)
        for start, length in result["image_mask"]:
            spans[start : start + length] = 1
        self.equal(f"row {row}: image_mask", runs(spans), runs(mask))
        if "images_spatial_crop" in golden.tensors:
            crops = golden.samples[row]["images_spatial_crop"]
            self.equal(f"row {row}: images_spatial_crop", dump["images_spatial_crop"].tolist(), crops)

    def check_tokens(self, dump, row):
        """What has a row for each token of the prompt, and the logits."""
        golden, tensors = self.golden, self.golden.tensors
        kept, places = golden.stored(row)
        pairs = [(name, name, kind) for name, kind in TOKEN_TENSORS if name in dump]
        layers = max(int(name.split(".")[1]) for name in dump if name.startswith("hidden_states."))
        # The last hidden state of the official code is the one after the final norm.
        for layer in range(layers + 1):
            pairs.append(
                (f"hidden_{layer}", "final_norm" if layer == layers else f"hidden_states.{layer}", "hidden")
            )
        for name, dumped, kind in pairs:
            if name in tensors:
                self.close(kind, f"row {row}: {name}", dump[dumped][places], tensors[name][row][kept])
            if f"{name}_row_norm" in tensors:
                norms = np.linalg.norm(dump[dumped].astype(np.float64), axis=-1)
                wanted = tensors[f"{name}_row_norm"][row][golden.masks[row]]
                self.close(kind, f"row {row}: {name}, norms", norms, wanted)
        if "router_experts" in dump:
            experts = tensors["router_experts"][row][kept]
            self.expect(f"row {row}: router_experts", np.array_equal(dump["router_experts"][places], experts))
            weights = tensors["router_weights"][row][kept]
            self.close("router", f"row {row}: router_weights", dump["router_weights"][places], weights)
        self.check_first_logits("logits", dump, row)
        # The step that ends the answer counts, too.
        steps = dump["generated_logits"][: len(golden.greedy(row)[1]["ids"])]
        steps = np.array([golden.penalized(step, row, index) for index, step in enumerate(steps)])
        ids = tensors["step_top_ids"][row][: len(steps)].astype(np.int64)
        found = np.take_along_axis(steps, ids, axis=1)
        self.equal(f"row {row}: steps", len(steps), len(golden.greedy(row)[1]["ids"]))
        self.close(
            "steps", f"row {row}: step_top_logits", found, tensors["step_top_logits"][row][: len(steps)]
        )
        best = [int(np.argmax(step)) for step in steps]
        self.equal(f"row {row}: best of each step", best, ids[:, 0].tolist())

    def check_pixels(self, dumps):
        wanted = self.golden.json.get("pixels")
        if wanted is None:
            return
        parts = [dump["pixel_values"] for dump in dumps if "pixel_values" in dump]
        if not parts:
            self.problems.append("pixel_values: expected pictures, found none")
            return
        pixels = np.ascontiguousarray(np.concatenate(parts), dtype="<f4")
        self.equal("pixel_values, shape", list(pixels.shape), wanted["shape"])
        self.compared += 1
        if hashlib.sha256(pixels.tobytes()).hexdigest() == wanted["float32_sha256"]:
            return
        # The views as bytes say which one differs, if it is not the normalisation.
        views = np.rint((pixels.astype(np.float64) * 0.5 + 0.5) * 255).astype(np.uint8).transpose(0, 2, 3, 1)
        hashes = [hashlib.sha256(np.ascontiguousarray(view).tobytes()).hexdigest() for view in views]
        bad = [i for i, (a, b) in enumerate(zip(hashes, wanted["u8_per_view_sha256"])) if a != b]
        self.problems.append(f"pixel_values: another hash; views that differ as bytes: {bad or 'none'}")

    def check_tiles(self, dumps):
        """What has rows for each tile; the tiles of a batch's rows follow each other."""
        # A grid of the small pictures, [pictures, 3, side, side].
        small = [dump["low_images"] for dump in dumps if "low_images" in dump]
        if small and "low_images_grid" in self.golden.tensors:
            found = np.concatenate(small)
            found = found.reshape(len(found), 3, -1, found.shape[-1])[:, :, 5::16, 5::16]
            wanted = self.golden.tensors["low_images_grid"][self.filled_places()]
            self.close("vision", "low_images_grid", found, wanted)
        for name, kind in TILE_TENSORS:
            parts = [dump[name] for dump in dumps if name in dump]
            if not parts or name not in self.golden.tensors:
                continue
            found = np.concatenate(parts)
            stored = self.golden.json["stored_tiles"][name]
            tiles = stored["tiles"]
            wanted = self.golden.tensors[name]
            norms = self.golden.tensors.get(f"{name}_row_norm")
            places = self.filled_places()
            if places is not None:
                # Where each of our tiles lies among those of a batch that was filled up with empty pictures.
                order = {place: index for index, place in enumerate(places)}
                listed = range(len(wanted)) if tiles == "all" else tiles
                kept = [index for index, tile in enumerate(listed) if tile in order]
                tiles = [order[listed[index]] for index in kept]
                wanted = wanted[kept]
                norms = None if norms is None else norms[places]
            part = found if isinstance(tiles, str) else found[tiles]
            part = part if stored["tokens"] == "all" else part[:, stored["tokens"]]
            self.close(kind, name, part, wanted)
            if norms is not None:
                every = found[:, :: stored.get("row_norm_stride", 1)].astype(np.float64)
                self.close(kind, f"{name}, norms", np.linalg.norm(every, axis=-1), norms)

    def filled_places(self):
        """For DeepSeek-VL: the numbers of the real pictures, each row of a batch having as many as the longest."""
        mask = self.golden.tensors.get("images_emb_mask")
        if mask is None:
            return None
        return [int(place) for place in np.flatnonzero(mask.any(axis=-1).reshape(-1))]


def decoded_images(fixtures):
    """Pictures that another program decoded already, by the name of the file that they come from."""
    index = json.loads((fixtures / "images" / "index.json").read_text())
    return {name: fixtures / entry["decoded"] for name, entry in index.items() if entry.get("decoded")}


def report(checkpoint, cases):
    failed = [case for case in cases if case.problems]
    skipped = [case for case in cases if case.skipped]
    passed = len(cases) - len(failed) - len(skipped)
    comparisons = sum(case.compared for case in cases)
    print(
        f"{checkpoint}: {passed} of {len(cases)} cases passed, {len(failed)} failed, {len(skipped)} skipped; "
        f"{comparisons} comparisons"
    )
    for kind in TOLERANCE:
        worst = max(((*case.errors[kind], case.name) for case in cases if kind in case.errors), default=None)
        if worst:
            print(f"  {kind:<10} worst {worst[0]:.1e} of {TOLERANCE[kind]:.0e}  {worst[2]}: {worst[1]}")
    for case in skipped:
        print(f"  skipped {case.name}: {case.skipped}")
    for case in failed:
        print(f"  FAILED {case.name}")
        for problem in case.problems[:20]:
            print(f"    {problem}")
        if len(case.problems) > 20:
            print(f"    and {len(case.problems) - 20} more")


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path, nargs="?", help="the same as --fixtures")
    parser.add_argument("--fixtures", type=Path, help="folder with checkpoints, goldens and images")
    parser.add_argument("--binary", default=".build/release/deepseek-vl", help="the program (%(default)s)")
    parser.add_argument("--only", default="*", help="pattern of CHECKPOINT or CHECKPOINT/CASE (all)")
    parser.add_argument("--jobs", type=int, default=1, help="cases that run at a time (%(default)s)")
    parser.add_argument("--keep", type=Path, help="keeps conversations, answers and dumps in this folder")
    parser.add_argument(
        "--decoded", action="store_true", help="feeds images_decoded instead of JPEG, WebP and so on"
    )
    options = parser.parse_args()
    fixtures = options.fixtures or options.folder
    if fixtures is None:
        parser.error("--fixtures: expected a folder, found none")
    if not os.access(options.binary, os.X_OK):
        parser.error(f"--binary: expected a program, found none at {options.binary}")
    binary = Binary(options.binary)
    decoded = decoded_images(fixtures) if options.decoded else {}
    pattern = options.only if "/" in options.only else f"{options.only}/*"
    with tempfile.TemporaryDirectory() as temporary:
        root = options.keep or Path(temporary)
        groups = {}
        for path in sorted((fixtures / "goldens").glob("*/*.json")):
            checkpoint = path.parent.name
            if fnmatch.fnmatch(f"{checkpoint}/{path.stem}", pattern):
                folder = root / checkpoint / path.stem
                case = Case(binary, fixtures, checkpoint, path, folder, decoded)
                groups.setdefault(checkpoint, []).append(case)
        with ThreadPoolExecutor(max(1, options.jobs)) as pool:
            futures = {name: [pool.submit(case.run) for case in cases] for name, cases in groups.items()}
            for name, cases in futures.items():
                report(name, [case.result() for case in cases])
                sys.stdout.flush()
    cases = [case for group in groups.values() for case in group]
    if not cases:
        print(f"no case matches '{options.only}'")
    sys.exit(0 if cases and not any(case.problems for case in cases) else 1)


if __name__ == "__main__":
    main()
