#!/usr/bin/env python3
"""Drives a server of the bundled model with the official Anthropic client, which checks every answer strictly.

    pip install anthropic
    python3 Tools/server/anthropic_check.py [--binary .build/release/deepseek-vl]

Starts the server itself, on a port that the system chooses. Exit status 1 if anything is not as it should be.
"""

import json

import anthropic
import official

ASK = [{"role": "user", "content": "How many shapes are there?"}]


def refused(call, kind, word):
    """Whether a call is refused with an error of this kind, in Anthropic's form, that names what is wrong."""
    error = official.refused(call, kind)
    if error is None or error.body.get("type") != "error" or not (error.request_id or "").startswith("req_"):
        return False
    return word in error.body["error"]["message"]


def where(source):
    text = {"type": "text", "text": "Where is <|ref|>the purple ring<|/ref|>?"}
    return [{"role": "user", "content": [{"type": "image", "source": source}, text]}]


def checks(client, strange, bearer):
    # What newer clients have no parameters for is still part of the interface.
    def create(temperature=0, top_k=None, seed=None, **fields):
        extra = {"temperature": temperature, "top_k": top_k, "seed": seed, **fields.pop("extra_body", {})}
        return client.messages.create(**{"model": "m", "max_tokens": 40, "extra_body": extra, **fields})

    whole = create(messages=ASK, temperature=0.7, seed=5)
    text = whole.content[0].text
    again = create(messages=ASK, temperature=0.7, seed=5, metadata={"user_id": "u"})
    yield "a seed gives the same answer again", bool(text) and again.content[0].text == text
    yield "an answer ends with its turn", whole.stop_reason == "end_turn" and whole.stop_sequence is None
    short = create(messages=ASK, max_tokens=1)
    yield "or at max_tokens", short.stop_reason == "max_tokens" and short.usage.output_tokens == 1
    stop = create(messages=ASK, temperature=0.7, seed=5, stop_sequences=["never said", text[1:3]])
    yield "or at a stop sequence, which is named", (
        (stop.stop_reason, stop.stop_sequence) == ("stop_sequence", text[1:3]) and text[1:3] not in stop.content[0].text
    )
    counted = client.messages.count_tokens(model="m", messages=ASK)
    usage = whole.usage
    yield "the tokens of a request are counted without it", (
        counted.input_tokens == usage.input_tokens + usage.cache_read_input_tokens
    )
    longer = client.messages.count_tokens(model="m", messages=ASK, system=[{"type": "text", "text": "Be brief."}])
    yield "a system text is read", longer.input_tokens > counted.input_tokens
    begun = create(messages=ASK + [{"role": "assistant", "content": "There are"}])
    yield "an answer that is begun is continued", not begun.content[0].text.lstrip().startswith("There are")
    yield "a key may also be a bearer's", bearer.messages.create(model="m", max_tokens=1, messages=ASK).id.startswith("msg_")

    extra = {"temperature": 0.7, "seed": 5}
    events = list(client.messages.create(model="m", max_tokens=40, messages=ASK, stream=True, extra_body=extra))
    joined = "".join(e.delta.text for e in events if e.type == "content_block_delta")
    yield "a stream gives the same text", joined == text
    yield "a stream's events are those of the interface", [e.type for e in events if e.type != "content_block_delta"] == [
        "message_start",
        "content_block_start",
        "content_block_stop",
        "message_delta",
        "message_stop",
    ]
    yield "a stream ends with the same usage", events[-2].usage.output_tokens == usage.output_tokens
    with client.messages.stream(model="m", max_tokens=40, messages=ASK, extra_body=extra) as stream:
        final = stream.get_final_message()
    yield "the client's own reader of streams gets the message", (
        final.content[0].text == text and final.stop_reason == whole.stop_reason
    )

    source = {"type": "base64", "media_type": "image/png", "data": official.picture("ring-and-cross.png")}
    found = create(messages=where(source))
    boxes = found.content[0].model_dump()["grounding"]
    yield "boxes are data", [(b["label"], b["box"]) for b in boxes] == [("the purple ring", [100, 200, 400, 920])]
    warm = create(messages=where(source))
    yield "a picture is kept for the next request, and not counted as input again", (
        warm.usage.cache_read_input_tokens > 0
        and warm.usage.input_tokens + warm.usage.cache_read_input_tokens
        == found.usage.input_tokens + found.usage.cache_read_input_tokens
        and warm.content[0].text == found.content[0].text
    )
    url = {"type": "url", "url": "data:image/png;base64," + source["data"]}
    yield "a picture may have an address", create(messages=where(url)).content[0].text == found.content[0].text
    streamed = []
    for event in client.messages.create(
        model="m", max_tokens=40, messages=where(source), stream=True, extra_body={"temperature": 0}
    ):
        if event.type == "content_block_delta":
            streamed += event.delta.model_dump().get("grounding") or []
    yield "a stream has the same boxes", streamed == boxes
    loose = create(messages=where(source), temperature=1.5, seed=3, extra_body={"grounding": {"constrain": True}})
    yield "constrained boxes are legal at any temperature", not loose.content[0].model_dump().get("grounding_problems")
    schema = {
        "type": "object",
        "properties": {"colour": {"enum": ["red", "purple"]}},
        "required": ["colour"],
        "additionalProperties": False,
    }
    form = {"format": {"type": "json_schema", "schema": schema}}
    shaped = create(messages=where(source), output_config=form)
    yield "an answer fits its schema", json.loads(shaped.content[0].text)["colour"] in ("red", "purple")

    bad = anthropic.BadRequestError
    for name, value in [
        ("tools", [{"name": "f", "input_schema": {"type": "object"}}]),
        ("tool_choice", {"type": "any"}),
        ("thinking", {"type": "enabled", "budget_tokens": 1024}),
        ("stop_sequences", [""]),
        ("max_tokens", 0),
        ("max_tokens", 20_000),
        ("messages", []),
    ]:
        yield f"{name} of {value} is refused by name", refused(lambda: create(**{"messages": ASK, name: value}), bad, name)
    for what, block, word in [
        ("a document", {"type": "document", "source": {"type": "text", "data": "a"}}, "document"),
        ("a result of a tool", {"type": "tool_result", "tool_use_id": "t", "content": "a"}, "tool_result"),
        ("a file", {"type": "image", "source": {"type": "file", "file_id": "f"}}, "source.type"),
        ("a picture that is none", {"type": "image", "source": {**source, "data": "AAAA"}}, "image"),
        ("a web address", {"type": "image", "source": {"type": "url", "url": "http://127.0.0.1:1/x.png"}}, "image"),
    ]:
        turns = [{"role": "user", "content": [block]}]
        yield f"{what} is refused", refused(lambda: create(messages=turns), bad, word)
    yield "an unknown model is refused", refused(lambda: create(messages=ASK, model="x"), anthropic.NotFoundError, "x")
    yield "a wrong key is refused", refused(
        lambda: strange.messages.create(model="m", max_tokens=1, messages=ASK), anthropic.AuthenticationError, "key"
    )


def all_checks(address):
    def client(**key):
        return anthropic.Anthropic(base_url=address, max_retries=0, _strict_response_validation=True, **key)

    known = client(api_key=official.KEY)
    yield from checks(known, client(api_key="another"), client(auth_token=official.KEY))


if __name__ == "__main__":
    official.run(__doc__, all_checks)
