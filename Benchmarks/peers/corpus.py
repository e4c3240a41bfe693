"""What is measured with, made from scratch and the same on every machine: a photograph, a text, a processor's folder."""

import gzip
import json
import pathlib
import random
import shutil

from measuring import Failed, execute

MEGABYTE = 1_000_000


def photograph(context):
    """A JPEG of 4000 by 3000 pixels with gradients, edges and grain, about as large as a camera's."""
    path = context.work / "photograph.jpg"
    if not path.exists():
        program = """
import sys
import numpy as np
from PIL import Image, ImageDraw, ImageFilter
random = np.random.default_rng(1)
y, x = np.mgrid[0:3000, 0:4000].astype(np.float32)
planes = [np.sin(x / a + y / b) * 60 + x / 40 + 60 for a, b in ((700, 300), (450, 800), (900, 500))]
picture = Image.fromarray(np.clip(np.stack(planes, -1), 0, 255).astype(np.uint8))
draw = ImageDraw.Draw(picture)
for _ in range(400):
    left, top = random.integers(0, 4000), random.integers(0, 3000)
    size = random.integers(10, 400)
    draw.ellipse((left, top, left + size, top + size * random.uniform(0.3, 1)), tuple(random.integers(0, 256, 3)))
picture = picture.filter(ImageFilter.GaussianBlur(2))
grain = random.normal(0, 4, (3000, 4000, 1)).astype(np.float32)
Image.fromarray(np.clip(np.asarray(picture) + grain, 0, 255).astype(np.uint8)).save(sys.argv[1], quality=92)
"""
        execute([context.python, "-c", program, path])
    return path


def processor_folder(context):
    """A folder with DeepSeek-VL2's tiling: the bundled model's files, with the published resolutions."""
    source, folder = context.root / "Models/shapes-vl2", context.work / "processor"
    folder.mkdir(exist_ok=True)
    for name in ("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json"):
        shutil.copy(source / name, folder / name)
    resolutions = [[384 * across, 384 * down] for across in range(1, 10) for down in range(1, 10) if across * down <= 9]
    for name in ("config.json", "processor_config.json"):
        content = json.loads((source / name).read_text(encoding="utf-8"))
        content["candidate_resolutions"] = resolutions
        if "vision_config" in content:
            content["vision_config"].update(image_size=384, patch_size=14)
        else:
            content["patch_size"] = 14
        (folder / name).write_text(json.dumps(content), encoding="utf-8")
    return folder


def vocabulary(context):
    """The tokenizer.json to measure with, unpacked."""
    given = context.options.tokenizer
    if not given:
        raise Failed("tokenizer: expected --tokenizer, a checkpoint's tokenizer.json")
    path = pathlib.Path(given)
    if path.suffix != ".gz":
        return path
    target = context.work / path.stem
    if not target.exists():
        target.write_bytes(gzip.decompress(path.read_bytes()))
    return target


def texts(context, tokenizer):
    """Two texts of a megabyte: code and English prose of this repository, and Chinese, in turns of some kilobytes.

    There is no Chinese prose in the repository. It is drawn from the vocabulary's own Chinese words, common ones more
    often, with punctuation between: as varied as prose, if without meaning.
    """
    draw = random.Random(1)
    pieces = {"code": [], "prose": []}
    for pattern, kind in (("Sources/**/*.swift", "code"), ("Sources/**/*.c", "code"), ("**/*.md", "prose")):
        for path in sorted(context.root.glob(pattern)):
            if ".build" in str(path.relative_to(context.root)):
                continue
            text = path.read_text(encoding="utf-8")
            pieces[kind] += [text[place : place + 3000] for place in range(0, len(text), 3000)]
    pieces["prose"] += comments(pieces["code"])
    words = chinese_words(tokenizer)
    result = []
    for _ in range(2):
        parts, size = [], 0
        while size < MEGABYTE:
            for kind in ("code", "prose", "chinese"):
                piece = chinese(draw, words) if kind == "chinese" else draw.choice(pieces[kind])
                parts.append(piece)
                size += len(piece.encode())
        text = "\n".join(parts).encode()[:MEGABYTE].decode("utf-8", "ignore")
        result.append(text)
    return result


def comments(code):
    """The comments of code, joined: more English prose."""
    lines = [line.strip().lstrip("/ ") for piece in code for line in piece.splitlines() if line.strip().startswith("//")]
    return [" ".join(lines[place : place + 40]) for place in range(0, len(lines), 40)]


def chinese_words(tokenizer):
    """Words of Chinese characters in the vocabulary, in its order, which is that of their frequency."""
    vocabulary = json.loads(pathlib.Path(tokenizer).read_text(encoding="utf-8"))["model"]["vocab"]
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    bytes_of = {chr(value): value for value in printable}
    bytes_of |= {chr(256 + place): value for place, value in enumerate(sorted(set(range(256)) - set(printable)))}
    words = []
    for word in sorted(vocabulary, key=vocabulary.get):
        try:
            text = bytes(bytes_of[letter] for letter in word).decode("utf-8")
        except (KeyError, UnicodeDecodeError):
            continue
        if text and all("\u4e00" <= letter <= "\u9fff" for letter in text):
            words.append(text)
    if not words:
        raise Failed("tokenizer: expected Chinese words in the vocabulary, found none")
    return words


def chinese(draw, words):
    sentences = []
    for _ in range(30):
        count = draw.randint(4, 18)
        chosen = [words[int(len(words) * draw.random() ** 3)] for _ in range(count)]
        place = draw.randint(2, count)
        sentences.append("".join(chosen[:place]) + draw.choice(["，", "、", ""]) + "".join(chosen[place:]) + draw.choice("。。。！？"))
    return "".join(sentences)
