"""From a request to its choices: checks, chat template, tokenization, seeds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from vajra.gateway.api_keys import Tenant
from vajra.gateway.choice import Choice
from vajra.gateway.errors import InvalidRequest
from vajra.gateway.output import ChoiceOutput
from vajra.gateway.request import Chat, GenerateRequestData, ModelInfo
from vajra.gateway.seeds import choice_seed, draw_seed
from vajra.gateway.stream import DeltaStream
from vajra.gateway.tokenizer_pool import TokenizerPool
from vajra.gateway.validation import Params, check_prompt, validate
from vajra.models import ChatTemplateError, Tokenizer


@dataclass(frozen=True)
class Checked:
    """A request whose parameters are in order; its prompt is still to be looked at."""

    request: GenerateRequestData
    params: Params


@dataclass(frozen=True)
class Admitted:
    """A request that can be run."""

    params: Params
    prompt: Sequence[int]
    max_tokens: int  # what params and context allow


class Admission:
    """What the served model takes. `pool` is None for a model without a tokenizer: it is served ids only."""

    def __init__(self, model: ModelInfo, tokenizer: Tokenizer | None, pool: TokenizerPool | None) -> None:
        self._model, self._tokenizer, self._pool = model, tokenizer, pool
        self._eos = frozenset(model.eos_token_ids)

    def check(self, request: GenerateRequestData) -> Checked:
        """Everything that can be said without tokenizing. Raises InvalidRequest, UnknownModel or DeadlineExceeded."""
        params = validate(request, self._model)
        if params.detokenize and self._tokenizer is None:
            name = request.names("detokenize")
            raise InvalidRequest(f"{name}: this model has no tokenizer; ask for token ids only, not for text", name)
        return Checked(request, params)

    async def admit(self, checked: Checked) -> Admitted:
        """Tokenizes the prompt and checks it against the context. Raises InvalidRequest."""
        prompt, names, params = checked.request.prompt, checked.request.names, checked.params
        field = names("prompt")
        if isinstance(prompt, Chat):  # the template writes special tokens itself
            ids: Sequence[int] = await self._encode(self._render(prompt, field), special=False, field=field)
        elif isinstance(prompt, str):
            ids = await self._encode(prompt, special=True, field=field)
        else:
            ids = prompt
        return Admitted(params, ids, check_prompt(ids, self._model, params, names))

    def choices(
        self,
        admitted: Admitted,
        *,
        request_id: str,
        first_index: int,
        arrival: float,
        deadline: float | None,
        tenant: Tenant,
        stream: DeltaStream,
    ) -> list[Choice]:
        """One choice per continuation, indexed from `first_index`, each with a seed of its own."""
        params, target = admitted.params, admitted.params.ttft_target_seconds
        seed = draw_seed() if params.seed is None else params.seed
        stop_ids = frozenset(params.stop_token_ids) | (frozenset() if params.ignore_eos else self._eos)

        def output(index: int) -> ChoiceOutput:
            detokenizer = None
            if params.detokenize and self._tokenizer is not None:
                detokenizer = self._tokenizer.detokenizer(continuation=True)
            return ChoiceOutput(
                index,
                detokenizer=detokenizer,
                stop=params.stop,
                stop_ids=stop_ids,
                min_tokens=params.min_tokens,
                max_tokens=admitted.max_tokens,
            )

        return [
            Choice(
                sequence_id=f"{request_id}/{i}",
                prompt=admitted.prompt,
                params=params,
                max_tokens=admitted.max_tokens,
                seed=choice_seed(seed, i),
                arrival=arrival,
                deadline=deadline,
                ttft_target=None if target is None else arrival + target,
                tenant=tenant,
                output=output(first_index + i),
                stream=stream,
            )
            for i in range(params.n)
        ]

    async def _encode(self, text: str, *, special: bool, field: str) -> list[int]:
        if self._pool is None:
            raise InvalidRequest(f"{field}: this model has no tokenizer; send token ids, not text", field)
        if not text:
            raise InvalidRequest(f"{field} is empty; it must have at least one character", field)
        try:
            return await self._pool.encode(text, add_special_tokens=special)
        except ValueError as error:
            raise InvalidRequest(f"{field}: {error}", field) from None

    def _render(self, chat: Chat, field: str) -> str:
        if not chat.messages:
            raise InvalidRequest(f"{field} is empty; a conversation has at least one message", field)
        for i, message in enumerate(chat.messages):
            if not message.get("role"):
                path = f"{field}[{i}].role"
                raise InvalidRequest(f"{path} is missing; it is system, user or assistant", path)
        if self._tokenizer is None or not self._tokenizer.has_chat_template:
            raise InvalidRequest(f"{field}: this model has no chat template; send a prompt instead", field)
        try:
            return self._tokenizer.apply_chat_template(chat.messages)
        except ChatTemplateError as error:
            raise InvalidRequest(f"{field}: {error}", field) from None
