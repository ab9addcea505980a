"""What a user may ask for: one dataclass, and the prompt in its three forms."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

Message = Mapping[str, str]  # {"role": …, "content": …}
Prompt = str | Sequence[int] | Sequence[Message]
"""Text, token ids, or a conversation rendered by the model's chat template."""


@dataclass(frozen=True, kw_only=True)
class SamplingParams:
    """How tokens are chosen, when to stop and what comes back. None takes the model's default.

    Ranges are checked where the request is served; a value out of range raises `InvalidRequestError` with its name.
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

    @property
    def stop_strings(self) -> tuple[str, ...]:
        return (self.stop,) if isinstance(self.stop, str) else tuple(self.stop)
