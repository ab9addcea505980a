"""The gateway without network faces, in the client's terms."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing
from pathlib import Path
from typing import Any, cast

from vajra.client import errors
from vajra.client.params import Message, Prompt, SamplingParams
from vajra.client.results import Delta, ModelInfo, TokenLogprob, Usage
from vajra.client.startup import Progress, fetch, readable
from vajra.config import UpdateRefused, VajraDeployment
from vajra.gateway import Gateway
from vajra.gateway import errors as faults
from vajra.gateway import request as wire
from vajra.gateway.live_change import LocalChanges
from vajra.gateway.support import check

_MANIFEST = (".yaml", ".yml", ".json")
# The first that fits counts.
_ERRORS: tuple[tuple[type[faults.GatewayError], type[errors.VajraError]], ...] = (
    (faults.InvalidRequest, errors.InvalidRequestError),
    (faults.DuplicateRequest, errors.InvalidRequestError),
    (faults.UnknownModel, errors.UnknownModelError),
    (faults.DeadlineExceeded, errors.DeadlineExceededError),
    (faults.Unavailable, errors.UnavailableError),
    (faults.StartupError, errors.UnavailableError),
    (faults.GatewayError, errors.ServerFaultError),
)


def deployment_of(model: str | Path | VajraDeployment, overrides: Mapping[str, Any]) -> VajraDeployment:
    """A deployment from what `LLM` was given. Raises ConfigError, also for what this version does not implement."""
    manifest = isinstance(model, VajraDeployment) or Path(model).suffix in _MANIFEST
    if manifest and overrides:
        raise TypeError(f"a manifest says everything itself; put {', '.join(overrides)} into it")
    if isinstance(model, VajraDeployment):
        deployment = model
    elif manifest:
        deployment = VajraDeployment.from_yaml(Path(model))
    else:
        deployment = VajraDeployment.for_model(str(model), **overrides)
    check(deployment)
    return deployment


class LocalGateway:
    """A Gateway of this process; every method belongs to one event loop."""

    def __init__(self, deployment: VajraDeployment, progress: Progress | None) -> None:
        self._deployment = deployment
        self._progress = readable(progress or (lambda stage, done, total: None))
        self._gateway = Gateway(deployment, progress=self._progress)
        self._changes = LocalChanges(self._gateway)

    async def start(self) -> None:
        """Returns when the model answers. Raises ModelError, or UnavailableError with the reason."""
        await asyncio.to_thread(fetch, self._deployment, self._progress)
        try:
            await self._gateway.start()
        except faults.GatewayError as error:
            raise _error(error) from error

    async def reconfigure(self, **configs: Any) -> None:
        """Another scheduler or prioritizer, between two steps. Raises ConfigError, or InvalidRequestError with what
        cannot change."""
        try:
            await self._changes.change(self._changes.settings.deployment.with_configs(**configs))
        except UpdateRefused as error:
            raise errors.InvalidRequestError(str(error)) from None

    async def stop(self) -> None:
        """Ends the replicas at once: nobody is left to read their answers."""
        await self._gateway.stop(kill=True)

    @property
    def model(self) -> ModelInfo:
        info = self._gateway.model
        assert info is not None, "start comes first"
        return ModelInfo(
            name=info.name,
            max_context_tokens=info.max_model_len,
            vocab_size=info.vocab_size,
            eos_token_ids=info.eos_token_ids,
            num_layers=info.num_layers,
            dtype=info.dtype,
            fingerprint=self._gateway.fingerprint,
        )

    async def generate(
        self, prompt: Prompt, sampling: SamplingParams, time_limit: float | None, *, stream: bool = True
    ) -> AsyncGenerator[Delta, None]:
        """Deltas of every choice. Closing it frees the request; so does the end of `time_limit` seconds.

        `prompt` has been checked (`vajra.client.prompts`). Without `stream` deltas may come late and merged.
        """
        try:
            async with aclosing(self._gateway.generate(to_request(prompt, sampling, time_limit, stream))) as deltas:
                async for delta in deltas:
                    yield to_delta(delta)
        except faults.GatewayError as error:
            raise _error(error) from error


def to_request(
    prompt: Prompt, sampling: SamplingParams, time_limit: float | None, stream: bool
) -> wire.GenerateRequestData:
    values = {field.name: getattr(sampling, field.name) for field in dataclasses.fields(sampling)}
    values |= {
        "stop": sampling.stop_strings,
        "prompt": _prompt(prompt),
        "timeout_seconds": time_limit,
        "stream": stream,
    }
    return wire.GenerateRequestData(**values)


def _prompt(prompt: Prompt) -> wire.Prompt:
    if isinstance(prompt, str):
        return prompt
    if isinstance(prompt[0], Mapping):
        return wire.Chat(messages=cast("Sequence[Message]", prompt))
    return cast("Sequence[int]", prompt)


def to_delta(delta: wire.Delta) -> Delta:
    return Delta(
        index=delta.index,
        text=delta.text,
        token_ids=tuple(delta.token_ids),
        logprobs=tuple(TokenLogprob(p.logprob, p.alternatives) for p in delta.logprobs),
        finish_reason=delta.finish_reason.value if delta.finish_reason else None,
        matched_stop=delta.matched_stop,
        usage=Usage(**dataclasses.asdict(delta.usage)) if delta.usage else None,
        ledger=delta.ledger,
    )


def _error(error: faults.GatewayError) -> errors.VajraError:
    if isinstance(error, faults.Overloaded):
        return errors.OverloadedError(str(error), error.retry_after)
    kind = next(kind for fault, kind in _ERRORS if isinstance(error, fault))
    return kind(str(error))
