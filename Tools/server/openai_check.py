#!/usr/bin/env python3
"""Drives a server of the bundled model with the official OpenAI client, which checks every answer strictly.

    pip install openai
    python3 Tools/server/openai_check.py [--binary .build/release/deepseek-vl]

Starts the server itself, on a port that the system chooses. Exit status 1 if anything is not as it should be.
"""

import argparse
import base64
import json
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import openai

ROOT = Path(__file__).resolve().parents[2]


def check(what, holds):
    print(("ok      " if holds else "FAILED  ") + what)
    return holds


def picture(name):
    data = base64.b64encode((ROOT / "Examples" / name).read_bytes()).decode()
    return {"type": "image_url", "image_url": {"url": "data:image/png;base64," + data}}


def refused(call, kind, code):
    try:
        call()
    except kind as error:
        return error.code == code and error.response.headers.get("x-request-id", "").startswith("req_")
    return False


def checks(client, strange):
    chat = client.chat.completions.create
    ask = [{"role": "user", "content": "How many shapes are there?"}]
    seen = [{"role": "user", "content": [picture("shapes.png"), {"type": "text", "text": "Where is the red ring?"}]}]
    common = {"model": "m", "max_tokens": 40}

    yield "models are listed and found", client.models.list().data[0].id == "m" == client.models.retrieve("m").id

    whole = chat(messages=ask, temperature=0.7, seed=5, logprobs=True, top_logprobs=3, **common)
    again = chat(messages=ask, temperature=0.7, seed=5, **common)
    text = whole.choices[0].message.content
    yield "a seed gives the same answer again", bool(text) and text == again.choices[0].message.content
    entries = whole.choices[0].logprobs.content
    usage = whole.usage
    yield "each token has its probability and the best three", (
        len(entries) == usage.completion_tokens and all(len(e.top_logprobs) == 3 and e.logprob <= 0 for e in entries)
    )
    yield "the tokens' bytes are the answer", bytes(b for e in entries for b in e.bytes).decode() == text
    yield "the usage adds up", usage.total_tokens == usage.prompt_tokens + usage.completion_tokens

    chunks = list(
        chat(messages=ask, temperature=0.7, seed=5, stream=True, stream_options={"include_usage": True}, **common)
    )
    joined = "".join(c.choices[0].delta.content or "" for c in chunks if c.choices)
    yield "a stream gives the same text", joined == text
    yield "a stream ends with the same usage", chunks[-1].usage.completion_tokens == usage.completion_tokens

    several = chat(messages=ask, n=3, temperature=1, seed=1, **common)
    alone = [chat(messages=ask, temperature=1, seed=1 + i, **common) for i in range(3)]
    yield "n answers are those of n seeds", (
        [c.message.content for c in several.choices] == [a.choices[0].message.content for a in alone]
    )

    image = chat(messages=seen, temperature=0, **common)
    warm = chat(messages=seen, temperature=0, **common)
    details = warm.usage.model_dump()["prompt_tokens_details"]
    yield "a picture is counted, and kept for the next request", (
        details["image_tokens"] > 0
        and details["cached_tokens"] > 0
        and image.choices[0].message.content == warm.choices[0].message.content
    )
    text_part = {"type": "text", "text": "Where is <|ref|>the purple ring<|/ref|>?"}
    where = [{"role": "user", "content": [picture("ring-and-cross.png"), text_part]}]
    found = chat(messages=where, temperature=0, **common)
    boxes = found.choices[0].message.model_dump()["grounding"]
    yield "boxes are data", [(b["label"], b["box"]) for b in boxes] == [("the purple ring", [100, 200, 400, 920])]
    streamed = []
    for chunk in chat(messages=where, temperature=0, stream=True, **common):
        streamed += chunk.choices[0].delta.model_dump().get("grounding") or []
    yield "a stream has the same boxes", streamed == boxes
    found = chat(messages=where, temperature=1.5, seed=3, extra_body={"grounding": {"constrain": True}}, **common)
    yield "constrained boxes are legal at any temperature", not found.choices[0].message.model_dump().get(
        "grounding_problems"
    )
    schema = {
        "type": "object",
        "properties": {"colour": {"enum": ["red", "purple"]}, "count": {"type": "integer", "minimum": 1, "maximum": 9}},
        "required": ["colour", "count"],
        "additionalProperties": False,
    }
    form = {"type": "json_schema", "json_schema": {"name": "thing", "strict": True, "schema": schema}}
    found = json.loads(chat(messages=where, response_format=form, **common).choices[0].message.content)
    yield "an answer fits its schema", list(found) == ["colour", "count"] and found["count"] in range(1, 10)
    schema["not"] = {}
    yield "a schema with an unknown keyword is refused", refused(
        lambda: chat(messages=where, response_format=form, **common), openai.BadRequestError, "invalid_schema"
    )

    stop = chat(messages=ask, temperature=0, stop=[text[:1]] if text else None, **common)
    yield "a stop string is not part of the answer", text[:1] not in stop.choices[0].message.content

    # Without logprobs: the first echoed token has the value null, as OpenAI sends it, which the strict client refuses.
    score = client.completions.create(model="m", prompt=[[5, 6, 7]], max_tokens=1, echo=True, temperature=0)
    yield "completions echo and take token ids", score.choices[0].text.startswith("#$%")

    with ThreadPoolExecutor(16) as pool:
        texts = list(pool.map(lambda i: chat(messages=ask, temperature=0.7, seed=5, **common), range(16)))
    yield "sixteen at once get what one gets", {t.choices[0].message.content for t in texts} == {text}

    bad = openai.BadRequestError
    yield "a wrong temperature is refused", refused(
        lambda: chat(messages=ask, model="m", temperature=3), bad, "invalid_value"
    )
    yield "tools are refused", refused(
        lambda: chat(messages=ask, model="m", tools=[{"type": "function", "function": {"name": "f"}}]),
        bad,
        "unsupported",
    )
    web = [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "http://127.0.0.1:1/x.png"}}]}]
    yield "web addresses are refused", refused(lambda: chat(messages=web, **common), bad, "image_url_not_allowed")
    yield "an unknown model is refused", refused(
        lambda: chat(messages=ask, model="x"), openai.NotFoundError, "model_not_found"
    )
    yield "a wrong key is refused", refused(
        lambda: strange.models.list(), openai.AuthenticationError, "invalid_api_key"
    )


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--binary", default=".build/release/deepseek-vl", help="the program (%(default)s)")
    options = parser.parse_args()
    with tempfile.NamedTemporaryFile("w", suffix=".txt") as keys:
        keys.write("key-of-the-check\n")
        keys.flush()
        command = [options.binary, "serve", "--port", "0", "--api-keys", keys.name, "--served-model-name", "m"]
        command += ["--model", str(ROOT / "Models" / "shapes-vl2"), "--log-level", "error", "--cache-memory", "64"]
        server = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        try:
            address = server.stdout.readline().split()[-1]

            def client(key):
                return openai.OpenAI(
                    base_url=address + "/v1", api_key=key, max_retries=0, _strict_response_validation=True
                )

            results = [check(*item) for item in checks(client("key-of-the-check"), client("another"))]
        finally:
            server.terminate()
            status = server.wait(60)
        results.append(check("the server ends with status 0", status == 0))
    print(f"{sum(results)} of {len(results)} passed")
    sys.exit(0 if results and all(results) else 1)


if __name__ == "__main__":
    main()
