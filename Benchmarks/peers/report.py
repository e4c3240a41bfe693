"""Turns results into lines and into the tables of a document."""

import re

BEGIN, END = "<!-- measured: begin -->", "<!-- measured: end -->"

SECTIONS = (
    ("decode", "Decode, 64 tokens"),
    ("prefill", "Prefill, 512 tokens"),
    ("vision", "Vision tower SigLIP-SO400M"),
    ("hybrid", "Vision tower of DeepSeek-VL-7B"),
    ("preprocess", "Pictures into tiles"),
    ("tokenizer", "Tokenizer"),
    ("load", "Start and load"),
    ("memory", "Peak resident memory, whole process"),
    ("ask", "The bundled model"),
    ("serving-rate", "Servers: requests a second"),
    ("serving-first", "Servers: time to the first token, median"),
)
SHAPE_ORDER = ("vl2-tiny", "vl2-small", "llm-7b", "smollm2")
TYPE_ORDER = ("bf16", "q8_0", "q4_0", "q4_k", "q4_1")


def number(value, unit):
    if unit == "bytes":
        return f"{value / 1e6:.0f} MB"
    if unit == "s":
        return f"{value * 1000:.1f} ms" if value < 0.1 else f"{value:.3f} s" if value < 10 else f"{value:.2f} s"
    if unit == "requests/s":
        return f"{value:.2f}"
    return f"{value:.1f}" if value < 1000 else f"{value:.0f}"


def figures(side, unit):
    """Median with least and greatest."""
    if not side:
        return ""
    values = [number(side[key], unit) for key in ("median", "min", "max")]
    words = values[0].split(" ")
    low, high = (value.split(" ")[0] for value in values[1:])
    same_unit = all(value.split(" ")[1:] == words[1:] for value in values)
    text = f"{words[0]} ({low}–{high})" if same_unit else f"{values[0]} ({values[1]}–{values[2]})"
    return f"{text} {words[1]}" if same_unit and words[1:] else text


def goal(record):
    """What was wanted, and whether it was reached."""
    wanted, words, missed = record["goal"], [], False
    if "ratio" in wanted:
        words.append(f"{wanted['ratio']:g}×")
        missed |= record["ratio"] < wanted["ratio"]
    if "share" in wanted and "share" in record:
        words.append(f"{wanted['share']:.0%}")
        missed |= record["share"] < wanted["share"]
    if "at_most" in wanted:
        words.append("≤ " + number(wanted["at_most"], record["unit"]))
        missed |= record["ours"]["median"] > wanted["at_most"]
    if not words:
        return ""
    return ", ".join(words) + (" **missed**" if missed else " reached")


def line(record):
    """One result for the terminal."""
    text = f"{record['key']}: ours {figures(record['ours'], record['unit'])}"
    if record["theirs"]:
        text += f", {record['peer']} {figures(record['theirs'], record['unit'])}: {record['ratio']:.2f}x"
    if "share" in record:
        text += f", {record['share']:.0%} of {record['share_of']} ({record['limit']:.1f})"
    if record["goal"]:
        text += f"; goal {goal(record)}"
    sides = [side for side in (record["ours"], record["theirs"]) if side]
    text += "; clean " + " ".join(f"{side['clean']}/{side['count']} (others up to {side['others']})" for side in sides)
    return text + ("; DISTURBED" if record["disturbed"] else "")


def order(record):
    words = record["key"].split("/")
    place = [SHAPE_ORDER.index(word) for word in words if word in SHAPE_ORDER]
    place += [TYPE_ORDER.index(word) for word in words if word in TYPE_ORDER]
    return place, record.get("depth", 0), record.get("clients", 0), record.get("threads", 0), record["key"]


def table(records):
    """The rows of one part; columns without content are left out."""
    columns = [("", lambda r: r["title"])]
    if any("threads" in record for record in records):
        columns.append(("threads", lambda r: str(r.get("threads", ""))))
    if any(record.get("depth") for record in records):
        columns.append(("depth", lambda r: str(r.get("depth", ""))))
    columns.append(("ours", lambda r: figures(r["ours"], r["unit"])))
    if any(record["theirs"] for record in records):
        columns.append(("theirs", lambda r: figures(r["theirs"], r["unit"])))
        columns.append(("ratio", lambda r: f"{r['ratio']:.2f}×" + (" †" if r["disturbed"] else "")))
    if any("share" in record for record in records):
        columns.append(("of the limit", lambda r: f"{r['share']:.0%} of {r['limit']:.0f}" if "share" in r else ""))
    if any(record["goal"] for record in records):
        columns.append(("goal", goal))
    columns.append(("commit", lambda r: r["commit"]))
    head = [name for name, _ in columns]
    rows = [[cell(record) for _, cell in columns] for record in records]
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(row) + " |" for row in lines)


