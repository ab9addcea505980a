"""Binds waiting choices to replicas that have room, follows their streams, and resumes them when a replica is lost."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Any, Protocol

import grpc

from vajra.dispatch.v1 import dispatch_pb2
from vajra.gateway.choice import Choice
from vajra.gateway.errors import (
    DeadlineExceeded,
    InternalError,
    InvalidRequest,
    Overloaded,
    RequestError,
    Unavailable,
)
from vajra.gateway.prefill_times import SetPrefillTimes
from vajra.gateway.replica_link import ReplicaLink, ReplicaState
from vajra.scheduling import Prioritizer, QueuedRequest, ReplicaSetQueue, RoomReport

log = logging.getLogger(__name__)

MAX_FRUITLESS = 3  # replicas lost in a row under one choice without a token: then the choice may be what kills them
_LOST = (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED)  # the latter from a server that is closing
_MIN_RETRY, _MAX_RETRY = 1.0, 60.0  # seconds of advice to a client that finds the queue full


class Observer(Protocol):
    """Hears of tokens, for metrics. Times are seconds on the loop's clock."""

    def first_token(self, choice: Choice, now: float) -> None: ...

    def next_tokens(self, choice: Choice, count: int, now: float) -> None: ...

    def failover(self) -> None: ...


class Dispatcher:
    """The replica set's one queue in operation. Everything happens on one event loop."""

    def __init__(self, prioritizer: Prioritizer, times: SetPrefillTimes, capacity: int, observer: Observer) -> None:
        """`times` are what the prioritizer goes by, and are kept up to date here."""
        self._times = times
        self._queue = ReplicaSetQueue(prioritizer, capacity)
        self._capacity = capacity
        self._observer = observer
        self._links: dict[str, ReplicaLink] = {}  # those with room, or without it for a moment
        self._waiting: dict[str, Choice] = {}  # in order of arrival in the queue
        self._resumed: dict[str, tuple[QueuedRequest, str]] = {}  # those of them with tokens, and their fingerprints
        self._running = 0
        self._lost = ""  # why there will be no replica any more
        self._clock: Callable[[], float] = asyncio.get_running_loop().time

    def set_prioritizer(self, prioritizer: Prioritizer) -> None:
        """Another order, with immediate effect."""
        self._queue.set_prioritizer(prioritizer)
        self._dispatch()

    @property
    def num_waiting(self) -> int:
        """Choices without a replica."""
        return len(self._waiting)

    @property
    def num_running(self) -> int:
        """Choices with one."""
        return self._running

    def check_room(self, num_choices: int) -> None:
        """Raises Overloaded unless so many more may wait, Unavailable when no replica will come back."""
        if self._lost:
            raise Unavailable(self._lost)
        if len(self._waiting) + num_choices > self._capacity:
            raise Overloaded(
                f"{len(self._waiting)} sequences are waiting and the queue holds {self._capacity}, so there is no "
                f"room for {num_choices} more; try again later",
                self.retry_after(),
            )

    def retry_after(self) -> float:
        """Advice for a client: as long as the one that has waited longest has waited."""
        if not self._waiting:
            return _MIN_RETRY
        oldest = next(iter(self._waiting.values()))
        return min(max(self._clock() - oldest.arrival, _MIN_RETRY), _MAX_RETRY)

    # ---- replicas

    def room_changed(self, link: ReplicaLink, room: dispatch_pb2.WatchRoomResponse) -> None:
        """A replica reports its room."""
        self._links[link.name] = link
        self._times.update(link.name, link.times, room.time_scale)
        report = RoomReport(room.free_slots, room.free_blocks, room.block_size, room.accepted, room.accepting)
        self._queue.update_room(link.name, report)
        self._dispatch()

    def replica_lost(self, link: ReplicaLink) -> None:
        """A replica is gone; its streams break by themselves."""
        self._links.pop(link.name, None)
        self._times.remove(link.name)
        self._queue.remove_replica(link.name)
        self._dispatch()  # what it was kept for may go to others now

    def give_up(self, reason: str) -> None:
        """No replica will serve any more: whatever waits fails, and so does what comes."""
        self._lost = reason
        for choice in list(self._waiting.values()):
            if choice.granted is not None and not choice.granted.done():
                choice.granted.set_exception(Unavailable(reason))

    def _dispatch(self) -> None:
        for request, fingerprint in self._resumed.values():
            request.excluded = self._others(fingerprint)
        for request, name in self._queue.dispatch(self._clock()):
            choice: Choice = request.payload
            if choice.granted is not None and not choice.granted.done():
                choice.granted.set_result(self._links[name])  # type: ignore[index]
            else:  # cancelled in this very turn of the loop
                self._queue.settle(name, choice.sequence_id)

    def _others(self, fingerprint: str) -> frozenset[str]:
        """Replicas that would go on with other bits, while there is one that serves and would not."""
        same = {name for name, link in self._links.items() if link.fingerprint == fingerprint}
        if not any(self._links[name].state is ReplicaState.SERVING for name in same):
            return frozenset()
        return frozenset(self._links.keys() - same)

    # ---- choices

    def start(self, choice: Choice) -> asyncio.Task[None]:
        """Queues a choice and carries it to its end, over as many replicas as it takes. Cancelling the task frees
        everything. `check_room` comes before, for all choices of a request at once."""
        self._enqueue(choice)
        task = asyncio.get_running_loop().create_task(self._run(choice))
        task.add_done_callback(lambda _: self.release(choice))  # a task cancelled at once never runs at all
        return task

    async def _run(self, choice: Choice) -> None:
        try:
            while True:
                link = await self._granted(choice)
                self._running += 1
                try:
                    if await self._follow(choice, link):
                        return
                finally:
                    self._running -= 1
                    self._queue.settle(link.name, choice.sequence_id)
                    self._dispatch()
                if choice.close_if_complete():
                    return
                choice.end_stay(self._clock())
                self._enqueue(choice)
        except RequestError as error:
            choice.stream.fail(error)
        except Exception:
            log.exception("choice %s failed", choice.sequence_id)
            choice.stream.fail(InternalError("internal error; the server's log has the details"))
        finally:
            choice.queued = None  # which refers to the choice: neither should wait for the collector of cycles

    def _enqueue(self, choice: Choice) -> None:
        if self._lost:
            raise Unavailable(self._lost)
        choice.granted = asyncio.get_running_loop().create_future()
        request = QueuedRequest(
            choice.sequence_id,
            choice.num_tokens,
            len(choice.prompt),
            choice.arrival,
            deadline=choice.deadline,
            ttft_target=choice.ttft_target,
            tenant=choice.tenant.name,
            tenant_weight=choice.tenant.weight,
            payload=choice,
            blocked=choice.queue_blocked,
            ahead=choice.queue_ahead,
        )
        choice.queued = request
        self._queue.put(request, resumed=True)  # the bound has been kept by `check_room`
        self._waiting[choice.sequence_id] = choice
        if choice.output.token_ids:
            self._resumed[choice.sequence_id] = request, choice.fingerprint
        self._dispatch()

    async def _granted(self, choice: Choice) -> ReplicaLink:
        """Waits for a replica with room."""
        assert choice.granted is not None
        link = await choice.granted
        choice.granted = None
        self._unlist(choice)
        return link

    def _unlist(self, choice: Choice) -> None:
        """It does not wait any more."""
        del self._waiting[choice.sequence_id]
        self._resumed.pop(choice.sequence_id, None)

    def release(self, choice: Choice) -> None:
        """Takes a choice that will not run after all out of the queue, at once. Idempotent."""
        granted, choice.granted = choice.granted, None
        if granted is None:
            return
        self._unlist(choice)
        if self._queue.cancel(choice.sequence_id) is None and granted.done() and not granted.cancelled():
            if granted.exception() is None:  # it was counted as sent
                self._queue.settle(granted.result().name, choice.sequence_id)
            self._dispatch()

    async def _follow(self, choice: Choice, link: ReplicaLink) -> bool:
        """One Run stream. True when the choice has ended, False when it has to go on elsewhere."""
        now = choice.dispatched = self._clock()
        choice.begin_stay(now)
        if choice.first_dispatched is None:
            choice.first_dispatched = now
        resumed = bool(choice.output.token_ids)
        if not resumed:
            choice.fingerprint = link.fingerprint
        elif link.fingerprint != choice.fingerprint:
            choice.inexact = True
        timeout = None if choice.deadline is None else max(0.0, choice.deadline - now)
        try:
            call = link.run(choice.run_request(now), timeout)
        except ConnectionError as error:
            self._replica_failed(choice, link, str(error))
            return False
        try:
            async for response in call:
                self._observe(choice, len(response.token_ids))
                goes_on = choice.accept(response)
                if choice.usage is not None:
                    return True
                if not goes_on:
                    self._observer.failover()
                    return False
            raise InternalError(f"replica {link.name} ended a stream without a word")
        except grpc.aio.AioRpcError as error:
            self._judge(choice, link, error)
            return False
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if task is None or task.cancelling():
                raise
            # Nobody cancelled this task: the dead replica's channel was closed, and gRPC cancels the calls on it.
            self._replica_failed(choice, link, "its channel was closed")
            return False
        finally:
            call.cancel()

    def _judge(self, choice: Choice, link: ReplicaLink, error: grpc.aio.AioRpcError) -> None:
        """Returns when the choice should try again; raises what its client should hear otherwise."""
        code, details = error.code(), error.details() or ""
        if code is grpc.StatusCode.INVALID_ARGUMENT:
            raise InvalidRequest(details)
        if code is grpc.StatusCode.DEADLINE_EXCEEDED:
            raise DeadlineExceeded("the deadline passed while the request was running")
        if code is grpc.StatusCode.ABORTED:  # its verdict on this very sequence, in whatever state it is itself
            raise InternalError(details)
        if _not_taken(error):
            choice.refused()
            self._out_of_use(link)
        elif code in _LOST or link.state is not ReplicaState.SERVING:
            self._replica_failed(choice, link, details)
        elif code is not grpc.StatusCode.RESOURCE_EXHAUSTED:
            log.error("replica %s failed choice %s: %s %s", link.name, choice.sequence_id, code.name, details)
            raise InternalError(f"replica {link.name} failed: {details}")

    def _replica_failed(self, choice: Choice, link: ReplicaLink, details: str) -> None:
        """Returns when the choice should go on elsewhere; raises Unavailable when that has been tried enough."""
        self._out_of_use(link)
        choice.failovers += 1
        choice.fruitless += 1
        self._observer.failover()
        log.warning("choice %s lost replica %s: %s", choice.sequence_id, link.name, details)
        if choice.fruitless >= MAX_FRUITLESS:
            raise Unavailable(f"{choice.fruitless} replicas in a row were lost under this request: {details}")

    def _out_of_use(self, link: ReplicaLink) -> None:
        """Until it speaks again: the next choice must not run into it."""
        self._queue.remove_replica(link.name)
        link.refresh()

    def _observe(self, choice: Choice, count: int) -> None:
        if not count:
            return
        now = self._clock()
        if choice.first_token is None:
            choice.first_token = now
            self._observer.first_token(choice, now)
        else:
            self._observer.next_tokens(choice, count, now)
        choice.last_token = now
        if choice.queued is not None:
            self._queue.served(choice.queued, count)


def _not_taken(error: grpc.aio.AioRpcError) -> bool:
    """Whether the replica has refused a sequence without running any of it: then it is not to blame."""
    metadata: Any = error.trailing_metadata()  # grpc.aio.Metadata; its stubs know it as a tuple
    return metadata is not None and "vajra-not-taken" in metadata
