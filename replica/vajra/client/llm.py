"""`LLM`: the controllers of a server, without the server."""

from __future__ import annotations

import asyncio
import weakref
from collections.abc import AsyncGenerator, Callable, Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from vajra.client.background import BackgroundLoop
from vajra.client.errors import InvalidRequestError, VajraError
from vajra.client.params import Message, Prompt, SamplingParams, check_timeout, checked_sampling
from vajra.client.progress import counting_bar
from vajra.client.prompts import checked_messages, checked_prompt, prompt_list
from vajra.client.results import Accumulator, Delta, GenerationResult, ModelInfo

if TYPE_CHECKING:
    from vajra.client.local import LocalGateway
    from vajra.config import RequestPrioritizerConfig, SchedulerConfig, VajraDeployment

Progress = Callable[[str, int, int], None]  # stage, done, total (0: unknown)
DEFAULT_MODEL = "smollm2-135m-instruct"
_IN_FLIGHT = 256  # choices of one `generate` at a time: enough for full batches, and the queue has room for others


class LLM:
    """A model answering in this process's children: same queue, scheduler and engine as `vajra serve`.

    Works in any script (no main guard), from several threads, and inside or outside an event loop. A context manager;
    without one call `close`.

    Args:
        model: a model reference, the path of a manifest (.yaml, .yml), or a `VajraDeployment`.
        progress: called as (stage, done, total) while the model is fetched and loaded.
        overrides: options of `VajraDeployment.for_model`, such as dtype="float32" or max_model_len=2048; not with a
            manifest, which says everything itself.

    Raises:
        ConfigError, ModelError: the model cannot be served as asked.
    """

    def __init__(
        self,
        model: str | Path | VajraDeployment = DEFAULT_MODEL,
        *,
        progress: Progress | None = None,
        **overrides: Any,
    ) -> None:
        from vajra.client.local import LocalGateway, deployment_of

        deployment = deployment_of(model, overrides)
        self._background = BackgroundLoop("vajra-llm")
        gateway = LocalGateway(deployment, progress)
        try:
            self._background.run(gateway.start())
        except BaseException:
            self._background.close()
            raise
        self._gateway: LocalGateway = gateway
        # Also at the interpreter's exit, when nobody called close.
        self._finalizer = weakref.finalize(self, _shut_down, self._background, gateway)

    @property
    def model(self) -> ModelInfo:
        """The served model."""
        return self._gateway.model

    def generate(
        self,
        prompts: Prompt | Sequence[Prompt],
        sampling: SamplingParams | Sequence[SamplingParams] | None = None,
        *,
        timeout: float | None = None,
        progress_bar: bool | None = None,
    ) -> list[GenerationResult]:
        """Answers every prompt, batched together; one result per prompt, in order.

        Args:
            prompts: one prompt or many. A list of ints, or of messages, is one; of an empty list nothing comes back.
            sampling: one for all, or one per prompt.
            timeout: seconds for each prompt, from when it is handed over.
            progress_bar: shown on a terminal unless False.

        Raises:
            InvalidRequestError: for what is no prompt, with its place; nothing is begun then.
            VajraError: for the first prompt that fails; the others are cancelled.
        """
        many = prompt_list(prompts)
        check_timeout(timeout)
        params = _per_prompt(sampling, len(many))
        self._check_open()
        with counting_bar("generating", len(many), progress_bar) as advance:
            return self._background.run(self._generate_all(many, params, timeout, advance))

    async def agenerate(
        self,
        prompt: Prompt,
        sampling: SamplingParams | None = None,
        *,
        timeout: float | None = None,  # noqa: ASYNC109 (it travels with the request)
    ) -> GenerationResult:
        """The whole answer to one prompt, awaited from any event loop."""
        accumulator = Accumulator(prompt)
        async for delta in self.astream(prompt, sampling, timeout=timeout):
            accumulator.add(delta)
        return accumulator.result()

    def chat(
        self, messages: Sequence[Message], sampling: SamplingParams | None = None, *, timeout: float | None = None
    ) -> GenerationResult:
        """The answer to a conversation, rendered by the model's chat template."""
        return self.generate(checked_messages(messages), sampling, timeout=timeout, progress_bar=False)[0]

    def stream(
        self, prompt: Prompt, sampling: SamplingParams | None = None, *, timeout: float | None = None
    ) -> Iterator[Delta]:
        """Deltas as they come. Closing the iterator early frees the request."""
        self._check_open()
        return self._background.iterate(self._deltas(prompt, sampling, timeout))

    def astream(
        self, prompt: Prompt, sampling: SamplingParams | None = None, *, timeout: float | None = None
    ) -> AsyncGenerator[Delta, None]:
        """As `stream`, from any event loop."""
        self._check_open()
        return self._background.aiterate(self._deltas(prompt, sampling, timeout))

    def reconfigure(
        self,
        *,
        scheduler_config: SchedulerConfig | None = None,
        prioritizer_config: RequestPrioritizerConfig | None = None,
    ) -> None:
        """Goes on with another scheduler, another prioritizer or both, between two steps: what is in flight stays, and
        its answers are the same.

            llm.reconfigure(scheduler_config=DynamicChunkReplicaSchedulerConfig(target_batch_time_param=0.03))

        Raises:
            ConfigError: the two do not go together, or a value fits into no manifest.
            InvalidRequestError: the engine's buffers are too small; nothing was changed then.
        """
        self._check_open()
        self._background.run(
            self._gateway.reconfigure(scheduler_config=scheduler_config, prioritizer_config=prioritizer_config)
        )

    def close(self) -> None:
        """Stops the engine and frees its memory; what is in flight fails. May be called twice."""
        self._finalizer()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _check_open(self) -> None:
        if not self._finalizer.alive:
            raise VajraError("this LLM is closed")

    def _deltas(
        self, prompt: Prompt, sampling: SamplingParams | None, time_limit: float | None
    ) -> AsyncGenerator[Delta, None]:
        check_timeout(time_limit)
        return self._gateway.generate(checked_prompt(prompt), checked_sampling(sampling), time_limit)

    async def _generate_all(
        self,
        prompts: list[Prompt],
        params: list[SamplingParams],
        time_limit: float | None,
        advance: Callable[[], None],
    ) -> list[GenerationResult]:
        widest = max((sampling.n for sampling in params), default=1)
        room = asyncio.Semaphore(max(1, _IN_FLIGHT // max(1, widest)))

        async def one(prompt: Prompt, sampling: SamplingParams) -> GenerationResult:
            async with room:
                accumulator = Accumulator(prompt)
                async for delta in self._gateway.generate(prompt, sampling, time_limit, stream=False):
                    accumulator.add(delta)
                advance()
                return accumulator.result()

        try:
            async with asyncio.TaskGroup() as group:
                tasks = [group.create_task(one(p, s)) for p, s in zip(prompts, params, strict=True)]
        except* Exception as errors:
            raise errors.exceptions[0] from None
        return [task.result() for task in tasks]


def _shut_down(background: BackgroundLoop, gateway: LocalGateway) -> None:
    try:
        background.run(gateway.stop())
    finally:
        background.close()


def _per_prompt(sampling: Any, count: int) -> list[SamplingParams]:
    if sampling is None or isinstance(sampling, SamplingParams):
        return [sampling or SamplingParams()] * count
    if not isinstance(sampling, Sequence):
        raise InvalidRequestError(f"sampling is {sampling!r}; give a SamplingParams, or a list of one per prompt")
    for index, params in enumerate(sampling):
        if not isinstance(params, SamplingParams):
            raise InvalidRequestError(f"sampling[{index}] is {params!r}; it must be a SamplingParams")
    if len(sampling) != count:
        raise InvalidRequestError(f"{len(sampling)} SamplingParams for {count} prompts; give one, or one per prompt")
    return list(sampling)