def scaling(results):
    """Our own speed on two threads over that on one, for what was measured with both."""
    rows = []
    for key, record in sorted(results.items(), key=lambda item: order(item[1])):
        other = results.get(key.replace("/t2", "/t1"))
        if "/t2" not in key or not other or other is record or key.split("/")[0] not in ("decode", "prefill", "vision", "hybrid"):
            continue
        pair = (record["ours"]["median"], other["ours"]["median"])
        ratio = pair[0] / pair[1] if record["higher"] else pair[1] / pair[0]
        part = key.split("/")[0]
        wanted = "" if part == "decode" else "1.9× " + ("reached" if ratio >= 1.9 else "**missed**")
        rows.append(f"| {part}: {record['title']}{', depth %d' % record['depth'] if record.get('depth') else ''} | {ratio:.2f}× | {wanted} |")
    return "\n".join(["| | 2 threads over 1 | goal |", "|---|---|---|", *rows]) if rows else ""


def batching(results):
    """Requests a second with several clients over those with one."""
    rows = []
    for key, record in sorted(results.items(), key=lambda item: order(item[1])):
        alone = results.get(re.sub(r"/c\d+/", "/c1/", key))
        if not key.startswith("serving-rate/") or record.get("clients") == 1 or not alone:
            continue
        gain = {side: record[side]["median"] / alone[side]["median"] for side in ("ours", "theirs")}
        rows.append(f"| {record['title']}, {record['threads']} threads | {gain['ours']:.2f}× | {gain['theirs']:.2f}× |")
    return "\n".join(["| requests a second, over those of one client | ours | theirs |", "|---|---|---|", *rows]) if rows else ""


def depth_loss(results):
    """Decode at depth 4096 beside depth 0."""
    rows = []
    for key, record in sorted(results.items(), key=lambda item: order(item[1])):
        deep = results.get(key.removesuffix("/d0") + "/d4096")
        if not key.startswith("decode/") or not key.endswith("/d0") or not deep:
            continue
        loss = {side: 1 - deep[side]["median"] / record[side]["median"] for side in ("ours", "theirs")}
        latent = "/vl2-small/" in key
        wanted = ("≤ 15% " + ("reached" if loss["ours"] <= 0.15 else "**missed**")) if latent else ""
        rows.append(f"| {record['title']}, {record['threads']} threads | {loss['ours']:.0%} | {loss['theirs']:.0%} | {wanted} |")
    return "\n".join(["| slower at depth 4096 than at 0 | ours | theirs | goal |", "|---|---|---|---|", *rows]) if rows else ""


def text(results):
    parts = []
    machines = sorted({record["machine"] for record in results.values()})
    dates = sorted({record["date"] for record in results.values()})
    if machines:
        span = dates[0] if dates[0] == dates[-1] else f"{dates[0]} to {dates[-1]}"
        parts.append(f"Measured {span} on {'; '.join(machines)}.")
    for part, title in SECTIONS:
        records = sorted((record for key, record in results.items() if key.split("/")[0] == part), key=order)
        if records:
            parts.append(f"### {title}\n\n{table(records)}")
    for title, rows in (("Threads", scaling(results)), ("Depth", depth_loss(results)), ("Batching", batching(results))):
        if rows:
            parts.append(f"### {title}\n\n{rows}")
    if any(record["disturbed"] for record in results.values()):
        parts.append("† no measurement of one of the sides was free of other processes' work: the figure is not reliable.")
    return "\n\n".join(parts)


def write(path, results):
    """Rewrites what stands between the markers of a document."""
    content = path.read_text(encoding="utf-8")
    if BEGIN not in content or END not in content:
        raise SystemExit(f"{path}: expected the lines '{BEGIN}' and '{END}', found no such lines")
    pattern = re.escape(BEGIN) + ".*?" + re.escape(END)
    fresh = f"{BEGIN}\n\n{text(results)}\n\n{END}"
    path.write_text(re.sub(pattern, lambda _: fresh, content, flags=re.DOTALL), encoding="utf-8")
