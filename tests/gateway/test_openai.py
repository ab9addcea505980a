"""The official OpenAI client against a real server, and the events on the wire."""

from __future__ import annotations

import codecs
import json
import re
import urllib.request
from collections.abc import Iterator
from typing import Any

import openai
import pytest
from tests.gateway.harness import MAX_MODEL_LEN, MODEL, VOCABULARY, Server

PROMPT = "Once upon a time"
SEEDED: dict[str, Any] = {"model": MODEL, "seed": 11, "max_tokens": 24, "extra_body": {"ignore_eos": True}}
MESSAGES: Any = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hello"}]


@pytest.fixture
def client(server: Server) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{server.http}/v1", api_key="none", max_retries=0, timeout=60) as client:
        yield client


def test_models(client: openai.OpenAI) -> None:
    (model,) = client.models.list().data
    assert model.id == MODEL
    card: Any = client.models.retrieve(MODEL).model_dump()
    assert (card["max_model_len"], card["num_layers"], card["dtype"]) == (MAX_MODEL_LEN, 4, "float32")
    assert card["vocab_size"] == VOCABULARY
    assert card["fingerprint"]
    with pytest.raises(openai.NotFoundError, match="gpt-4"):
        client.models.retrieve("gpt-4")


def test_a_stream_says_what_the_whole_answer_says(client: openai.OpenAI) -> None:
    whole = client.completions.create(prompt=PROMPT, **SEEDED)
    events = list(
        client.completions.create(prompt=PROMPT, stream=True, stream_options={"include_usage": True}, **SEEDED)
    )
    *chunks, last = events
    assert "".join(chunk.choices[0].text for chunk in chunks) == whole.choices[0].text
    assert [chunk.choices[0].finish_reason for chunk in chunks] == [None] * (len(chunks) - 1) + ["length"]
    assert all(chunk.choices[0].text for chunk in chunks[:-1]), "an event without text"
    assert last.choices == []
    assert last.usage == whole.usage
    assert whole.usage is not None
    assert (whole.usage.prompt_tokens, whole.usage.completion_tokens) == (len(PROMPT), 24)
    assert all(chunk.usage is None for chunk in chunks)


def test_prompts_in_all_four_forms_are_the_same(client: openai.OpenAI) -> None:
    ids = list(PROMPT.encode())
    alone = client.completions.create(prompt=PROMPT, **SEEDED).choices[0].text
    assert client.completions.create(prompt=ids, **SEEDED).choices[0].text == alone
    for prompt in ([PROMPT, "x", PROMPT], [ids, [120], ids]):
        answer = client.completions.create(prompt=prompt, n=2, **SEEDED)
        assert [choice.index for choice in answer.choices] == list(range(6))
        texts = [choice.text for choice in answer.choices]
        assert texts[0] == texts[4] == alone, "batch-mates changed an answer"
        assert texts[1] == texts[5] != alone
        assert answer.usage is not None
        assert (answer.usage.prompt_tokens, answer.usage.completion_tokens) == (2 * len(PROMPT) + 1, 6 * 24)


def test_max_tokens_is_16_by_default_and_may_be_spelt_in_two_ways(client: openai.OpenAI) -> None:
    default = client.completions.create(model=MODEL, prompt=PROMPT, seed=1, extra_body={"ignore_eos": True})
    assert default.usage is not None
    assert default.usage.completion_tokens == 16
    chat = client.chat.completions.create(
        model=MODEL, messages=MESSAGES, max_completion_tokens=5, logit_bias={"65": 100}
    )
    assert chat.choices[0].message.content == "AAAAA"
    assert chat.choices[0].finish_reason == "length"


def test_the_context_ends_an_answer(client: openai.OpenAI) -> None:
    prompt = [65] * (MAX_MODEL_LEN - 3)
    answer = client.completions.create(prompt=prompt, **SEEDED)
    assert answer.usage is not None
    assert answer.usage.completion_tokens == 3
    assert answer.choices[0].finish_reason == "length"


