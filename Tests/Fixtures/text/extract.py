"""Makes the files of this folder and of ../badfiles/{tokenizer,images} from the golden fixtures.

Usage: extract.py FIXTURES BADFILES
"""

import glob
import json
import os
import shutil
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
TINY = ["tiny-llm-linear", "tiny-llm-mha", "tiny-vl-1.3b-like", "tiny-vl2-mha", "tiny-vl2-mla"]


def conversations(fixtures):
    """One entry for each sample of the golden cases of vl2-mha."""
    for path in sorted(glob.glob(f"{fixtures}/goldens/vl2-mha/*.json")):
        with open(path, encoding="utf-8") as file:
            case = json.load(file)
        given = case["input"]
        for index, messages in enumerate(given.get("batch", [given.get("conversation")])):
            sample = case["samples"][index]
            entry = {"name": f"{case['case']}[{index}]"}
            if messages is None:
                entry["prompt"] = given["prompt"]
                entry["wrap"] = given.get("apply_sft_format", False)
            else:
                entry["messages"] = [
                    [m["role"], m["content"], len(m.get("images", []))] for m in messages
                ]
            if "system_prompt" in given:
                entry["system"] = given["system_prompt"]
            entry["sft_format"] = sample["sft_format"]
            entry["ids"] = sample["input_ids_run_length"]
            yield entry


def main(fixtures, badfiles):
    for name in TINY:
        golden = f"{fixtures}/tokenizer/{name}.json"
        with open(golden, encoding="utf-8") as file:
            tokenizer = json.load(file)["tokenizer"]
        shutil.copyfile(golden, f"{HERE}/{name}.golden.json")
        shutil.copyfile(f"{fixtures}/{tokenizer}", f"{HERE}/{name}.tokenizer.json")
    with open(f"{HERE}/conversations.json", "w", encoding="utf-8") as file:
        lines = [json.dumps(entry, ensure_ascii=True) for entry in conversations(fixtures)]
        file.write("[\n" + ",\n".join(lines) + "\n]\n")

    with open(f"{badfiles}/manifest.json", encoding="utf-8") as file:
        entries = json.load(file)["entries"]
    for folder in ["tokenizer", "images"]:
        target = f"{HERE}/../badfiles/{folder}"
        os.makedirs(target, exist_ok=True)
        header = "file, what must happen (either: only no crash and no hang), what is wrong with it"
        if folder == "images":
            header += ", size when upright"
        with open(f"{target}/expectations.tsv", "w", encoding="utf-8") as file:
            file.write(f"# {header}; separated by tabs\n")
            for entry in entries:
                if not entry["file"].startswith(folder + "/"):
                    continue
                name = entry["file"].split("/", 1)[1]
                shutil.copyfile(f"{badfiles}/{entry['file']}", f"{target}/{name}")
                fields = [name, "either" if entry["either_ok"] else entry["expected"], entry["wrong"]]
                if "want_size" in entry:
                    fields.append("x".join(str(side) for side in entry["want_size"]))
                file.write("\t".join(fields) + "\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
