"""The peers that are Python libraries, each in a process of its own that measures on request.

    workers.py siglip --threads 2 --tiles 4
    workers.py hybrid --threads 2
    workers.py pillow PICTURE
    workers.py tokenizers TOKENIZER.json TEXT

A worker prepares itself, prints "ready", and then answers every line of standard input by a line with the seconds that
one measurement took. So it is loaded once, sleeps while the other side runs, and is warm when it is its turn.
"""

import argparse
import gc
import os
import sys
import time


def serve(measure, warm=1):
    for _ in range(warm):
        measure()
    gc.collect()
    gc.disable()
    print("ready", flush=True)
    for _ in sys.stdin:
        print(measure(), flush=True)


def timed(body):
    def measure():
        start = time.perf_counter()
        body()
        return time.perf_counter() - start

    return measure


def siglip_model(**sizes):
    import torch
    from transformers import SiglipVisionConfig, SiglipVisionModel

    # VL2 takes the features of the last layer: no pooling head.
    config = SiglipVisionConfig(image_size=384, vision_use_head=False, attn_implementation="sdpa", **sizes)
    return SiglipVisionModel(config).to(torch.bfloat16).eval()


def siglip(options):
    import torch

    torch.set_num_threads(options.threads)
    torch.manual_seed(1)
    model = siglip_model(
        hidden_size=1152, intermediate_size=4304, num_hidden_layers=27, num_attention_heads=16, patch_size=14
    )
    pixels = torch.rand(options.tiles, 3, 384, 384, dtype=torch.bfloat16) * 2 - 1
    with torch.inference_mode():
        serve(timed(lambda: model(pixels)))


def hybrid(options):
    import torch
    from torch import nn
    from transformers import SamVisionConfig, SamVisionModel
    from transformers.models.sam.modeling_sam import SamVisionNeck

    torch.set_num_threads(options.threads)
    torch.manual_seed(1)
    low = siglip_model(
        hidden_size=1024, intermediate_size=4096, num_hidden_layers=24, num_attention_heads=16, patch_size=16
    )
    config = SamVisionConfig(attn_implementation="sdpa", initializer_range=0.02)
    high = SamVisionModel(config).to(torch.bfloat16).eval()
    # What DeepSeek-VL adds to SAM: a second neck for the details of the first global layer, and a stretch to 96 x 96
    # positions that two convolutions bring to 24 x 24, SigLIP's number.
    details = SamVisionNeck(config).to(torch.bfloat16).eval()
    shrink = nn.Sequential(
        nn.Conv2d(256, 512, 3, stride=2, padding=1, bias=False), nn.Conv2d(512, 1024, 3, stride=2, padding=1, bias=False)
    ).to(torch.bfloat16)
    kept = {}

    def keep(module, inputs, output):
        kept["global"] = output[0] if isinstance(output, tuple) else output

    high.vision_encoder.layers[config.global_attn_indexes[0]].register_forward_hook(keep)

    def finish(features):
        wide = nn.functional.interpolate(features.float(), size=(96, 96), mode="bilinear", align_corners=False)
        return shrink(wide.to(torch.bfloat16))

    large = torch.rand(1, 3, 1024, 1024, dtype=torch.bfloat16) * 2 - 1
    small = torch.rand(1, 3, 384, 384, dtype=torch.bfloat16) * 2 - 1

    def run():
        coarse = finish(high(large).last_hidden_state)
        fine = finish(details(kept["global"]))
        return low(small).last_hidden_state, coarse + 0.1 * fine

    with torch.inference_mode():
        serve(timed(run))


# The published list of DeepSeek-VL2's processor_config.json.
RESOLUTIONS = [
    (384 * across, 384 * down) for across in range(1, 10) for down in range(1, 10) if across * down <= 9
]


def best_resolution(width, height):
    best, best_pixels, best_waste = None, -1, 0
    for w, h in RESOLUTIONS:
        scale = min(w / width, h / height)
        pixels = min(int(width * scale) * int(height * scale), width * height)
        waste = w * h - pixels
        if pixels > best_pixels or (pixels == best_pixels and waste < best_waste):
            best, best_pixels, best_waste = (w, h), pixels, waste
    return best


def pillow(options):
    from PIL import Image, ImageOps

    grey = (127, 127, 127)

    def run():
        with Image.open(options.picture) as file:
            picture = ImageOps.exif_transpose(file).convert("RGB")
        width, height = best_resolution(*picture.size)
        views = [ImageOps.pad(picture, (384, 384), color=grey)]
        padded = ImageOps.pad(picture, (width, height), color=grey)
        for top in range(0, height, 384):
            for left in range(0, width, 384):
                views.append(padded.crop((left, top, left + 384, top + 384)))
        return [view.tobytes() for view in views]

    if options.dump:
        sys.stdout.buffer.write(b"".join(run()))
        return
    serve(timed(run))


def tokenizers(options):
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    os.environ["RAYON_NUM_THREADS"] = "1"
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(options.tokenizer)
    text = open(options.text, encoding="utf-8", newline="").read()
    if options.count:
        print(len(tokenizer.encode(text, add_special_tokens=False).ids))
        return
    # A text is encoded once in its life: what an earlier measurement left in the cache of words does not count.
    clear = getattr(tokenizer.model, "_clear_cache", None)

    def measure():
        if clear:
            clear()
        return timed(lambda: tokenizer.encode(text, add_special_tokens=False))()

    serve(measure)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    kinds = parser.add_subparsers(required=True)
    for function in (siglip, hybrid):
        kind = kinds.add_parser(function.__name__)
        kind.add_argument("--threads", type=int, required=True)
        kind.add_argument("--tiles", type=int, default=1)
        kind.set_defaults(run=function)
    kind = kinds.add_parser("pillow")
    kind.add_argument("picture")
    kind.add_argument("--dump", action="store_true", help="write the tiles' bytes, measure nothing")
    kind.set_defaults(run=pillow)
    kind = kinds.add_parser("tokenizers")
    kind.add_argument("tokenizer")
    kind.add_argument("text")
    kind.add_argument("--count", action="store_true", help="print the number of tokens, measure nothing")
    kind.set_defaults(run=tokenizers)
    options = parser.parse_args()
    options.run(options)


if __name__ == "__main__":
    main()
