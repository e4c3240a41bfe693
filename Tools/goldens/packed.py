#!/usr/bin/env python3
"""Makes small layers packed as GPTQ and AWQ tools pack them, with the values that they stand for.

    pip install torch numpy safetensors
    python3 Tools/goldens/packed.py --out Tests/Fixtures/models/packed [--gptqmodel FOLDER --autoawq FOLDER]

Codes, zeros and scales are drawn at random, packed with PyTorch, and multiplied out as (code - zero) * scale in float32.
With the unpacked source distributions of gptqmodel (7.7.0 was used) and autoawq (0.2.9), their own functions pack the
same layers - `pack_original` and the step from zeros as they are to zeros less one of the first, `WQLinear_GEMM` and
`WQLinear_GEMV` of the second - and every tensor must be equal; their functions that multiply out must give these values,
too. They are run from their source alone, as installing them takes CUDA.

Writes packed.safetensors, NAME.layer.{qweight,qzeros,scales,g_idx} and NAME.golden for each case, and packed.json with
`quantization_config` of each case and the shape [outputs, inputs].
"""

import argparse
import ast
import json
import math
import types
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file

# AutoAWQ packs multiples of 32 only.
OUTPUTS = {"gptq": 24, "gptq_v2": 24, "gemm": 32, "gemv": 32}
AWQ_ORDER = [0, 2, 4, 6, 1, 3, 5, 7]
ONES = 0x11111111

# name: inputs, group size, symmetric, columns in act-order, layout, type of the scales
CASES = {
    "gptq-sym": (96, 32, True, False, "gptq", torch.float16),
    "gptq-asym": (96, 32, False, False, "gptq", torch.float16),
    "gptq-v2": (96, 32, False, False, "gptq_v2", torch.float16),
    "gptq-act": (128, 32, True, True, "gptq", torch.float16),
    "gptq-act-asym": (128, 64, False, True, "gptq_v2", torch.float16),
    "gptq-row": (96, -1, False, False, "gptq", torch.float16),
    "gptq-ragged": (96, 64, False, False, "gptq", torch.float16),
    "gptq-small": (64, 16, False, False, "gptq", torch.float16),
    "gptq-act-ragged": (80, 32, True, True, "gptq", torch.float16),
    "gptq-bf16": (64, 32, True, False, "gptq", torch.bfloat16),
    "gptq-f32": (64, 32, True, False, "gptq", torch.float32),
    "awq-gemm": (96, 32, False, False, "gemm", torch.float16),
    "awq-gemv": (128, 64, False, False, "gemv", torch.float16),
}


def int32(words):
    return torch.from_numpy(np.asarray(words, dtype=np.uint64).astype(np.uint32).view(np.int32).copy())


def pack_rows(codes):
    """[n, m] codes to [n / 8, m] words, the first row lowest."""
    codes = codes.numpy().astype(np.uint64).reshape(-1, 8, codes.shape[1])
    return int32(sum(codes[:, i] << np.uint64(4 * i) for i in range(8)))


def pack_columns(codes, order=range(8)):
    """[n, m] codes to [n, m / 8] words; place i of a word has column order[i]."""
    codes = codes.numpy().astype(np.uint64).reshape(codes.shape[0], -1, 8)
    return int32(sum(codes[:, :, column] << np.uint64(4 * i) for i, column in enumerate(order)))


def draw(name, inputs, outputs, size, symmetric, act_order, dtype):
    """Codes [inputs, outputs], zeros and scales [groups, outputs], the group of each input."""
    generator = torch.Generator().manual_seed(sum(name.encode()))
    size = inputs if size < 0 else size
    groups = math.ceil(inputs / size)
    codes = torch.randint(0, 16, (inputs, outputs), generator=generator)
    zeros = torch.randint(0, 16, (groups, outputs), generator=generator)
    if symmetric:
        zeros = torch.full_like(zeros, 8)
    scales = (torch.rand((groups, outputs), generator=generator) * 0.02 + 0.001).to(dtype)
    index = torch.arange(inputs) // size
    if act_order:
        # The inputs that matter most were quantized first and share the first group.
        index = index[torch.argsort(torch.randperm(inputs, generator=generator))]
    return codes, zeros, scales, index.to(torch.int32)


