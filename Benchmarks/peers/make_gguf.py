#!/usr/bin/env python3
"""Writes GGUF files with random weights at the shapes of published checkpoints, for measuring llama.cpp.

    make_gguf.py SHAPE TYPE [--out FOLDER] [--mla-type TYPE]

Shapes: vl2-tiny (llama.cpp's architecture deepseek2-ocr), vl2-small (deepseek2 with latent attention), llm-7b (llama).
Types:  bf16, q8_0, q4_0, q4_k.

The blocks are drawn directly: random codes under scales that give numbers of a sensible size. Rounding random numbers
would give random codes too, at a hundred times the cost, and no kernel's time depends on which codes it meets. Which
type a matrix has follows the rules of our own `--weights` (WeightPolicy.swift), so that both programs read the same
number of bytes for a token; the sum is printed, by group.
"""

import argparse
import pathlib
import sys
from dataclasses import dataclass

import numpy as np
from gguf import GGMLQuantizationType as Q
from gguf import GGUFWriter, TokenType

TYPES = {"bf16": Q.BF16, "q8_0": Q.Q8_0, "q4_0": Q.Q4_0, "q4_k": Q.Q4_K}

# Values and bytes of a block.
BLOCK = {
    Q.F32: (1, 4),
    Q.BF16: (1, 2),
    Q.Q8_0: (32, 34),
    Q.Q4_0: (32, 18),
    Q.Q5_0: (32, 22),
    Q.Q4_K: (256, 144),
    Q.Q6_K: (256, 210),
}

# Where a block's scales lie, and the factor of each: 1 over the typical size of a code (times that of a sub-scale).
SCALES = {
    Q.Q8_0: [(0, 1 / 74)],
    Q.Q4_0: [(0, 1 / 4.6)],
    Q.Q5_0: [(0, 1 / 9.2)],
    Q.Q4_K: [(0, 1 / (36 * 5)), (2, 7.5 / (36 * 5))],
    Q.Q6_K: [(208, 1 / (74 * 18))],
}


@dataclass
class Shape:
    """A language model's sizes, as in its config.json."""

    arch: str
    hidden: int
    ffn: int
    layers: int
    heads: int
    vocab: int
    context: int = 4096
    experts: int = 0
    used: int = 0
    shared: int = 0
    expert_ffn: int = 0
    dense: int = 0
    # Latent attention: rank of the latent, then the sizes of a head's parts.
    rank: int = 0
    nope: int = 0
    rope: int = 0
    value: int = 0


SHAPES = {
    "vl2-tiny": Shape(
        "deepseek2-ocr", 1280, 6848, 12, 10, 129280, experts=64, used=6, shared=2, expert_ffn=896, dense=1
    ),
    "vl2-small": Shape(
        "deepseek2", 2048, 10944, 27, 16, 102400, experts=64, used=6, shared=2, expert_ffn=1408, dense=1,
        rank=512, nope=128, rope=64, value=128,
    ),
    "llm-7b": Shape("llama", 4096, 11008, 30, 32, 102400),
}


def tensors(shape):
    """Yields (name, dimensions with the row's length last, kind); kind decides the type."""
    hidden = shape.hidden
    yield "token_embd.weight", (shape.vocab, hidden), "matrix"
    yield "output_norm.weight", (hidden,), "norm"
    yield "output.weight", (shape.vocab, hidden), "head"
    for layer in range(shape.layers):
        blk = f"blk.{layer}."
        yield blk + "attn_norm.weight", (hidden,), "norm"
        yield blk + "ffn_norm.weight", (hidden,), "norm"
        if shape.rank:
            yield blk + "attn_q.weight", (shape.heads * (shape.nope + shape.rope), hidden), "matrix"
            yield blk + "attn_kv_a_mqa.weight", (shape.rank + shape.rope, hidden), "matrix"
            yield blk + "attn_kv_a_norm.weight", (shape.rank,), "norm"
            yield blk + "attn_k_b.weight", (shape.heads, shape.rank, shape.nope), "mla"
            yield blk + "attn_v_b.weight", (shape.heads, shape.value, shape.rank), "mla"
            yield blk + "attn_output.weight", (hidden, shape.heads * shape.value), "matrix"
        else:
            for name in ("q", "k", "v", "output"):
                yield f"{blk}attn_{name}.weight", (hidden, hidden), "matrix"
        if layer < shape.dense or not shape.experts:
            yield blk + "ffn_gate.weight", (shape.ffn, hidden), "matrix"
            yield blk + "ffn_up.weight", (shape.ffn, hidden), "matrix"
            yield blk + "ffn_down.weight", (hidden, shape.ffn), "matrix"
            continue
        yield blk + "ffn_gate_inp.weight", (shape.experts, hidden), "gate"
        for suffix, count in (("exps", None), ("shexp", shape.shared)):
            if count is None:
                front, width = (shape.experts,), shape.expert_ffn
            else:
                front, width = (), shape.expert_ffn * count
            yield f"{blk}ffn_gate_{suffix}.weight", (*front, width, hidden), "matrix"
            yield f"{blk}ffn_up_{suffix}.weight", (*front, width, hidden), "matrix"
            yield f"{blk}ffn_down_{suffix}.weight", (*front, hidden, width), "matrix"


