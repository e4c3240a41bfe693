#!/usr/bin/env python3
"""Drives a server of the bundled model with the official OpenAI client, which checks every answer strictly.

    pip install openai
    python3 Tools/server/openai_check.py [--binary .build/release/deepseek-vl]

Starts the server itself, on a port that the system chooses. Exit status 1 if anything is not as it should be.
"""

import json
from concurrent.futures import ThreadPoolExecutor

import official
import openai


def picture(name):
    return {"type": "image_url", "image_url": {"url": "data:image/png;base64," + official.picture(name)}}


def refused(call, kind, code):
    error = official.refused(call, kind)
    return error is not None and error.code == code


def checks(client, strange, lenient):
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
    # Chunks before the last have a null as reason, as OpenAI sends it, which the strict client refuses.
    stream = lenient.completions.create(model="m", prompt="one", max_tokens=4, echo=True, temperature=0, stream=True)
    texts = [chunk.choices[0].text for chunk in stream]
    yield "also in streams", texts[0] == "one" and len(texts) > 1

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


def responses(client):
    create = client.responses.create
    common = {"model": "m", "max_output_tokens": 40}
    ask = "How many shapes are there?"

    whole = create(input=ask, temperature=0.7, extra_body={"seed": 5}, **common)
    chat = client.chat.completions.create(
        model="m", max_tokens=40, temperature=0.7, seed=5, messages=[{"role": "user", "content": ask}]
    )
    yield "a response is what a chat answers", (
        bool(whole.output_text) and whole.output_text == chat.choices[0].message.content
    )
    yield "with the same counts", (whole.usage.input_tokens, whole.usage.output_tokens) == (
        chat.usage.prompt_tokens,
        chat.usage.completion_tokens,
    )
    events = list(create(input=ask, temperature=0.7, extra_body={"seed": 5}, stream=True, **common))
    yield "a stream's events are typed and numbered", [e.sequence_number for e in events] == list(range(len(events)))
    joined = "".join(e.delta for e in events if e.type == "response.output_text.delta")
    yield "a stream gives the same text, and the response at its end", (
        joined == whole.output_text == events[-1].response.output_text
        and events[-1].type == "response." + whole.status == "response." + events[-1].response.status
    )
    with client.responses.stream(input=ask, temperature=0, **common) as stream:
        kinds = {event.type for event in stream}
        yield "the client's own reader of streams gets a response", (
            "response.output_text.done" in kinds and stream.get_final_response().output_text != ""
        )

    turns = [
        {"role": "user", "content": [{"type": "input_text", "text": "How many rings?"}]},
        whole.output[0].model_dump(exclude_unset=True),
        {"role": "user", "content": "And crosses?"},
    ]
    again = create(input=turns, instructions="Be brief.", temperature=0, metadata={"a": "b"}, **common)
    yield "a response's own output is input of the next one", bool(again.output_text) and again.metadata == {"a": "b"}

    url = "data:image/png;base64," + official.picture("ring-and-cross.png")
    where = [
        {
            "role": "user",
            "content": [
                {"type": "input_image", "image_url": url, "detail": "auto"},
                {"type": "input_text", "text": "Where is <|ref|>the purple ring<|/ref|>?"},
            ],
        }
    ]
    found = create(input=where, temperature=0, **common)
    boxes = found.output[0].content[0].model_dump()["grounding"]
    yield "a response has boxes", [(b["label"], b["box"]) for b in boxes] == [("the purple ring", [100, 200, 400, 920])]
    warm = create(input=where, temperature=0, **common)
    yield "its picture is kept for the next one", (
        warm.usage.input_tokens_details.cached_tokens > 0 and warm.output_text == found.output_text
    )

    scored = create(input=ask, temperature=0, include=["message.output_text.logprobs"], top_logprobs=3, **common)
    entries = scored.output[0].content[0].logprobs
    yield "a response's tokens have their probabilities", (
        len(entries) == scored.usage.output_tokens and all(len(e.top_logprobs) == 3 for e in entries)
    )
    schema = {
        "type": "object",
        "properties": {"colour": {"enum": ["red", "purple"]}},
        "required": ["colour"],
        "additionalProperties": False,
    }
    form = {"type": "json_schema", "name": "thing", "strict": True, "schema": schema}
    shaped = create(input=where, text={"format": form}, **common)
    yield "a response fits its schema", json.loads(shaped.output_text)["colour"] in ("red", "purple")
    short = create(model="m", input=ask, max_output_tokens=1, temperature=0)
    yield "a response that is cut says so", (
        short.status == "incomplete" and short.incomplete_details.reason == "max_output_tokens"
    )
    for name, value in [
        ("previous_response_id", "resp_1"),
        ("store", True),
        ("background", True),
        ("tools", [{"type": "web_search"}]),
        ("truncation", "auto"),
    ]:
        error = official.refused(lambda: create(input=ask, **{name: value}, **common), openai.BadRequestError)
        yield f"{name} is refused by name", error is not None and (error.code, error.param) == ("unsupported", name)


def all_checks(address):
    def client(key, strict=True):
        return openai.OpenAI(base_url=address + "/v1", api_key=key, max_retries=0, _strict_response_validation=strict)

    known = client(official.KEY)
    yield from checks(known, client("another"), client(official.KEY, strict=False))
    yield from responses(known)


if __name__ == "__main__":
    official.run(__doc__, all_checks)
