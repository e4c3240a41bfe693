#!/usr/bin/env python3
"""Converts GGUF files that this program has not written into folders, and compares their answers.

    pip install numpy gguf
    python3 Tools/peers/foreign.py --binary .build/release/deepseek-vl [MODEL.gguf ...]

Without files, it writes some from the small checkpoints in Tests/Fixtures with llama.cpp's own Python package: names from
its tables, keys by its writer, rows turned, experts stacked and latent attention split as its converter does. Each file
goes through `convert --outfolder --type f32`; then file and folder continue the same texts in float32, and their greedy
tokens must be equal. Exit status 1 if any is not.
"""

import argparse
import json
import struct
import subprocess
import sys
import tempfile
from pathlib import Path

import gguf
import numpy as np

FIXTURES = Path(__file__).resolve().parents[2] / "Tests/Fixtures/models/checkpoints"
TEXTS = [
    "The capital of France is", "Once upon a time, in a small village by the sea,", "def fibonacci(n):\n    ",
    "1, 2, 3, 4, 5, 6,", "Die Hauptstadt von Deutschland ist", "naïve 日本語 <ø> \t\r\n x", "In 1969, astronauts landed on",
    "SELECT name, price FROM", "Dear Sir or Madam,\n\nI am writing to", "   leading spaces and trailing   ",
]
TYPES = {"F32": np.float32, "F16": np.float16}


def tensors(folder, prefix):
    for path in sorted(folder.glob("*.safetensors")):
        data = path.read_bytes()
        size = struct.unpack("<Q", data[:8])[0]
        for name, entry in json.loads(data[8 : 8 + size]).items():
            if name == "__metadata__" or not name.startswith(prefix) or name.endswith("inv_freq"):
                continue
            begin, end = (8 + size + offset for offset in entry["data_offsets"])
            values = np.frombuffer(data[begin:end], TYPES[entry["dtype"]]).reshape(entry["shape"])
            yield name[len(prefix) :], values