def type_of(kind, columns, wanted, mla):
    """The type of a matrix: what WeightPolicy.swift chooses for `--weights wanted`."""
    if kind in ("norm", "gate"):
        return Q.F32
    if kind == "mla":
        wanted = mla
    elif kind == "head" and wanted in (Q.Q4_0, Q.Q4_K):
        wanted = Q.Q6_K
    if columns % BLOCK[wanted][0] == 0:
        return wanted
    return {Q.Q4_K: Q.Q5_0, Q.Q6_K: Q.Q8_0}[wanted]


def byte_count(dimensions, kind):
    values, size = BLOCK[kind]
    return int(np.prod(dimensions)) // values * size


def draw(random, dimensions, kind, is_norm):
    """A tensor's bytes, shaped as the gguf package wants them: rows of bytes for block types, numbers for F32."""
    columns = dimensions[-1]
    scale = 1.0 / columns**0.5
    if kind == Q.F32:
        numbers = random.standard_normal(dimensions, dtype=np.float32)
        return 1 + numbers * np.float32(0.03) if is_norm else numbers * np.float32(scale)
    values, size = BLOCK[kind]
    rows, blocks = int(np.prod(dimensions[:-1])), columns // values
    if kind == Q.BF16:
        out = np.empty((rows, columns), np.uint16)
        step = max(1, (1 << 24) // columns)
        for row in range(0, rows, step):
            part = random.random((min(step, rows - row), columns), dtype=np.float32)
            part -= np.float32(0.5)
            part *= np.float32(scale * 12**0.5)
            out[row : row + len(part)] = part.view(np.uint32) >> 16
        return out.view(np.uint8).reshape(*dimensions[:-1], columns * 2)
    out = random.integers(0, 256, rows * blocks * size, dtype=np.uint8).reshape(rows * blocks, size)
    for offset, factor in SCALES[kind]:
        out[:, offset : offset + 2] = np.frombuffer(np.float16(scale * factor).tobytes(), np.uint8)
    return out.reshape(*dimensions[:-1], blocks * size)


def metadata(writer, shape):
    writer.add_context_length(shape.context)
    writer.add_embedding_length(shape.hidden)
    writer.add_block_count(shape.layers)
    writer.add_feed_forward_length(shape.ffn)
    writer.add_head_count(shape.heads)
    # The latent is shared by all heads: to llama.cpp that is one head of keys.
    writer.add_head_count_kv(1 if shape.rank else shape.heads)
    writer.add_layer_norm_rms_eps(1e-6)
    writer.add_rope_freq_base(10000.0)
    writer.add_rope_dimension_count(shape.rope or shape.hidden // shape.heads)
    writer.add_vocab_size(shape.vocab)
    vocabulary(writer, shape)
    if shape.experts:
        writer.add_leading_dense_block_count(shape.dense)
        writer.add_expert_feed_forward_length(shape.expert_ffn)
        writer.add_expert_count(shape.experts)
        writer.add_expert_used_count(shape.used)
        writer.add_expert_shared_count(shape.shared)
    if shape.rank:
        writer.add_kv_lora_rank(shape.rank)
        writer.add_key_length(shape.rank + shape.rope)
        writer.add_value_length(shape.rank)
        writer.add_key_length_mla(shape.nope + shape.rope)
        writer.add_value_length_mla(shape.value)


def vocabulary(writer, shape):
    """A vocabulary of the right size: bytes, then names without meaning. The measurements feed token numbers."""
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = [value for value in range(256) if value not in printable]
    letters = {value: chr(value) for value in printable} | {value: chr(256 + n) for n, value in enumerate(others)}
    tokens = ["<s>", "</s>", *(letters[value] for value in range(256))]
    tokens += [f"t{number}" for number in range(len(tokens), shape.vocab)]
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("deepseek-v3" if shape.vocab == 129280 else "deepseek-llm")
    writer.add_token_list(tokens)
    writer.add_token_types([TokenType.CONTROL] * 2 + [TokenType.NORMAL] * (shape.vocab - 2))
    writer.add_token_merges(["t258 0"])
    writer.add_bos_token_id(0)
    writer.add_eos_token_id(1)


def group_of(name):
    for key, group in (
        ("_exps", "experts"), ("_shexp", "shared experts"), ("attn_", "attention"), ("token_embd", "embedding"),
        ("output.weight", "head"), ("ffn_gate_inp", "gate"), ("ffn_norm", "norms"), ("output_norm", "norms"),
    ):
        if key in name:
            return "norms" if name.endswith("norm.weight") else group
    return "dense layers"


def report(shape, wanted, mla):
    """Prints bytes by group: in the file, and read for one token. Returns the latter's sum."""
    groups = {}
    for name, dimensions, kind in tensors(shape):
        type_ = type_of(kind, dimensions[-1], wanted, mla)
        size = byte_count(dimensions, type_)
        active = size
        if "_exps" in name:
            active = size * shape.used // shape.experts
        elif name.startswith("token_embd"):
            active = size // shape.vocab
        group = groups.setdefault(group_of(name), [0, 0, set()])
        group[0] += size
        group[1] += active
        group[2].add(type_.name)
    print(f"{'':16}{'file MB':>10}{'a token MB':>12}  types")
    for name, (size, active, names) in groups.items():
        print(f"{name:16}{size / 1e6:10.1f}{active / 1e6:12.3f}  {', '.join(sorted(names))}")
    size, active = (sum(group[place] for group in groups.values()) for place in (0, 1))
    print(f"{'sum':16}{size / 1e6:10.1f}{active / 1e6:12.3f}")
    return active


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("shape", choices=SHAPES)
    parser.add_argument("type", choices=TYPES)
    parser.add_argument("--out", default=".build-peers/gguf", help="folder of the file (default %(default)s)")
    parser.add_argument(
        "--mla-type",
        choices=TYPES,
        default="bf16",
        help="type of attn_k_b and attn_v_b; ours keeps kv_b_proj in bfloat16 in block types (default %(default)s)",
    )
    parser.add_argument("--dry-run", action="store_true", help="print the sizes, write nothing")
    options = parser.parse_args()
    shape, wanted, mla = SHAPES[options.shape], TYPES[options.type], TYPES[options.mla_type]
    report(shape, wanted, mla)
    if options.dry_run:
        return
    suffix = f"-mla-{options.mla_type}" if shape.rank and options.mla_type != "bf16" else ""
    path = pathlib.Path(options.out) / f"{options.shape}-{options.type}{suffix}.gguf"
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_suffix(".part")
    writer = GGUFWriter(unfinished, shape.arch)
    metadata(writer, shape)
    plan = []
    for name, dimensions, kind in tensors(shape):
        type_ = type_of(kind, dimensions[-1], wanted, mla)
        size = byte_count(dimensions, type_)
        if type_ == Q.F32:
            writer.add_tensor_info(name, dimensions, np.dtype(np.float32), size, type_)
        else:
            values, bytes_ = BLOCK[type_]
            row = dimensions[-1] // values * bytes_
            writer.add_tensor_info(name, (*dimensions[:-1], row), np.dtype(np.uint8), size, type_)
        plan.append((dimensions, type_, kind == "norm"))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_ti_data_to_file()
    random = np.random.Generator(np.random.SFC64(1))
    for dimensions, type_, is_norm in plan:
        writer.write_tensor_data(draw(random, dimensions, type_, is_norm))
    writer.close()
    unfinished.rename(path)
    print(path)


if __name__ == "__main__":
    sys.exit(main())
