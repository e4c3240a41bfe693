#!/usr/bin/env python3
"""GPTQ by another hand: golden packings, golden codes, and a look at what `deepseek-vl gptq` wrote.

    pip install numpy safetensors
    python3 Tools/goldens/gptq.py make Tests/Fixtures/gptq/gptq.safetensors
    python3 Tools/goldens/gptq.py check ORIGINAL-FOLDER GPTQ-FOLDER

`make` draws codes, scales and zeros and packs them as GPTQModel's and AutoGPTQ's layers hold them; and it quantizes a
small matrix as the paper's Algorithm 1 does (arXiv:2210.17323): the inverse of the damped Hessian, Cholesky's upper
factor of it, columns in turn, each error spread over all later columns. All of it in float64, with scales that are given.
The quantizer of the program works with another factor and never inverts, so equal codes are no matter of course.

`check` unpacks each layer of a folder and prints its error against the original weights, relative to their square, and
what is wrong with shapes, types and settings; the exit status is 1 if anything is.
"""

import json
import sys
from pathlib import Path

import numpy as np
from safetensors.numpy import load_file, save_file

MAX_ERROR = 0.05


def pack_rows(codes):
    """[n, m] codes of 4 bits to int32 [n / 8, m]: eight rows a word, the first in the lowest bits."""
    n, m = codes.shape
    parts = codes.astype(np.uint32).reshape(n // 8, 8, m)
    words = np.zeros((n // 8, m), np.uint32)
    for i in range(8):
        words |= parts[:, i] << np.uint32(4 * i)
    return words.view(np.int32)


def unpack_rows(words):
    words = words.view(np.uint32)
    parts = [(words >> np.uint32(4 * i)) & 15 for i in range(8)]
    return np.stack(parts, 1).reshape(-1, words.shape[1]).astype(np.int64)


def packed(codes, scales, zeros, groups, offset):
    """A layer's tensors: codes [out, in], scales and zeros [out, groups], the group of each column."""
    return {
        "qweight": pack_rows(codes.T),
        # Zeros are packed along the outputs.
        "qzeros": np.ascontiguousarray(pack_rows((zeros - offset) & 15).T),
        "scales": np.ascontiguousarray(scales.T).astype(np.float16),
        "g_idx": groups.astype(np.int32),
    }


def algorithm_1(weights, hessian, order, scale_of, damping):
    """Codes [out, in] of symmetric 4 bits; `scale_of(column)` gives each row's scale."""
    n = len(order)
    h = hessian[np.ix_(order, order)] + damping * np.mean(np.diag(hessian)) * np.eye(n)
    upper = np.linalg.cholesky(np.linalg.inv(h)).T
    w = weights[:, order].astype(np.float64)
    codes = np.zeros(weights.shape, np.uint8)
    for k in range(n):
        scale = scale_of(order[k]).astype(np.float64)
        code = np.clip(np.floor(w[:, k] / scale + 8.5), 0, 15)
        codes[:, order[k]] = code
        error = (w[:, k] - scale * (code - 8)) / upper[k, k]
        w[:, k:] -= np.outer(error, upper[k, k:])
    return codes


def make(path):
    rng = np.random.default_rng(5)
    out, size, group = 24, 80, 32
    groups = (size + group - 1) // group
    tensors = {}
    codes = rng.integers(0, 16, (out, size)).astype(np.uint8)
    scales = (rng.standard_normal((out, groups)) * 0.01).astype(np.float16)
    natural = np.arange(size) // group
    shuffled = rng.permutation(natural)
    symmetric = np.full((out, groups), 8)
    zeros = rng.integers(0, 16, (out, groups))
    cases = {"symmetric": (symmetric, natural, 1), "act_order": (symmetric, shuffled, 1), "zeros": (zeros, shuffled, 0)}
    tensors["codes"] = codes
    tensors["scales"] = scales.astype(np.float32)
    for name, (zero, index, offset) in cases.items():
        tensors[f"{name}.zeros"] = zero.astype(np.int32)
        for part, values in packed(codes, scales, zero, index, offset).items():
            tensors[f"{name}.{part}"] = values

    # Inputs whose columns depend on each other, with some that are much larger than the others.
    out, size, rows = 16, 96, 160
    mixing = rng.standard_normal((size, size)) / np.sqrt(size) + np.eye(size)
    inputs = (rng.standard_normal((rows, size)) @ mixing) * np.exp(rng.standard_normal(size))
    inputs = inputs.astype(np.float32)
    weights = (rng.standard_normal((out, size)) * 0.05).astype(np.float32)
    hessian = inputs.astype(np.float64).T @ inputs.astype(np.float64)
    grid = (np.abs(weights.reshape(out, -1, 32)).max(2) / 7).astype(np.float16)
    for name, order in (("first", np.arange(size)), ("large", np.argsort(-np.diag(hessian), kind="stable"))):
        codes = algorithm_1(weights, hessian, order, lambda column: grid[:, column // 32], 0.01)
        tensors[f"algorithm.codes.{name}"] = codes
        missed = weights - grid.astype(np.float64).repeat(32, 1) * (codes.astype(np.float64) - 8)
        tensors[f"algorithm.error.{name}"] = np.array([np.trace(missed @ hessian @ missed.T)])
    tensors["algorithm.inputs"] = inputs
    tensors["algorithm.weights"] = weights
    tensors["algorithm.scales"] = grid.astype(np.float32)
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    save_file({key: np.ascontiguousarray(value) for key, value in tensors.items()}, path)


def load(folder):
    tensors = {}
    for file in sorted(Path(folder).glob("*.safetensors")):
        try:
            tensors.update(load_file(file))
        except TypeError:  # bfloat16
            import torch
            from safetensors.torch import load_file as load_torch

            for name, value in load_torch(file).items():
                tensors[name] = value.float().numpy() if value.dtype == torch.bfloat16 else value.numpy()
    return tensors


def check(original, quantized):
    problems = 0
    settings = json.loads((Path(quantized) / "config.json").read_text())["quantization_config"]
    if settings != json.loads((Path(quantized) / "quantize_config.json").read_text()):
        print("config.json and quantize_config.json differ")
        problems += 1
    offset = 1 if settings["checkpoint_format"] == "gptq" else 0
    group = settings["group_size"]
    was, now = load(original), load(quantized)
    seen, worst = set(), 0.0
    for name, weight in sorted(was.items()):
        stem = name.removesuffix(".weight")
        if f"{stem}.qweight" not in now:
            if name not in now or not np.array_equal(now[name], weight):
                print(f"{name}: missing or changed")
                problems += 1
            seen.add(name)
            continue
        parts = [now[f"{stem}.{part}"] for part in ("qweight", "qzeros", "scales", "g_idx")]
        seen.update(f"{stem}.{part}" for part in ("qweight", "qzeros", "scales", "g_idx"))
        codes, zeros = unpack_rows(parts[0]), unpack_rows(np.ascontiguousarray(parts[1].T)).T + offset
        scales, index = parts[2].astype(np.float64), parts[3]
        out, size = weight.shape
        groups = (size + group - 1) // group
        shapes = [(size // 8, out), (groups, out // 8), (groups, out), (size,)]
        types = [np.int32, np.int32, np.float16, np.int32]
        if [part.shape for part in parts] != shapes or [part.dtype for part in parts] != types:
            print(f"{stem}: shapes {[part.shape for part in parts]}, expected {shapes}")
            problems += 1
            continue
        counts = np.bincount(index, minlength=groups)
        if (not settings["desc_act"] and (np.diff(index) < 0).any()) or (counts[:-1] != group).any():
            print(f"{stem}: g_idx is not what the settings say")
            problems += 1
        values = (scales[index] * (codes - zeros[index])).T
        error = ((values - weight) ** 2).sum() / (weight.astype(np.float64) ** 2).sum()
        worst = max(worst, error)
        if error > MAX_ERROR:
            print(f"{stem}: error {error:.4f}")
            problems += 1
    if set(now) != seen:
        print("tensors of nothing:", sorted(set(now) - seen)[:5])
        problems += 1
    print(f"{len(was)} tensors, {sum(name.endswith('.qweight') for name in now)} packed, worst error {worst:.5f}")
    return problems


def main():
    match sys.argv[1:]:
        case ["make", path]:
            make(path)
        case ["check", original, quantized]:
            sys.exit(1 if check(original, quantized) else 0)
        case _:
            sys.exit(__doc__)


if __name__ == "__main__":
    main()
