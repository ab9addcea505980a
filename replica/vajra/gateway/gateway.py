"""Gateway: the replica set in operation, without a network face. Text in, text out."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import uuid
from collections.abc import AsyncGenerator, Callable, Sequence

from vajra.config import VajraDeployment, local_notices
from vajra.gateway.admission import Admission, Admitted, Checked
from vajra.gateway.choice import Choice
from vajra.gateway.dispatcher import Dispatcher
from vajra.gateway.errors import DuplicateRequest, InvalidRequest, RequestError, Unavailable
from vajra.gateway.generation import Generation
from vajra.gateway.local_replicas import LocalReplicas
from vajra.gateway.observation import Observation
from vajra.gateway.prefill_times import SetPrefillTimes
from vajra.gateway.replica_link import ReplicaLink
from vajra.gateway.replica_set import Change, ReplicaSet, ReplicaSource
from vajra.gateway.request import Delta, GenerateRequestData, ModelInfo
from vajra.gateway.stream import MAX_UNREAD, DeltaStream
from vajra.gateway.support import check
from vajra.gateway.tokenizer_pool import TokenizerPool
from vajra.models import ResolvedModel, Tokenizer, load_tokenizer, resolve
from vajra.scheduling import ordering_of

log = logging.getLogger(__name__)

MAX_WAITING = 1024  # sequences in the queue


class Gateway:
    """The reference's LLMReplicaSetController. All of it belongs to the loop that calls `start`.

    Args:
        deployment: what to serve; ConfigError for what this version does not implement.
        progress: called as (stage, done, total) while the model is fetched and loaded, from any thread.
        source: the replicas; None starts them here.
        max_waiting: sequences that may wait for a replica; more are refused with Overloaded.
        max_unread: tokens and alternatives kept for a client that does not read; more cut it off.
    """

    def __init__(
        self,
        deployment: VajraDeployment,
        *,
        progress: Callable[[str, int, int], None] | None = None,
        source: ReplicaSource | None = None,
        max_waiting: int = MAX_WAITING,
        max_unread: int = MAX_UNREAD,
    ) -> None:
        in_cluster = source is not None and not source.owned
        check(deployment, in_cluster=in_cluster)
        self.deployment = deployment
        self.model: ModelInfo | None = None  # known soon after `start`
        self.tokenizer: Tokenizer | None = None  # None also for a model that has none
        self.notices: list[str] = [] if in_cluster else local_notices(deployment)
        self.ready = False  # whether requests are taken
        self.leaving = False  # they are, but should go elsewhere
        self.draining = False  # they are not any more
        self.last_opened = 0.0  # when the last one came, on the loop's clock
        self._progress = progress
        self.source = source
        self._max_waiting, self._max_unread = max_waiting, max_unread
        self._change = Change()  # of `ready` or a replica
        self._times = SetPrefillTimes()
        self._replicas: ReplicaSet | None = None
        self._pool: TokenizerPool | None = None
        self._admission: Admission
        self._dispatcher: Dispatcher
        self._observation: Observation | None = None
        self._generations: set[Generation] = set()
        self._ids: set[str] = set()
        self._opening = 0  # requests that are looked at
        self._tokenizing = 0  # choices whose prompts are being tokenized
        self._idle = asyncio.Event()
        self._idle.set()

    # ---- life

    async def start(self) -> None:
        """Loads the tokenizer and follows the replicas; where they run here, returns when the first one serves.

        Raises ModelError, or StartupError when every replica failed before it served.
        """
        if self.source is None:
            self.source = LocalReplicas.launch(self.deployment)
        try:
            resolved, self.tokenizer = await asyncio.to_thread(self._load)
            self.model = self._model_info(resolved)
            self._observation = Observation(self.model.name)
            if self.tokenizer is not None:
                workers = self.deployment.replica_set_config.num_tokenizer_workers
                self._pool = TokenizerPool(self.tokenizer, self.deployment.to_dict(), workers)
            self._admission = Admission(self.model, self.tokenizer, self._pool)
            prioritizer = ordering_of(self.deployment, self._times)
            self._dispatcher = Dispatcher(prioritizer, self._times, self._max_waiting, self._observation)
            self._replicas = ReplicaSet(self.source, self._dispatcher, self._change, self._progress)
            await self._replicas.start()
        except BaseException:
            await self.stop(kill=True)
            raise
        self.ready = True
        self._change.announce()

    async def drain(self, grace: float | None = None) -> None:
        """Takes no more requests and waits for those in flight; after `grace` seconds (by default the deployment's
        drain.timeoutSeconds) the rest ends with FinishReason.ABORTED."""
        if grace is None:
            grace = float(self.deployment.spec.drain.timeout_seconds)
        self.ready, self.draining = False, True
        self._change.announce()
        try:
            async with asyncio.timeout(grace):
                await self.wait_idle()
        except TimeoutError:
            await self.abort()

    def retire(self) -> None:
        """Tells load balancers to look elsewhere; requests are taken all the same."""
        self.leaving = True
        self._change.announce()

    async def wait_idle(self) -> None:
        """Until no request is in flight."""
        await self._idle.wait()

    async def abort(self) -> None:
        """Ends what is in flight with FinishReason.ABORTED."""
        for generation in self._generations:
            generation.abort()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(1.0):  # readers take the last words
                await self.wait_idle()

    def prepare(self, deployment: VajraDeployment) -> Callable[[], None]:
        """Makes live settings ready and returns what puts them in force."""
        prioritizer = ordering_of(deployment, self._times)

        def commit() -> None:
            self.deployment = deployment
            if self._pool is not None:
                self._pool.resize(deployment.replica_set_config.num_tokenizer_workers)
            if self._replicas is not None:
                self._dispatcher.set_prioritizer(prioritizer)

        return commit

    async def stop(self, *, kill: bool = False) -> None:
        """Ends everything, replicas at once with `kill`; what is in flight fails with Unavailable. Idempotent."""
        self.ready, self.draining = False, True
        for generation in list(self._generations):
            generation.stream.fail(Unavailable("the server has stopped"))
        if self.source is not None:
            await self.source.stop(kill=kill)
        if self._pool is not None:
            await self._pool.close()
        self._change.announce()

    @property
    def serving(self) -> bool:
        """Whether a replica takes sequences now."""
        return self._replicas is not None and self._replicas.serving

    @property
    def healthy(self) -> bool:
        """Whether a load balancer should send requests here."""
        return self.ready and self.serving and not self.leaving

    @property
    def proven(self) -> bool:
        """Whether requests are taken, and a replica has ever served: then they are answered, be it later."""
        return self.ready and self._replicas is not None and self._replicas.has_served

    @property
    def message(self) -> str:
        """Why requests have to wait; empty when they do not."""
        return self._replicas.message if self._replicas is not None else "the model is still loading"

    @property
    def num_running(self) -> int:
        """Sequences that a replica has."""
        return self._dispatcher.num_running if self._replicas is not None else 0

    @property
    def num_waiting(self) -> int:
        """Sequences that wait for a replica."""
        return self._dispatcher.num_waiting if self._replicas is not None else 0

    @property
    def fingerprint(self) -> str:
        """Numerics fingerprint of a replica that serves, else of one that did."""
        return self._replicas.fingerprint if self._replicas is not None else ""

    @property
    def replicas(self) -> Sequence[ReplicaLink]:
        """The replicas, by index or in the order in which they were found."""
        return self._replicas.links if self._replicas is not None else ()

    @property
    def next_change(self) -> asyncio.Event:
        """Set at the next change of `healthy`, `ready` or a replica's state. Take it before you look at them."""
        return self._change.next

    async def failed(self) -> str:
        """Waits until no replica will ever serve again, after `start`; why."""
        assert self._replicas is not None
        return await self._replicas.failed()

    async def scrape(self) -> bytes:
        """The Prometheus metrics; empty until the model is known."""
        if self._observation is None:
            return b""
        workers = self._pool.num_workers if self._pool is not None else 0
        return await self._observation.scrape(self._dispatcher, self.replicas, workers)

    # ---- requests

    async def generate(self, request: GenerateRequestData) -> AsyncGenerator[Delta, None]:
        """Deltas as they come. Closing the iterator or cancelling its task frees the request. Raises RequestError."""
        generation = await self.open([request])
        try:
            while deltas := await generation.take():
                for delta in deltas:
                    yield delta
        finally:
            generation.close()

    async def open(self, requests: Sequence[GenerateRequestData]) -> Generation:
        """Checks, tokenizes and queues requests, whose choices share one stream. Whoever takes it must close it."""
        arrival = self.last_opened = asyncio.get_running_loop().time()
        self._opening += 1
        self._idle.clear()
        try:
            return await self._open(requests, arrival)
        except RequestError as error:
            if self._observation is not None:
                self._observation.refused(error, requests[0].tenant)
            raise
        finally:
            self._opening -= 1
            self._settle()

    async def _open(self, requests: Sequence[GenerateRequestData], arrival: float) -> Generation:
        self._check_state()
        checked = [self._admission.check(request) for request in requests]
        total = sum(each.params.n for each in checked)
        if total > self._max_waiting:
            raise InvalidRequest(
                f"{total} choices at once (prompts times n); at most {self._max_waiting} fit into the queue: "
                "send them in several requests",
                requests[0].names("prompt" if checked[0].params.n == 1 else "n").partition("[")[0],
            )
        self._dispatcher.check_room(self._tokenizing + total)
        ids = self._take_ids(requests)
        try:
            admitted = await self._admit(checked, total)
            self._check_state()
            self._dispatcher.check_room(total)
        except BaseException:
            self._ids.difference_update(ids)
            raise
        generation = Generation(ids, arrival, self._ended)
        stream = DeltaStream(total, max_unread=self._max_unread, on_failure=generation.cancel)
        choices: list[Choice] = []
        for request, name, each in zip(requests, ids, admitted, strict=True):
            timeout = request.timeout_seconds
            choices += self._admission.choices(
                each,
                request_id=name,
                first_index=len(choices),
                arrival=arrival,
                deadline=None if timeout is None else arrival + timeout,
                tenant=request.tenant,
                stream=stream,
            )
        self._generations.add(generation)
        generation.start(stream, choices, self._dispatcher)
        return generation

    async def _admit(self, checked: Sequence[Checked], num_choices: int) -> list[Admitted]:
        self._tokenizing += num_choices
        try:
            if len(checked) == 1:
                return [await self._admission.admit(checked[0])]
            async with asyncio.TaskGroup() as group:
                tasks = [group.create_task(self._admission.admit(each)) for each in checked]
            return [task.result() for task in tasks]
        except BaseExceptionGroup as errors:
            raise errors.exceptions[0] from None
        finally:
            self._tokenizing -= num_choices

    # ---- inside

    def _load(self) -> tuple[ResolvedModel, Tokenizer | None]:
        resolved = resolve(self.deployment.replica_config.model_config, progress=self._progress)
        if resolved.tokenizer.kind == "none":
            self.notices.append(
                f"{resolved.path} has no tokenizer: only requests of token ids are served; "
                "put its tokenizer.json there to serve text"
            )
            return resolved, None
        return resolved, load_tokenizer(resolved)

    def _model_info(self, resolved: ResolvedModel) -> ModelInfo:
        self.notices += resolved.notices
        spec = resolved.spec
        name = self.deployment.served_name
        return ModelInfo(
            name=name,
            aliases=tuple({resolved.served_name, resolved.reference} - {name}),
            max_model_len=resolved.max_model_len,
            vocab_size=spec.vocab_size,
            eos_token_ids=tuple(spec.eos_token_ids),
            num_layers=spec.num_layers,
            dtype=spec.dtype,
            architecture=spec.architecture,
        )

    def _check_state(self) -> None:
        if self.draining:
            raise Unavailable("the server is draining and takes no more requests; use another one", 5.0)
        if not self.ready:
            raise Unavailable("the model is still loading; try again soon")

    def _take_ids(self, requests: Sequence[GenerateRequestData]) -> list[str]:
        ids = [request.request_id or uuid.uuid4().hex for request in requests]
        for name in ids:
            if name in self._ids or ids.count(name) > 1:
                raise DuplicateRequest(f"a request with the id {name!r} is in flight already")
        self._ids.update(ids)
        return ids

    def _ended(self, generation: Generation) -> None:
        self._generations.discard(generation)
        self._ids.difference_update(generation.request_ids)
        if self._observation is not None:
            self._observation.ended(generation)
        self._settle()

    def _settle(self) -> None:
        if not (self._generations or self._opening):
            self._idle.set()
