"""Bad input over HTTP: the right code, a message that names what is wrong, and nothing else disturbed."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from typing import Any

import pytest
from tests.gateway.harness import MAX_MODEL_LEN, MODEL, VOCABULARY, Server, manifest

COMPLETIONS, CHAT = "/v1/completions", "/v1/chat/completions"
USER = [{"role": "user", "content": "hi"}]


def post(server: Server, path: str, body: bytes | dict[str, Any], **headers: str) -> tuple[int, dict[str, Any]]:
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    request = urllib.request.Request(server.http + path, data, {"Content-Type": "application/json", **headers})
    try:
        with urllib.request.urlopen(request, timeout=60) as response:
            return response.status, json.load(response)
    except urllib.error.HTTPError as error:
        with error:
            return error.code, json.load(error)["error"]


@pytest.fixture(autouse=True)
def undisturbed(server: Server) -> Any:
    """What a good request gets does not depend on the bad one beside it."""
    good = {"prompt": "good", "seed": 5, "max_tokens": 8}
    yield
    answers = [post(server, COMPLETIONS, good) for _ in range(2)]
    assert [status for status, _ in answers] == [200, 200]
    assert answers[0][1]["choices"] == answers[1][1]["choices"]


# body, (parameter, words of the message)
COMPLETION_FAULTS: list[tuple[dict[str, Any], str, str]] = [
    ({}, "prompt", "is missing; it must be a string"),
    ({"prompt": None}, "prompt", "null"),
    ({"prompt": ""}, "prompt", "empty"),
    ({"prompt": []}, "prompt", "empty"),
    ({"prompt": [[]]}, "prompt[0]", "empty"),
    ({"prompt": 3}, "prompt", "it is 3"),
    ({"prompt": [1, "a"]}, "prompt[1]", "the string 'a'"),
    ({"prompt": ["a", 1]}, "prompt[1]", "neither text nor token ids, it is 1"),
    ({"prompt": [1.5]}, "prompt[0]", "neither text nor token ids, it is 1.5"),
    ({"prompt": [[1], [2, True]]}, "prompt[1][1]", "must be a token id, it is true"),
    ({"prompt": [[1], [2, VOCABULARY]]}, "prompt[1][1]", f"0 to {VOCABULARY - 1}"),
    ({"prompt": ["a", ""]}, "prompt[1]", "empty"),
    ({"prompt": ["a", "x" * MAX_MODEL_LEN]}, "prompt[1]", f"at most {MAX_MODEL_LEN - 1}"),
    ({"\ud800": 1}, "\\ud800", "unknown field"),
    ({"logit_bias": {"\ud800": 1}}, "logit_bias", "a token id"),
    ({"x" * 100_000: 1}, "x" * 400 + " … " + "x" * 200, "unknown field"),
    ({"prompt": [5, VOCABULARY]}, "prompt[1]", f"0 to {VOCABULARY - 1}"),
    ({"prompt": [-1]}, "prompt[0]", "is -1"),
    ({"prompt": [10**30]}, "prompt[0]", "token ids"),
    ({"prompt": [1] * MAX_MODEL_LEN}, "prompt", f"at most {MAX_MODEL_LEN - 1}"),
    ({"prompt": "x" * 9000}, "prompt", "9000 tokens"),
    ({"prompt": ["x"] * 2000}, "prompt", "at most 1024"),
    ({"prompt": "\ud800"}, "prompt", "surrogate"),
    ({"stop": "\udfff"}, "stop", "surrogate"),
    ({"stop": ["a", "\udfff"]}, "stop[1]", "surrogate"),
    ({"stop": ["a", 5]}, "stop[1]", "it is 5"),
    ({"stop": [""]}, "stop", "1 to 1024 characters"),
    ({"stop": ["x"] * 17}, "stop", "at most 16"),
    ({"stop": 5}, "stop", "a list of strings"),
    ({"temperature": -0.1}, "temperature", "[0, 100]"),
    ({"temperature": 1e-9}, "temperature", "use 0 for greedy"),
    ({"temperature": "hot"}, "temperature", "'hot'"),
    ({"temperature": True}, "temperature", "true"),
    ({"top_p": 0}, "top_p", "(0, 1]"),
    ({"top_p": 1.01}, "top_p", "(0, 1]"),
    ({"min_p": 2}, "min_p", "[0, 1]"),
    ({"repetition_penalty": 0}, "repetition_penalty", "(0, 100]"),
    ({"presence_penalty": 3}, "presence_penalty", "[-2, 2]"),
    ({"frequency_penalty": -3}, "frequency_penalty", "[-2, 2]"),
    ({"top_k": -1}, "top_k", "at least 0"),
    ({"n": 0}, "n", "1 to 128"),
    ({"n": 10**6}, "n", "1 to 128"),
    ({"n": 1.5}, "n", "an integer"),
    ({"seed": 1 << 64}, "seed", "64 bits"),
    ({"max_tokens": 0}, "max_tokens", "at least 1"),
    ({"max_tokens": 2, "min_tokens": 3}, "min_tokens", "max_tokens, 2"),
    ({"max_tokens": 2, "max_completion_tokens": 3}, "max_tokens", "one of them"),
    ({"max_completion_tokens": 0}, "max_completion_tokens", "max_completion_tokens is 0"),
    ({"max_completion_tokens": 2, "min_tokens": 3}, "min_tokens", "max_completion_tokens, 2"),
    ({"logprobs": 21}, "logprobs", "0 to 20"),
    ({"logprobs": True}, "logprobs", "an integer"),
    ({"min_tokens": MAX_MODEL_LEN}, "min_tokens", "leaves room for"),
    ({"prompt": ["x"] * 9, "n": 128}, "n", "in several requests"),
    ({"user": 1}, "user", "a string"),
    ({"ledger": "yes"}, "ledger", "true or false"),
    ({"ttft_target_seconds": 0}, "ttft_target_seconds", "is 0 seconds; it must be in (0, 86400]"),
    ({"ttft_target_seconds": -1}, "ttft_target_seconds", "(0, 86400]"),
    ({"ttft_target_seconds": 1e6}, "ttft_target_seconds", "(0, 86400]"),
    ({"ttft_target_seconds": "1"}, "ttft_target_seconds", "a number"),
    ({"model": 1}, "model", "a string"),
    ({"stream_options": []}, "stream_options", "an object"),
    ({"logit_bias": {"x": 1}}, "logit_bias", "a token id"),
    ({"logit_bias": {"1": 101}}, "logit_bias", "[-100, 100]"),
    ({"logit_bias": {"1": "a"}}, "logit_bias", "it is the string 'a'"),
    ({"logit_bias": {"99999": 1}}, "logit_bias", "token ids"),
    ({"stop_token_ids": [VOCABULARY]}, "stop_token_ids", "token ids"),
    ({"stop_token_ids": [1, "a"]}, "stop_token_ids[1]", "the string 'a'"),
    ({"stream": "yes"}, "stream", "true or false"),
    ({"stream_options": {"include_usage": True}}, "stream_options", "stream: true"),
    ({"stream": True, "stream_options": {"usage": True}}, "stream_options.usage", "include_usage"),
    ({"temprature": 1}, "temprature", "did you mean 'temperature'"),
    ({"echo": True}, "echo", "not supported"),
    ({"suffix": "x"}, "suffix", "not supported"),
    ({"best_of": 4}, "best_of", "use n; leave it out or send 1"),
    ({"best_of": 4, "n": 2}, "best_of", "use n; leave it out or send 1 or send 2"),
]


@pytest.mark.parametrize(("body", "param", "words"), COMPLETION_FAULTS, ids=lambda value: str(value)[:50])
def test_completions(server: Server, body: dict[str, Any], param: str, words: str) -> None:
    body = body if "prompt" in body or not body else {"prompt": "x", **body}
    status, error = post(server, COMPLETIONS, body)
    assert (status, error["type"], error["param"]) == (400, "invalid_request_error", param), error
    assert words in error["message"]
    assert "send 1 or send 1" not in error["message"]


CHAT_FAULTS: list[tuple[dict[str, Any], str, str]] = [
    ({"messages": None}, "messages", "a list of messages, it is null"),
    ({"messages": [{"role": "user", "content": "x" * MAX_MODEL_LEN}]}, "messages", "at most"),
    ({"messages": []}, "messages", "empty"),
    ({"messages": ["hi"]}, "messages[0]", "role and content"),
    ({"messages": [{"content": "hi"}]}, "messages[0].role", "missing"),
    ({"messages": [{"role": "", "content": "hi"}]}, "messages[0].role", "missing"),
    ({"messages": [{"role": "user"}]}, "messages[0].content", "missing"),
    ({"messages": [{"role": "user", "content": "\ud800"}]}, "messages[0].content", "surrogate"),
    ({"messages": [{"role": "tool", "content": "x"}]}, "messages[0].role", "tools"),
    ({"messages": [{"role": "user", "content": [{"type": "image_url"}]}]}, "messages[0].content[0].type", "only text"),
    ({"messages": [{"role": "user", "content": "x", "name": "Bob"}]}, "messages[0].name", "not supported"),
    ({"tools": [{"type": "function"}]}, "tools", "calls no tools"),
    ({"response_format": {"type": "json_object"}}, "response_format", "not constrained"),
    ({"modalities": ["text", "audio"]}, "modalities", "with text"),
    ({"reasoning_effort": "high"}, "reasoning_effort", "not supported"),
    ({"top_logprobs": 2}, "top_logprobs", "logprobs: true"),
    ({"logprobs": True, "top_logprobs": 21}, "top_logprobs", "top_logprobs is 21"),
    ({"logprobs": 2}, "logprobs", "true or false"),
    ({"max_completion_tokens": 0}, "max_completion_tokens", "at least 1"),
    ({"tool_choice": "required"}, "tool_choice", "calls no tools"),
    ({"functions": [{"name": "f"}]}, "functions", "calls no functions"),
    ({"function_call": {"name": "f"}}, "function_call", "calls no functions"),
    ({"prediction": {"type": "content"}}, "prediction", "not supported"),
    ({"audio": {"voice": "x"}}, "audio", "with text"),
    ({"service_tier": "flex"}, "service_tier", "one tier"),
    ({"store": True}, "store", "not kept"),
    ({"web_search_options": {}}, "web_search_options", "searches nothing"),
    ({"echo": False}, "echo", "unknown field"),
    ({"suffix": "x"}, "suffix", "unknown field"),
    ({"prompt": "x"}, "prompt", "unknown field"),
]


@pytest.mark.parametrize(("body", "param", "words"), CHAT_FAULTS, ids=lambda value: str(value)[:50])
def test_chats(server: Server, body: dict[str, Any], param: str, words: str) -> None:
    status, error = post(server, CHAT, {"messages": USER, **body})
    assert (status, error["param"]) == (400, param), error
    assert words in error["message"]


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"", "not valid JSON"),
        (b"{", "not valid JSON"),
        (b"[1]", "a JSON object, it is a list"),
        (b'{"prompt": "\xff"}', "not valid UTF-8"),
        (b'{"prompt": "x", "temperature": NaN}', "NaN"),
        (b'{"prompt": "x", "temperature": -Infinity}', "finite"),
        (b'{"prompt": "x", "temperature": 1e999}', "temperature is inf"),
        (b'{"prompt": "x", "n": ' + b"9" * 5000 + b"}", "an integer of thousands of digits"),
        (b'{"prompt": ' + b"[" * 100_000, "nested too deeply"),
    ],
    ids=lambda value: str(value)[:30],
)
def test_bodies_that_are_no_request(server: Server, body: bytes, words: str) -> None:
    status, error = post(server, COMPLETIONS, body)
    assert status == 400
    assert words in error["message"]


def test_wrong_model_path_method_and_size(server: Server) -> None:
    status, error = post(server, COMPLETIONS, {"prompt": "x", "model": "gpt-4"})
    assert (status, error["code"]) == (404, "model_not_found")
    assert MODEL in error["message"]
    assert post(server, "/v1/embeddings", {})[0] == 404
    assert post(server, "/v1/models", {})[0] == 405
    status, error = post(server, COMPLETIONS, b'{"prompt": "' + b"x" * (17 << 20) + b'"}')
    assert status == 413
    assert "16 MiB" in error["message"]


def test_bodies_that_are_not_what_their_headers_say(server: Server) -> None:
    body = {"prompt": "x", "max_tokens": 1}
    for kind in ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x"):
        status, error = post(server, COMPLETIONS, body, **{"Content-Type": kind})
        assert status == 415
        assert kind in error["message"]
        assert "application/json" in error["message"]
    assert post(server, COMPLETIONS, body, **{"Content-Type": "application/json; charset=utf-8"})[0] == 200
    status, error = post(server, COMPLETIONS, body, **{"Content-Encoding": "gzip"})
    assert status == 400
    assert "Content-Encoding gzip" in error["message"]


def test_an_api_key_is_asked_for(checkpoint: Any) -> None:
    body = {"prompt": "x", "max_tokens": 1}
    with Server(manifest(checkpoint), api_key="sésame") as locked:
        for headers in ({}, {"Authorization": "Bearer wrong"}, {"Authorization": "sesame"}):
            status, error = post(locked, COMPLETIONS, body, **headers)
            assert (status, error["code"]) == (401, "invalid_api_key")
        key = "Bearer sésame".encode().decode("latin-1")
        assert post(locked, COMPLETIONS, body, Authorization=key)[0] == 200
        with urllib.request.urlopen(f"{locked.http}/health", timeout=60) as response:
            assert response.status == 200
