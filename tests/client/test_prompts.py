"""What is a prompt and what is not: every face says the same, with the place of the fault."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vajra.client import AsyncVajraClient, InvalidRequestError, SamplingParams, VajraClient
from vajra.client.prompts import checked_messages, checked_prompt, prompt_list

HI = {"role": "user", "content": "hi"}
PROMPT = st.text() | st.lists(st.integers(0, 2**31), min_size=1) | st.lists(st.just(HI), min_size=1)
NOT_ONE: list[tuple[Any, str]] = [
    (5, "{} is the number 5; a prompt is text, a list of token ids, or a list of messages"),
    (None, "{} is None; a prompt is"),
    (True, "{} is True; a prompt is"),
    (b"hi", "{} is b'hi' (bytes); a prompt is"),
    (HI, "{} is {{'role': 'user', 'content': 'hi'}} (dict); a prompt is"),
    ({1, 2}, "{} is {{1, 2}} (set); a prompt is"),
    ([1, "a"], "{}[1] is text"),
    ([1, 2.0], "{}[1] is 2.0 (float), but {}[0] is a token id; a prompt is"),
    ([1, True], "{}[1] is True"),
    ([1, HI], "{}[1] is {{'role': 'user', 'content': 'hi'}} (dict)"),
    ([HI, 1], "{}[1] is the number 1; a message has 'role' and 'content', both text"),
    ([HI, "a"], "{}[1] is text; a message has"),
    ([{"role": "user"}], "{}[0] has the keys ['role']; a message has"),
    ([HI, {"role": "user", "text": "hi"}], "{}[1] has the keys ['role', 'text']; a message has"),
    ([{"role": "user", "content": None}], "{}[0]['content'] is None; a message has"),
]
ALONE: list[tuple[Any, str]] = [
    ([], "{} is an empty list; a prompt is"),
    (["a", "b"], "{}[0] is text; a prompt is"),
    ([[]], "{}[0] is [] (list); a prompt is"),
    ([None], "{}[0] is None; a prompt is"),
]
MANY: list[tuple[Any, str]] = [
    ([[]], "prompts[0] is an empty list; a prompt is"),
    ([None], "prompts[0] is None; a prompt is"),
    (["a", None], "prompts[1] is None; a prompt is"),
    (["a", 5], "prompts[1] is the number 5, but prompts[0] is text; a prompt is .*or give a list of prompts"),
    (["a", HI], "prompts[1] is {'role': 'user', 'content': 'hi'} (dict), but prompts[0] is text"),
    (["a", [1, None]], "prompts[1][1] is None, but prompts[1][0] is a token id; a prompt is"),
    (["a", [HI, {"role": 1, "content": ""}]], "prompts[1][1]['role'] is the number 1; a message has"),
    (["a", ["b"]], "prompts[1][0] is text; a prompt is"),
]


def _pattern(text: str) -> str:
    return "^" + ".*".join(map(re.escape, text.split(".*")))


@pytest.mark.parametrize(("prompt", "says"), NOT_ONE + ALONE)
def test_what_is_no_prompt_is_refused_with_its_place(prompt: Any, says: str) -> None:
    with pytest.raises(InvalidRequestError, match=_pattern(says.format("prompt", "prompt"))):
        checked_prompt(prompt)
    with (
        VajraClient("127.0.0.1:1") as client,
        pytest.raises(InvalidRequestError, match=_pattern(says.format("prompt", "prompt"))),
    ):
        client.stream(prompt)


@pytest.mark.parametrize(("prompts", "says"), [(p, s.format("prompts", "prompts")) for p, s in NOT_ONE] + MANY)
def test_what_is_no_list_of_prompts_is_refused_with_its_place(prompts: Any, says: str) -> None:
    with pytest.raises(InvalidRequestError, match=_pattern(says)):
        prompt_list(prompts)


@pytest.mark.parametrize("messages", [None, 5, "hi", HI, [], ["hi"], [1], [[HI]]])
def test_what_is_no_conversation_is_refused(messages: Any) -> None:
    with pytest.raises(InvalidRequestError, match=r"^messages(\[0\])? is .*message"):
        checked_messages(messages)


@given(PROMPT)
def test_one_prompt_is_itself_and_is_one(prompt: Any) -> None:
    assert checked_prompt(prompt) == prompt
    assert prompt_list(prompt) == [prompt]


@given(st.lists(PROMPT))
def test_many_prompts_stay_as_they_are(prompts: Any) -> None:
    assert prompt_list(prompts) == prompts


def test_arrays_of_ids_are_lists_of_ints() -> None:
    assert prompt_list(np.array([1, 2])) == prompt_list([np.int32(1), np.int64(2)]) == prompt_list((1, 2)) == [[1, 2]]
    assert prompt_list(np.array([[1, 2], [3, 4]])) == prompt_list([np.array([1, 2]), range(3, 5)]) == [[1, 2], [3, 4]]
    assert type(checked_prompt(np.array([1]))[0]) is int


async def test_the_async_client_refuses_at_the_call() -> None:
    async with AsyncVajraClient("127.0.0.1:1") as client:
        with pytest.raises(InvalidRequestError, match="prompt is None"):
            client.stream(None)  # type: ignore[arg-type]
        with pytest.raises(InvalidRequestError, match="sampling is 3"):
            await client.generate("a", 3)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("name", "value", "says"),
    [
        ("temperature", "hot", "temperature is 'hot'; it must be a number, or None"),
        ("n", 1.5, "n is 1.5; it must be a whole number"),
        ("n", None, "n is None; it must be a whole number"),
        ("max_tokens", True, "max_tokens is True; it must be a whole number, or None"),
        ("stop", ["a", 1], "stop is ['a', 1]; it must be text or a list of texts"),
        ("stop_token_ids", 3, "stop_token_ids is 3; it must be a list of token ids"),
        ("logit_bias", {"a": 1.0}, "logit_bias is {'a': 1.0}; it must be a mapping of token ids to numbers"),
        ("ttft_target_seconds", "1", "ttft_target_seconds is '1'; it must be a number, or None"),
        ("detokenize", 0, "detokenize is 0; it must be True or False"),
    ],
)
def test_a_parameter_of_a_wrong_type_is_refused_by_name(name: str, value: Any, says: str) -> None:
    with pytest.raises(InvalidRequestError, match=_pattern(says)):
        SamplingParams(**{name: value})


@pytest.mark.parametrize("timeout", ["1", 0, -1, float("nan"), True])
def test_a_timeout_is_a_length_of_time(timeout: Any) -> None:
    with pytest.raises(InvalidRequestError, match=r"timeout is .* number of seconds above 0"):
        VajraClient("127.0.0.1:1", timeout=timeout)
    with VajraClient("127.0.0.1:1") as client, pytest.raises(InvalidRequestError, match="timeout is"):
        client.get_model(timeout=timeout)