def test_stop_strings_cut_text_and_usage(client: openai.OpenAI) -> None:
    """A model that can only say A and B, so that its text is what it seems."""
    options = {**SEEDED, "max_tokens": 60, "logit_bias": {"65": 100, "66": 100}}
    text = client.completions.create(prompt=PROMPT, **options).choices[0].text
    assert set(text) == {"A", "B"}
    stop = text[20:25]
    at = text.index(stop)
    answer = client.completions.create(prompt=PROMPT, stop=["never", stop], **options)
    assert answer.choices[0].text == text[:at]
    assert answer.choices[0].finish_reason == "stop"
    assert answer.usage is not None
    assert answer.usage.completion_tokens == at + len(stop)
    chunks = list(client.completions.create(prompt=PROMPT, stop=stop, stream=True, **options))
    assert "".join(chunk.choices[0].text for chunk in chunks) == text[:at]
    assert chunks[-1].choices[0].finish_reason == "stop"


def test_end_of_sequence_ends_an_answer_unless_it_is_to_be_ignored(client: openai.OpenAI) -> None:
    bias = {"257": 100}  # the model's eos
    ended = client.completions.create(model=MODEL, prompt=PROMPT, max_tokens=8, logit_bias=bias)
    assert ended.usage is not None
    assert (ended.choices[0].finish_reason, ended.choices[0].text, ended.usage.completion_tokens) == ("stop", "", 1)
    later = client.completions.create(
        model=MODEL, prompt=PROMPT, max_tokens=8, logit_bias=bias, extra_body={"min_tokens": 4}
    )
    assert later.usage is not None
    assert (later.choices[0].finish_reason, later.usage.completion_tokens) == ("stop", 5)
    ignored = client.completions.create(
        model=MODEL, prompt=PROMPT, max_tokens=8, logit_bias=bias, extra_body={"ignore_eos": True}
    )
    assert ignored.choices[0].finish_reason == "length"


def test_logprobs_of_completions(client: openai.OpenAI) -> None:
    whole = client.completions.create(prompt=PROMPT, logprobs=3, **SEEDED).choices[0].logprobs
    assert whole is not None
    assert whole.tokens is not None
    assert whole.top_logprobs is not None
    assert whole.text_offset is not None
    assert len(whole.tokens) == len(whole.token_logprobs or ()) == len(whole.top_logprobs) == 24
    assert all(p <= 0 for p in whole.token_logprobs or ())
    assert whole.text_offset[0] == 0
    assert whole.text_offset == sorted(whole.text_offset)
    streamed: list[str] = []
    offsets: list[int] = []
    for chunk in client.completions.create(prompt=PROMPT, logprobs=3, stream=True, **SEEDED):
        part = chunk.choices[0].logprobs
        assert part is not None
        streamed += part.tokens or []
        offsets += part.text_offset or []
    assert (streamed, offsets) == (whole.tokens, whole.text_offset)


def test_offsets_count_characters_of_the_text_and_halves_of_them_keep_their_names(client: openai.OpenAI) -> None:
    bias = {str(token): 100 for token in (*"é€".encode(), ord("a"))}
    answer = client.completions.create(prompt=PROMPT, logprobs=20, logit_bias=bias, **{**SEEDED, "max_tokens": 100})
    (choice,) = answer.choices
    assert choice.logprobs is not None
    assert choice.logprobs.tokens is not None
    decoder, shown, expected = codecs.getincrementaldecoder("utf-8")("replace"), "", []
    for token in choice.logprobs.tokens:
        assert token == "a" or re.fullmatch(r"bytes:\\x[0-9a-f]{2}", token)
        expected.append(len(shown))
        shown += decoder.decode(b"a" if token == "a" else bytes([int(token[-2:], 16)]))
    assert choice.logprobs.text_offset == expected
    assert shown + decoder.decode(b"", True) == choice.text
    assert expected[-1] < 99, "every token was a character"
    assert all(len(top) == 20 for top in choice.logprobs.top_logprobs or ()), "alternatives that share a name"


