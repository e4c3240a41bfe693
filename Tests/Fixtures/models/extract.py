"""Copies this folder's checkpoints, cases, building blocks and pictures from the golden fixtures.

Usage: extract.py FIXTURES

The fixtures hold what the official code computes; a line of CASES is a checkpoint and the cases that tests compare.
"""

import json
import os
import shutil
import sys

import numpy as np
from safetensors.numpy import load_file, save_file

HERE = os.path.dirname(os.path.abspath(__file__))
CASES = {
    "vl2-mha": "batch_left_pad eos_stop format_cmyk_jpg landscape system_role text_chinese three_over_turns two_images",
    "vl2-mla-full": "assistant_prefix batch_text_and_image grounding_tokens landscape",
    "vl-7b-like": "multi_turn text_only",
    "llm-linear": "batch_left_pad chat_multi_turn chat_system chat_untrimmed completion_empty "
    "completion_special eos_stop repetition_penalty",
}
UNITS = "aligner llama_rope mla_rope moe_gate projector sam"
# Float pictures before and after the resize between DeepSeek-VL's two towers.
RESIZES = [(16, 24), (40, 15), (64, 24)]


def main(fixtures):
    for checkpoint, cases in CASES.items():
        target = f"{HERE}/checkpoints/{checkpoint}"
        shutil.rmtree(target, ignore_errors=True)
        shutil.copytree(f"{fixtures}/checkpoints/{checkpoint}", target)
        os.makedirs(f"{HERE}/goldens/{checkpoint}", exist_ok=True)
        for case in cases.split():
            for suffix in ["json", "safetensors"]:
                name = f"goldens/{checkpoint}/{case}.{suffix}"
                shutil.copyfile(f"{fixtures}/{name}", f"{HERE}/{name}")
    for unit in UNITS.split():
        for suffix in ["json", "safetensors"]:
            shutil.copyfile(f"{fixtures}/units/{unit}.{suffix}", f"{HERE}/units/{unit}.{suffix}")
    views = load_file(f"{fixtures}/preprocess/vl_views.safetensors")
    planes = {}
    for old, new in RESIZES:
        for end in ["in", "out"]:
            name = f"{old}_{new}_{end}"
            planes[name] = np.ascontiguousarray(views[f"hybrid_resize_{name}"])
    save_file(planes, f"{HERE}/units/plane_resize.safetensors")
    with open(f"{HERE}/units/plane_resize.json", "w", encoding="utf-8") as file:
        json.dump({f"{old}_{new}": {"from": old, "to": new} for old, new in RESIZES}, file, indent=1)


if __name__ == "__main__":
    main(*sys.argv[1:])