def turned(values, heads):
    return values.reshape(heads, 2, values.shape[0] // heads // 2, *values.shape[1:]).swapaxes(1, 2).reshape(values.shape)


def vocabulary(writer, folder, size):
    file = json.loads((folder / "tokenizer.json").read_text())
    settings = json.loads((folder / "tokenizer_config.json").read_text())
    ids = dict(file["model"]["vocab"])
    added = {token["content"]: token for token in file["added_tokens"]}
    ids.update({text: token["id"] for text, token in added.items()})
    texts = {number: text for text, number in ids.items()}
    tokens, kinds = [], []
    for number in range(size):
        text = texts.get(number, f"[PAD{number}]")
        special = added.get(text, {}).get("special")
        kinds.append(
            gguf.TokenType.UNUSED if number not in texts
            else gguf.TokenType.NORMAL if text not in added
            else gguf.TokenType.CONTROL if special else gguf.TokenType.USER_DEFINED
        )
        tokens.append(text)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("deepseek-v3" if folder.name.startswith("vl2") else "deepseek-llm")
    writer.add_token_list(tokens)
    writer.add_token_types(kinds)
    writer.add_token_merges([m if isinstance(m, str) else " ".join(m) for m in file["model"]["merges"]])
    for key, add in [("bos_token", writer.add_bos_token_id), ("eos_token", writer.add_eos_token_id)]:
        token = settings[key]
        add(ids[token["content"] if isinstance(token, dict) else token])
    writer.add_add_bos_token(True)


def write(kind, folder, path):
    config = json.loads((folder / "config.json").read_text())
    inner = config.get("language_config", config)
    defaults = {"num_attention_heads": 32, "rms_norm_eps": 1e-6, "rope_theta": 10000.0, "max_position_embeddings": 2048}
    config = {**defaults, **{key: value for key, value in inner.items() if value is not None}}
    prefix = {"vl2": "language.", "vl-": "language_model."}.get(folder.name[:3], "")
    heads = config["num_attention_heads"]
    key_heads = config.get("num_key_value_heads", heads)
    latent = kind == "deepseek2"
    writer = gguf.GGUFWriter(path, kind)
    writer.add_block_count(config["num_hidden_layers"])
    writer.add_context_length(config["max_position_embeddings"])
    writer.add_embedding_length(config["hidden_size"])
    writer.add_feed_forward_length(config["intermediate_size"])
    writer.add_head_count(heads)
    writer.add_head_count_kv(1 if latent else key_heads)
    writer.add_rope_freq_base(config["rope_theta"])
    writer.add_layer_norm_rms_eps(config["rms_norm_eps"])
    writer.add_vocab_size(config["vocab_size"])
    scaling = config.get("rope_scaling")
    if scaling and scaling["type"] == "linear":
        writer.add_rope_scaling_type(gguf.RopeScalingType.LINEAR)
        writer.add_rope_scaling_factor(scaling["factor"])
    if latent:
        rank, rope, plain = (config[key] for key in ("kv_lora_rank", "qk_rope_head_dim", "qk_nope_head_dim"))
        writer.add_kv_lora_rank(rank)
        if config.get("q_lora_rank"):
            writer.add_q_lora_rank(config["q_lora_rank"])
        writer.add_key_length(rank + rope)
        writer.add_value_length(rank)
        writer.add_key_length_mla(plain + rope)
        writer.add_value_length_mla(config["v_head_dim"])
        writer.add_rope_dimension_count(rope)
        if scaling and scaling["type"] == "yarn":
            writer.add_rope_scaling_type(gguf.RopeScalingType.YARN)
            writer.add_rope_scaling_factor(scaling["factor"])
            writer.add_rope_scaling_orig_ctx_len(scaling["original_max_position_embeddings"])
            writer.add_rope_scaling_yarn_log_mul(0.1 * scaling["mscale_all_dim"])
    else:
        writer.add_rope_dimension_count(config["hidden_size"] // heads)
    if kind != "llama":
        writer.add_leading_dense_block_count(config["first_k_dense_replace"])
        writer.add_expert_count(config["n_routed_experts"])
        writer.add_expert_used_count(config["num_experts_per_tok"])
        writer.add_expert_shared_count(config["n_shared_experts"])
        writer.add_expert_feed_forward_length(config["moe_intermediate_size"])
        writer.add_expert_weights_scale(config.get("routed_scaling_factor", 1.0))
        writer.add_expert_weights_norm(bool(config.get("norm_topk_prob")))
        if config.get("n_group", 1) > 1:
            writer.add_expert_group_count(config["n_group"])
            writer.add_expert_group_used_count(config["topk_group"])
        sigmoid = config.get("scoring_func") == "sigmoid"
        writer.add_expert_gating_func(gguf.ExpertGatingFuncType.SIGMOID if sigmoid else gguf.ExpertGatingFuncType.SOFTMAX)
    vocabulary(writer, folder, config["vocab_size"])
    architecture = {name: number for number, name in gguf.MODEL_ARCH_NAMES.items()}[kind]
    names = gguf.get_tensor_name_map(architecture, config["num_hidden_layers"])

    def add(name, values):
        found = names.get_name(name, try_suffixes=(".weight", ".bias"))
        # Vectors and the experts' gate are float32 in every file.
        wide = values.ndim == 1 or ".mlp.gate." in name
        writer.add_tensor(found, values.astype(np.float32) if wide else np.ascontiguousarray(values))

    experts = {}
    for name, values in tensors(folder, prefix):
        if kind in ("llama", "deepseek") and ".q_proj." in name:
            values = turned(values, heads)
        if kind in ("llama", "deepseek") and ".k_proj." in name:
            values = turned(values, key_heads)
        if ".mlp.experts." in name:
            head, rest = name.split(".experts.")
            number, part = rest.split(".", 1)
            experts.setdefault(f"{head}.experts.{part}", {})[int(number)] = values
        elif name.endswith("kv_b_proj.weight"):
            both = values.reshape(heads, plain + config["v_head_dim"], rank)
            add(name.replace("kv_b_proj", "k_b_proj"), both[:, :plain].swapaxes(1, 2))
            add(name.replace("kv_b_proj", "v_b_proj"), both[:, plain:])
        else:
            add(name.replace("e_score_correction_bias", "e_score_correction.bias"), values)
    for name, parts in experts.items():
        add(name, np.stack([parts[number] for number in sorted(parts)]))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def compare(binary, file, work):
    folder = work / (file.stem + ".folder")
    done = subprocess.run([binary, "convert", file, "--outfolder", folder, "--type", "f32"], capture_output=True)
    if done.returncode != 0:
        print(f"{file.name}: {done.stderr.decode().strip()}")
        return False
    equal = 0
    for text in TEXTS:
        answers = []
        for model in (file, folder):
            found = subprocess.run(
                [binary, "complete", "--model", model, "--compute", "float32", "--max-tokens", "24", "--format", "json", text],
                capture_output=True, check=True,
            )
            report = json.loads(found.stdout)
            answers.append((report["prompt_tokens"], report["tokens"]))
        equal += answers[0] == answers[1]
    print(f"{file.name}: {equal} of {len(TEXTS)} answers equal")
    return equal == len(TEXTS)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--binary", default=".build/release/deepseek-vl")
    parser.add_argument("files", nargs="*", type=Path)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        files = list(options.files)
        if not files:
            for kind, name in [
                ("llama", "llm-linear"), ("llama", "vl-7b-like"), ("deepseek", "vl2-mha"), ("deepseek2-ocr", "vl2-mha"),
                ("deepseek2", "vl2-mla-full"),
            ]:
                files.append(work / f"{kind}-{name}.gguf")
                write(kind, FIXTURES / name, files[-1])
        results = [compare(options.binary, file, work) for file in files]
    sys.exit(0 if all(results) else 1)


if __name__ == "__main__":
    main()