def pack(layout, codes, zeros, scales, index, size):
    if layout in ("gptq", "gptq_v2"):
        packed = pack_columns(zeros)
        if layout == "gptq":
            # A subtraction from whole words: a zero of 0 borrows from its neighbour.
            packed = packed - ONES
        return {"qweight": pack_rows(codes), "qzeros": packed, "scales": scales, "g_idx": index}
    if layout == "gemm":
        return {
            "qweight": pack_columns(codes, AWQ_ORDER),
            "qzeros": pack_columns(zeros, AWQ_ORDER),
            "scales": scales,
        }
    groups = zeros.shape[0]
    multiple = {32: 4, 64: 2}.get(size, 1)
    width = math.ceil(math.ceil(groups / 8) / multiple) * multiple
    wide = torch.zeros((zeros.shape[1], 8 * width), dtype=zeros.dtype)
    wide[:, :groups] = zeros.T
    wide_scales = torch.zeros((zeros.shape[1], 8 * width), dtype=scales.dtype)
    wide_scales[:, :groups] = scales.T
    return {"qweight": pack_columns(codes.T), "qzeros": pack_columns(wide), "scales": wide_scales}


def functions(file, names, scope):
    """Functions of a source file by name, run on their own."""
    found = {}
    for node in ast.walk(ast.parse(Path(file).read_text())):
        if isinstance(node, ast.FunctionDef) and node.name in names and node.name not in found:
            node.decorator_list = []
            for argument in node.args.args:
                argument.annotation = None
            node.returns = None
            module = ast.Module(body=[node], type_ignores=[])
            exec(compile(ast.fix_missing_locations(module), str(file), "exec"), scope)
            found[node.name] = scope[node.name]
    missing = set(names) - set(found)
    if missing:
        raise SystemExit(f"{file}: no {', '.join(sorted(missing))}")
    return found


class Anything:
    """Takes every call."""

    def __getattr__(self, name):
        return self

    def __call__(self, *a, **k):
        return self

    def __enter__(self):
        return self

    def __exit__(self, *a):
        return None


def check_gptq(folder, layout, tensors, golden, zeros, scales, index):
    """GPTQModel's packing of the values, and its way back."""
    scope = {
        "t": torch, "torch": torch, "nn": torch.nn, "np": np, "math": math, "THREADPOOLCTL": Anything(), "log": Anything(),
        "_ConvNd": (), "transformers": types.SimpleNamespace(pytorch_utils=types.SimpleNamespace(Conv1D=())),
        "BaseQuantLinear": object, "PLANAR_BITS": (5, 6, 7),
    }
    base = Path(folder) / "gptqmodel"
    pack_original = functions(base / "nn_modules/qlinear/__init__.py", ["pack_original"], scope)["pack_original"]
    conversion = ["convert_gptq_v1_to_v2_format_module", "convert_gptq_v2_to_v1_format_module"]
    convert = functions(base / "utils/model.py", conversion, scope)
    unpack = functions(base / "utils/model_dequant.py", ["unpack_cols", "unpack_rows"], scope)
    layer = types.SimpleNamespace(
        bits=4, maxq=15, pack_factor=8, planar=False, pack_dtype=torch.int32, pack_dtype_bits=32,
        pack_np_math_dtype=np.uint64, pack_np_dtype=np.int32,
    )
    layer.qzero_format = lambda format: None
    layer.register_buffer = lambda name, value: setattr(layer, name, value)
    linear = types.SimpleNamespace(weight=torch.nn.Parameter(golden, requires_grad=False), bias=None)
    pack_original(layer, linear, scales.float().T, zeros.float().T, index)
    if layout == "gptq":
        layer.qzeros = torch.nn.Parameter(layer.qzeros, requires_grad=False)
        convert[conversion[1]](layer, layer)
    for name in ("qweight", "qzeros"):
        assert torch.equal(getattr(layer, name), tensors[name]), name
    if layout == "gptq":
        convert[conversion[0]](layer, 4, torch.int32)
    back = (unpack["unpack_rows"](tensors["qweight"], 4) - unpack["unpack_cols"](layer.qzeros, 4)[index.long()]).float()
    assert torch.equal((back * scales.float()[index.long()]).T, golden), "values"


