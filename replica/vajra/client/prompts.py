"""What may stand for a prompt, told apart and checked. Pure; every fault says where it is, what is there and what may.

A prompt is text, token ids, or chat messages; `generate` of the offline face takes many of them too.
"""

from __future__ import annotations

import operator
from collections.abc import Mapping, Sequence
from typing import Any, SupportsIndex, cast

from vajra.client.errors import InvalidRequestError
from vajra.client.params import Message, Prompt

_MESSAGE = "a message has 'role' and 'content', both text"
_PROMPT = "a prompt is text, a list of token ids, or a list of messages"
_PROMPTS = f"{_PROMPT}; or give a list of prompts"


def prompt_list(prompts: Any) -> list[Prompt]:
    """One prompt or many, as a list. A list of ints or of messages is one; an empty list is no prompt at all.

    Raises InvalidRequestError.
    """
    if isinstance(prompts, str):
        return [prompts]
    items = _items(prompts)
    if items is None:
        raise InvalidRequestError(f"prompts is {_kind(prompts)}; {_PROMPTS}")
    if len(items) == 0:
        return []
    if _is_part(items[0]):
        return [checked_prompt(prompts, "prompts")]
    for index, item in enumerate(items):
        if _is_part(item):
            raise InvalidRequestError(
                f"prompts[{index}] is {_kind(item)}, but prompts[0] is {_kind(items[0])}; {_PROMPTS}"
            )
    return [checked_prompt(item, f"prompts[{index}]") for index, item in enumerate(items)]


def checked_prompt(prompt: Any, where: str = "prompt") -> Prompt:
    """One prompt: text, plain ints, or messages. `where` names it in the fault. Raises InvalidRequestError."""
    if isinstance(prompt, str):
        return prompt
    items = _items(prompt)
    if items is None:
        raise InvalidRequestError(f"{where} is {_kind(prompt)}; {_PROMPT}")
    if len(items) == 0:
        raise InvalidRequestError(f"{where} is an empty list; {_PROMPT}, of one at least")
    if isinstance(items[0], Mapping):
        return checked_messages(items, where)
    for index, item in enumerate(items):
        if not _is_id(item):
            mixed = f", but {where}[0] is a token id" if _is_id(items[0]) else ""
            raise InvalidRequestError(f"{where}[{index}] is {_kind(item)}{mixed}; {_PROMPT}")
    return [operator.index(cast("SupportsIndex", item)) for item in items]


def checked_messages(messages: Any, where: str = "messages") -> list[Message]:
    """A conversation. Raises InvalidRequestError."""
    items = _items(messages)
    if items is None:
        raise InvalidRequestError(f"{where} is {_kind(messages)}; allowed: a list of messages, and {_MESSAGE}")
    if len(items) == 0:
        raise InvalidRequestError(f"{where} is an empty list; allowed: a list of messages, of one at least")
    for index, message in enumerate(items):
        if not isinstance(message, Mapping):
            raise InvalidRequestError(f"{where}[{index}] is {_kind(message)}; {_MESSAGE}")
        if set(message) != {"role", "content"}:
            raise InvalidRequestError(f"{where}[{index}] has the keys {list(message)}; {_MESSAGE}")
        for key, value in message.items():
            if not isinstance(value, str):
                raise InvalidRequestError(f"{where}[{index}][{key!r}] is {_kind(value)}; {_MESSAGE}")
    return list(items)


def _items(value: Any) -> Sequence[Any] | None:
    """The items of a list, a tuple or an array; None for what has none in an order, and for text."""
    if isinstance(value, Sequence) and not isinstance(value, str | bytes | bytearray):
        return value
    plain = value.tolist() if hasattr(value, "tolist") else None  # numpy's and torch's
    return plain if isinstance(plain, list) else None


def _is_part(item: Any) -> bool:
    """Whether it is a piece of one prompt rather than a prompt."""
    return _is_id(item) or isinstance(item, Mapping)


def _is_id(item: Any) -> bool:
    """A whole number, numpy's and torch's too; an array of numbers is none."""
    return isinstance(item, SupportsIndex) and not isinstance(item, bool) and getattr(item, "ndim", 0) == 0


def _kind(value: Any) -> str:
    """In words, for a fault."""
    if isinstance(value, str):
        return "text"
    if value is None or isinstance(value, bool):
        return repr(value)
    if _is_id(value):
        return f"the number {value!r}"
    shown = repr(value)
    return f"{shown if len(shown) <= 60 else shown[:59] + '…'} ({type(value).__name__})"
