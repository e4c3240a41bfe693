"""Writes Sources/VLText/UnicodeRanges.swift: the character classes that the pre-tokenizers tell apart.

    python3 Tools/unicode/generate.py > Sources/VLText/UnicodeRanges.swift

Categories come from Python's unicodedata, whose version is written into the file. The letters of the DeepSeek-LLM chain
are the explicit list of its pattern, read from a tokenizer.json given with --llm (it is the same in all of them).
"""
import argparse, json, sys, unicodedata

parser = argparse.ArgumentParser()
parser.add_argument("--llm", required=True, help="a tokenizer.json with the DeepSeek-LLM pre-tokenizer chain")
arguments = parser.parse_args()

LETTER, MARK, NUMBER, PUNCTUATION, SYMBOL, SPACE, CASED, LLM_PUNCTUATION, LLM_CJK, V3_CJK = (1 << n for n in range(10))
SPACES = [9, 10, 11, 12, 13, 0x20, 0x85, 0xA0, 0x1680, *range(0x2000, 0x200B), 0x2028, 0x2029, 0x202F, 0x205F, 0x3000]


def ranges_of(pattern):
    """The code points of the single [...] set in a pattern without escapes."""
    body = pattern[pattern.index("[") + 1 : pattern.rindex("]")]
    points, index = set(), 0
    while index < len(body):
        if index + 2 < len(body) and body[index + 1] == "-":
            points.update(range(ord(body[index]), ord(body[index + 2]) + 1))
            index += 3
        else:
            points.add(ord(body[index]))
            index += 1
    return points


steps = json.load(open(arguments.llm))["pre_tokenizer"]["pretokenizers"]
patterns = [step["pattern"]["Regex"] for step in steps if step["type"] == "Split"]
cased, punctuation, cjk = ranges_of(patterns[1]), ranges_of(patterns[2]), ranges_of(patterns[4])
v3 = set(range(0x4E00, 0x9FA6)) | set(range(0x3040, 0x30A0)) | set(range(0x30A0, 0x3100))

classes = []
for point in range(0x110000):
    category = unicodedata.category(chr(point))[0]
    bits = {"L": LETTER, "M": MARK, "N": NUMBER, "P": PUNCTUATION, "S": SYMBOL}.get(category, 0)
    bits |= SPACE if point in SPACES else 0
    bits |= (CASED if point in cased else 0) | (LLM_PUNCTUATION if point in punctuation else 0)
    bits |= (LLM_CJK if point in cjk else 0) | (V3_CJK if point in v3 else 0)
    classes.append(bits)
runs = []
for point, bits in enumerate(classes):
    if not runs or runs[-1][1] != bits:
        runs.append((point, bits))

print("// Made by Tools/unicode/generate.py; not edited by hand.")
print()
print("/// Where the character classes change, in rising order.")
print("enum UnicodeRanges {")
print("    /// Version of the Unicode Character Database that the categories come from.")
print(f'    static let version = "{unicodedata.unidata_version}"')
print("    /// First code point of each run, shifted left by 10, with the run's `CharacterClass` bits below.")
print("    static let runs: [UInt32] = [")
words = [str(point << 10 | bits) for point, bits in runs]
line = ""
for word in words:
    if len(line) + len(word) + 3 > 100:
        print("        " + line.rstrip())
        line = ""
    line += word + ", "
print("        " + line.rstrip())
print("    ]")
print("}")