def check_awq(folder, layout, tensors, golden, zeros, scales, size):
    """AutoAWQ's packing of the values, and its way back."""
    base = Path(folder) / "awq"
    scope = {"torch": torch, "nn": torch.nn, "get_best_device": lambda: "cpu"}
    scope["make_divisible"] = lambda count, divisor: (count + divisor - 1) // divisor
    file = base / f"modules/linear/{layout}.py"
    tree = ast.parse(file.read_text())
    wanted = {"WQLinear_GEMM", "WQLinear_GEMV", "calculate_zeros_width"}
    body = [n for n in tree.body if isinstance(n, (ast.ClassDef, ast.FunctionDef)) and n.name in wanted]
    exec(compile(ast.Module(body=body, type_ignores=[]), str(file), "exec"), scope)
    outputs, inputs = golden.shape
    linear = torch.nn.Linear(inputs, outputs, bias=False)
    linear.weight.data = golden
    # The one wants a row for each group, the other a row for each output.
    turn = (lambda x: x) if layout == "gemm" else (lambda x: x.T.contiguous())
    layer = scope["WQLinear_" + layout.upper()].from_linear(
        linear, 4, size, scales=turn(scales), zeros=turn(zeros.float())
    )
    for name in ("qweight", "qzeros", "scales"):
        assert torch.equal(getattr(layer, name), tensors[name]), name
    if layout == "gemm":
        file = base / "utils/packing_utils.py"
        exec(compile(file.read_text(), str(file), "exec"), scope)
        back = scope["dequantize_gemm"](tensors["qweight"], tensors["qzeros"], scales.float(), 4, size)
        assert torch.equal(back.T, golden), "values"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", required=True)
    parser.add_argument("--gptqmodel")
    parser.add_argument("--autoawq")
    options = parser.parse_args()
    out, all_tensors, table = Path(options.out), {}, {}
    for name, (inputs, size, symmetric, act_order, layout, dtype) in CASES.items():
        codes, zeros, scales, index = draw(name, inputs, OUTPUTS[layout], size, symmetric, act_order, dtype)
        tensors = pack(layout, codes, zeros, scales, index, size)
        group = index.long()
        golden = ((codes - zeros[group]).float() * scales.float()[group]).T.contiguous()
        checked = "packed here"
        if layout.startswith("gptq") and options.gptqmodel:
            check_gptq(options.gptqmodel, layout, tensors, golden, zeros, scales, index)
            checked = "as gptqmodel packs it"
        if layout.startswith("gem") and options.autoawq:
            check_awq(options.autoawq, layout, tensors, golden, zeros, scales, size)
            checked = "as autoawq packs it"
        print(f"{name}: {checked}")
        for key, value in tensors.items():
            all_tensors[f"{name}.layer.{key}"] = value.contiguous()
        all_tensors[f"{name}.golden"] = golden
        config = {"quant_method": layout[:4] if layout.startswith("gptq") else "awq", "bits": 4, "group_size": size}
        if layout.startswith("gptq"):
            config |= {"desc_act": act_order, "sym": symmetric, "checkpoint_format": layout}
        else:
            config |= {"zero_point": not symmetric, "version": layout}
        table[name] = {"quantization_config": config, "shape": list(golden.shape)}
    out.mkdir(parents=True, exist_ok=True)
    save_file(all_tensors, out / "packed.safetensors")
    (out / "packed.json").write_text(json.dumps(table, indent=1) + "\n")


if __name__ == "__main__":
    main()
