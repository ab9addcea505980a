"""What a user may ask for: one dataclass, and the prompt in its three forms."""

from __future__ import annotations

import numbers
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from vajra.client.errors import InvalidRequestError

Message = Mapping[str, str]  # {"role": …, "content": …}
Prompt = str | Sequence[int] | Sequence[Message]
"""Text, token ids, or a conversation rendered by the model's chat template."""


@dataclass(frozen=True, kw_only=True)
class SamplingParams:
    """How tokens are chosen, when to stop, what comes back and how soon. None takes the model's default.

    A value of the wrong type raises `InvalidRequestError` with its name here; one out of range does where the request
    is served, which knows the model.
    """

    n: int = 1  # continuations of the prompt
    temperature: float | None = None  # 0 is greedy
    top_k: int | None = None  # keep the k likeliest; 0 keeps all
    top_p: float | None = None  # nucleus mass in (0, 1]
    min_p: float | None = None  # in [0, 1], relative to the likeliest token
    repetition_penalty: float | None = None  # above 0; 1 changes nothing
    presence_penalty: float | None = None  # in [-2, 2]
    frequency_penalty: float | None = None  # in [-2, 2]
    logit_bias: Mapping[int, float] = field(default_factory=dict)  # token id to [-100, 100]
    seed: int | None = None  # None: the server draws one
    max_tokens: int | None = None  # new tokens; None: what the context leaves
    min_tokens: int = 0  # no end of sequence and no stop before
    stop: str | Sequence[str] = ()  # strings that end the text, not part of it
    stop_token_ids: Sequence[int] = ()
    ignore_eos: bool = False  # go on after the model's end-of-sequence token
    logprobs: int | None = None  # of each chosen token and of this many alternatives
    detokenize: bool = True  # False: token ids only
    ledger: bool = False  # say where the time went, and why
    ttft_target_seconds: float | None = None  # when the first token is due, from arrival: EDF and LRS go by it

    def __post_init__(self) -> None:
        for names, allowed, fits in _TYPES:
            for name in names:
                value = getattr(self, name)
                if not (fits(value) or (value is None and name in _OPTIONAL)):
                    none = ", or None" if name in _OPTIONAL else ""
                    raise InvalidRequestError(f"{name} is {value!r}; it must be {allowed}{none}")

    @property
    def stop_strings(self) -> tuple[str, ...]:
        return (self.stop,) if isinstance(self.stop, str) else tuple(self.stop)


def checked_sampling(sampling: Any) -> SamplingParams:
    """The parameters, by default the default ones. Raises InvalidRequestError for what is none."""
    if sampling is None or isinstance(sampling, SamplingParams):
        return sampling or SamplingParams()
    raise InvalidRequestError(f"sampling is {sampling!r}; it must be a SamplingParams, or None")


def check_timeout(timeout: Any) -> None:
    """Raises InvalidRequestError for what is no length of time."""
    if timeout is not None and not (_is_number(timeout) and timeout > 0):
        raise InvalidRequestError(f"timeout is {timeout!r}; it must be a number of seconds above 0, or None")


def _is_whole(value: Any) -> bool:
    return isinstance(value, numbers.Integral) and not isinstance(value, bool)


def _is_number(value: Any) -> bool:
    return isinstance(value, numbers.Real) and not isinstance(value, bool)


def _is_text_or_list_of_it(value: Any) -> bool:
    return isinstance(value, str) or (isinstance(value, Sequence) and all(isinstance(text, str) for text in value))


def _is_list_of_whole(value: Any) -> bool:
    return isinstance(value, Sequence) and all(map(_is_whole, value))


def _is_bias(value: Any) -> bool:
    return isinstance(value, Mapping) and all(map(_is_whole, value)) and all(map(_is_number, value.values()))


_OPTIONAL: Final = frozenset(name for name, kind in SamplingParams.__annotations__.items() if kind.endswith("None"))
_TYPES: Final = (
    (("n", "top_k", "seed", "max_tokens", "min_tokens", "logprobs"), "a whole number", _is_whole),
    (
        (
            *("temperature", "top_p", "min_p", "repetition_penalty", "presence_penalty", "frequency_penalty"),
            "ttft_target_seconds",
        ),
        "a number",
        _is_number,
    ),
    (("ignore_eos", "detokenize", "ledger"), "True or False", lambda value: isinstance(value, bool)),
    (("stop",), "text or a list of texts", _is_text_or_list_of_it),
    (("stop_token_ids",), "a list of token ids", _is_list_of_whole),
    (("logit_bias",), "a mapping of token ids to numbers", _is_bias),
)