def test_logprobs_of_chats(client: openai.OpenAI) -> None:
    options = {**SEEDED, "logprobs": True, "top_logprobs": 2, "temperature": 0}
    whole = client.chat.completions.create(messages=MESSAGES, **options).choices[0].logprobs
    assert whole is not None
    assert whole.content is not None
    assert len(whole.content) == 24
    for entry in whole.content:
        assert len(entry.top_logprobs) == 2
        assert entry.logprob == entry.top_logprobs[0].logprob, "greedy takes the likeliest"
        assert entry.bytes is not None
        assert bytes(entry.bytes).decode("utf-8", "replace") == entry.token
    streamed = [
        entry
        for chunk in client.chat.completions.create(messages=MESSAGES, stream=True, **options)
        for entry in (chunk.choices[0].logprobs.content or [] if chunk.choices[0].logprobs else [])
    ]
    assert streamed == whole.content


def test_chat_streams_with_a_role_first_and_takes_text_parts(client: openai.OpenAI) -> None:
    whole = client.chat.completions.create(messages=MESSAGES, n=2, **SEEDED)
    assert [choice.message.role for choice in whole.choices] == ["assistant"] * 2
    assert whole.choices[0].message.content != whole.choices[1].message.content
    parts: Any = [MESSAGES[0], {"role": "user", "content": [{"type": "text", "text": "Hello"}]}]
    texts = ["", ""]
    roles: list[list[Any]] = [[], []]
    for chunk in client.chat.completions.create(messages=parts, n=2, stream=True, **SEEDED):
        choice = chunk.choices[0]
        texts[choice.index] += choice.delta.content or ""
        roles[choice.index].append(choice.delta.role)
    assert texts == [choice.message.content for choice in whole.choices]
    assert all(of[0] == "assistant" and not any(of[1:]) for of in roles)
    # What a client sends back of an earlier answer is understood.
    history: Any = [*MESSAGES, whole.choices[0].message.model_dump(), {"role": "user", "content": "And?"}]
    client.chat.completions.create(messages=history, store=False, metadata={"a": "b"}, user="me", **SEEDED)


def test_one_token_is_one_event_on_the_wire(server: Server) -> None:
    body = {"prompt": "x", "max_tokens": 12, "stream": True, "logit_bias": {"65": 100}, "temperature": 0}
    request = urllib.request.Request(
        f"{server.http}/v1/completions", json.dumps(body).encode(), {"Content-Type": "application/json"}
    )
    with urllib.request.urlopen(request, timeout=60) as response:
        assert response.headers["Content-Type"].startswith("text/event-stream")
        events = response.read().decode().split("\n\n")
    assert events[-2:] == ["data: [DONE]", ""]
    texts = [json.loads(event.removeprefix("data: "))["choices"][0]["text"] for event in events[:-2]]
    assert "".join(texts) == "A" * 12  # tokens that came together may share an event, none may be lost


def test_health_and_metrics(server: Server) -> None:
    with urllib.request.urlopen(f"{server.http}/health", timeout=60) as response:
        assert response.status == 200
    with urllib.request.urlopen(f"{server.http}/metrics", timeout=60) as response:
        assert response.headers["Content-Type"].startswith("text/plain")
        lines = response.read().decode().splitlines()
    for line in ('vajra_replica_state{replica="0",state="serving"} 1.0', "vajra_queue_depth 0.0"):
        assert line in lines
    for name in ("vajra_time_to_first_token_seconds_bucket", "vajra_kv_blocks{", 'vajra_requests_total{outcome="ok"}'):
        assert any(line.startswith(name) for line in lines), name
    assert not any("_created" in line for line in lines), "times at which counters were made"
