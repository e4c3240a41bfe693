"""Makes the files of this folder from the golden fixtures; everything is checked against their SHA-256.

Usage: extract.py FIXTURES

Pictures of tiles are stored as one PNG with the tiles below each other.
"""

import hashlib
import json
import os
import shutil
import struct
import sys
import zlib

import numpy as np

HERE = os.path.dirname(os.path.abspath(__file__))
FLOAT_CASES = ["s03_tile32_crop", "s04_tile32_crop"]


def write_png(path, pixels):
    """Writes [height, width, 3] bytes; the filter of all rows is the one that gives the smaller file."""
    height, width, _ = pixels.shape
    best = None
    for kind in (0, 1, 2):
        work = pixels.astype(np.int16)
        if kind == 1:
            work[:, 1:] -= pixels[:, :-1]
        if kind == 2:
            work[1:] -= pixels[:-1]
        rows = (work & 255).astype(np.uint8).reshape(height, width * 3)
        rows = np.concatenate([np.full((height, 1), kind, np.uint8), rows], axis=1)
        data = zlib.compress(rows.tobytes(), 9)
        if best is None or len(data) < len(best):
            best = data

    def chunk(name, data):
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    with open(path, "wb") as file:
        file.write(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", best) + chunk(b"IEND", b""))


def read_png(path):
    """Reads an 8-bit RGB PNG that is not interlaced."""
    with open(path, "rb") as file:
        data = file.read()
    place, packed = 8, b""
    while place < len(data):
        length, name = struct.unpack(">I4s", data[place:place + 8])
        body = data[place + 8:place + 8 + length]
        if name == b"IHDR":
            width, height, *rest = struct.unpack(">IIBBBBB", body)
            if rest != [8, 2, 0, 0, 0]:
                raise ValueError(f"{path}: not plain RGB")
        if name == b"IDAT":
            packed += body
        place += 12 + length
    raw = zlib.decompress(packed)
    stride = width * 3
    above = np.zeros(stride, np.int32)
    out = np.zeros((height, stride), np.uint8)
    for y in range(height):
        kind = raw[y * (stride + 1)]
        line = np.frombuffer(raw, np.uint8, stride, y * (stride + 1) + 1).astype(np.int32)
        if kind == 1:
            line = np.cumsum(line.reshape(-1, 3), axis=0).reshape(-1) & 255
        elif kind == 2:
            line = (line + above) & 255
        elif kind >= 3:
            left, corner = [0, 0, 0], [0, 0, 0]
            values = line.tolist()
            for x, up in enumerate(above.tolist()):
                a, c = left[x % 3], corner[x % 3]
                if kind == 3:
                    guess = (a + up) >> 1
                else:
                    p = a + up - c
                    pa, pb, pc = abs(p - a), abs(p - up), abs(p - c)
                    guess = a if pa <= pb and pa <= pc else up if pb <= pc else c
                values[x] = left[x % 3] = (values[x] + guess) & 255
                corner[x % 3] = up
            line = np.array(values, np.int32)
        out[y] = line
        above = line
    return out.reshape(height, width, 3)


def fnv(data):
    """FNV-1a with 64 bits."""
    value = 0xCBF29CE484222325
    for byte in data:
        value = ((value ^ byte) * 0x100000001B3) & 0xFFFFFFFFFFFFFFFF
    return f"{value:016x}"


def need(condition, what):
    if not condition:
        raise ValueError(what)


def tensors(path):
    with open(path, "rb") as file:
        data = file.read()
    size = struct.unpack("<Q", data[:8])[0]
    for name, entry in json.loads(data[8:8 + size]).items():
        if name != "__metadata__" and entry["dtype"] == "U8":
            first, last = entry["data_offsets"]
            yield name, np.frombuffer(data[8 + size + first:8 + size + last], np.uint8).reshape(entry["shape"])


def dump(name, entries):
    with open(f"{HERE}/{name}", "w", encoding="utf-8") as file:
        file.write("[\n" + ",\n".join(json.dumps(entry) for entry in entries) + "\n]\n")


def main(fixtures):
    for folder in ["files", "decoded", "views", "sources"]:
        os.makedirs(f"{HERE}/{folder}", exist_ok=True)

    # Pictures and what they decode to.
    with open(f"{fixtures}/images/index.json", encoding="utf-8") as file:
        index = json.load(file)
    listed = []
    for name, entry in index.items():
        shutil.copyfile(f"{fixtures}/images/{name}", f"{HERE}/files/{name}")
        golden = f"{fixtures}/{entry['decoded']}" if entry.get("decoded") else f"{fixtures}/images/{name}"
        pixels = read_png(golden)
        need(hashlib.sha256(pixels.tobytes()).hexdigest() == entry["rgb_sha256"], name)
        item = {"name": name, "format": entry["format"], "width": entry["width"], "height": entry["height"]}
        item["orientation"] = entry.get("exif_orientation", 1)
        item["fnv"] = fnv(pixels.tobytes())
        if entry.get("decoded") and os.path.getsize(golden) < 100_000:
            item["decoded"] = os.path.basename(golden)
            shutil.copyfile(golden, f"{HERE}/decoded/{item['decoded']}")
        listed.append(item)
    dump("files.json", listed)

    # The table of best resolutions, columns of a candidate as its number.
    with open(f"{fixtures}/preprocess/select_best_resolution.json", encoding="utf-8") as file:
        tables = json.load(file)["tables"]
    dump(
        "best_resolution.json",
        [{key: table[key] for key in ["name", "candidates", "rows"]} for table in tables],
    )
    candidates = next(table["candidates"] for table in tables if table["name"] == "tile384")

    # Tiles.
    with open(f"{fixtures}/preprocess/vl2_views.json", encoding="utf-8") as file:
        views = json.load(file)
    stored = dict(tensors(f"{fixtures}/preprocess/vl2_views.safetensors"))
    listed = []
    for entry in views["small"]:
        key, crop = entry["key"], entry["crop"]
        source = entry["source"]
        shutil.copyfile(f"{fixtures}/preprocess/sources/{source}", f"{HERE}/sources/{source}")
        item = {name: entry[name] for name in ["key", "source", "tile", "cropping", "crop"]}
        tiles = stored.get(key)
        if tiles is None:
            first = stored[key.replace("_nocrop", "_crop")][0]
            tiles = np.stack([first, first])
        planes = (tiles.astype(np.float32) / np.float32(255) - np.float32(0.5)) / np.float32(0.5)
        planes = np.ascontiguousarray(planes.transpose(0, 3, 1, 2)).astype("<f4")
        need(hashlib.sha256(planes.tobytes()).hexdigest() == entry["float32_nchw_sha256"], key)
        if key in FLOAT_CASES:
            with open(f"{HERE}/views/{key}.f32", "wb") as file:
                file.write(planes.tobytes())
            item["planes"] = f"{key}.f32"
        if key in stored:
            write_png(f"{HERE}/views/{key}.png", tiles.reshape(-1, *tiles.shape[2:]))
        listed.append(item)
    dump("views.json", listed)

    # Real tile size: some rows of each view.
    listed = []
    for entry in views["full384"]:
        key = next(name for name in stored if name == "full384_" + entry["image"].replace(".", "_"))
        write_png(f"{HERE}/views/{key}.png", stored[key].reshape(-1, 384, 3))
        listed.append({"key": key, "source": entry["image"], "rows": entry["rows"], "crop": entry["crop"]})
    dump("full_views.json", listed)
    need(len(candidates) == 23, "candidates")


if __name__ == "__main__":
    main(*sys.argv[1:])
