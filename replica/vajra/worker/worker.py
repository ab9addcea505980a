"""The worker's two loops: one thread feeds the engine, another sends what it finishes."""

from __future__ import annotations

import os
import queue
import socket
import sys
import threading
import traceback
from typing import Any

from vajra.worker.protocol import (
    Add,
    Fault,
    FrameSplitter,
    Free,
    FromWorker,
    Heartbeat,
    Init,
    Loading,
    Plan,
    Result,
    Token,
    ToWorker,
    encode,
    to_worker,
)

HEARTBEAT_SECONDS = 1.0


class Channel:
    """Blocking end of the control channel; `send` may be called from any thread."""

    def __init__(self, fd: int) -> None:
        self._socket = socket.socket(fileno=fd)
        self._socket.setblocking(True)
        self._splitter = FrameSplitter()
        self._lock = threading.Lock()

    def send(self, *messages: FromWorker) -> None:
        """Writes messages; a controller that is gone ends the process through `receive`."""
        data = encode(messages)
        with self._lock:
            try:
                self._socket.sendall(data)
            except OSError:
                return

    def receive(self) -> list[ToWorker]:
        """Waits for at least one message; empty when the controller closed the channel."""
        while True:
            try:
                data = self._socket.recv(1 << 20)
            except ConnectionError:
                return []
            if not data:
                return []
            frames = self._splitter.push(data)
            if frames:
                return [to_worker.decode(frame) for frame in frames]


class Worker:
    """Feeds an engine from a channel. Engine calls come from the caller of `feed`; results leave on a thread."""

    def __init__(self, channel: Channel, engine: Any) -> None:
        from vajra.engine.api import BatchPlan, PlanItem
        from vajra.engine.sampling import SamplingParams

        self._channel = channel
        self._engine = engine
        self._handles: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self._steps = 0
        self._plan_type, self._item_type, self._sampling_type = BatchPlan, PlanItem, SamplingParams
        threading.Thread(target=self._send_results, name="results", daemon=True).start()

    def feed(self, message: ToWorker) -> None:
        """Takes one message to the engine."""
        if isinstance(message, Plan):
            items = [self._item_type(*item) for item in message.items]
            self._handles.put(self._engine.submit(self._plan_type(message.step_id, items, message.preempted)))
        elif isinstance(message, Add):
            sampling = dict(message.sampling)
            sampling["stop_token_ids"] = tuple(sampling.get("stop_token_ids", ()))
            params = self._sampling_type(**sampling)
            self._engine.add_sequence(message.seq_id, message.token_ids, message.num_prompt_tokens, params)
        elif isinstance(message, Free):
            for seq_id in message.seq_ids:
                self._engine.free_sequence(seq_id)
        else:
            raise TypeError(f"{type(message).__name__} comes once, at the start")

    def _send_results(self) -> None:
        try:
            while True:
                self._channel.send(self._next_result())
        except Exception as error:  # whatever it was, the controller must hear of it and start anew
            self._channel.send(_fault(error, permanent=False))
            sys.stderr.flush()
            os._exit(1)  # the main thread waits in the engine or on the channel

    def _next_result(self) -> Result:
        """Waits for the next step in order, with a sign of life each second."""
        while True:
            try:
                handle = self._handles.get(timeout=HEARTBEAT_SECONDS)
                break
            except queue.Empty:
                self._channel.send(Heartbeat(self._steps, 0))
        while True:
            try:
                result = handle.result(HEARTBEAT_SECONDS)
                break
            except TimeoutError:
                self._channel.send(Heartbeat(self._steps, 1 + self._handles.qsize()))
        self._steps += 1
        tokens = [
            Token(t.seq_id, t.token_id, int(t.finish), t.logprob, [(i, p) for i, p in t.top_logprobs])
            for t in result.tokens
        ]
        return Result(result.step_id, tokens, result.seconds)


def run(fd: int) -> int:
    """Loads, serves until the channel closes, and says why when it cannot. The exit status."""
    channel = Channel(fd)
    messages = channel.receive()
    if not messages:
        return 0
    if not isinstance(messages[0], Init):
        channel.send(Fault(f"the first message must be Init, not {type(messages[0]).__name__}", True))
        return 1
    try:
        from vajra.worker.loading import load_engine

        loaded = load_engine(messages[0], lambda stage, part: channel.send(Loading(stage, part)))
    except Exception as error:
        channel.send(_fault(error, permanent=_is_users(error), refused=_is_refusal(error)))
        return 1
    worker = Worker(channel, loaded.engine)
    channel.send(loaded.ready)
    try:
        while messages := channel.receive():
            for message in messages:
                worker.feed(message)
    except Exception as error:
        channel.send(_fault(error, permanent=False))
        return 1
    return 0


def _is_users(error: Exception) -> bool:
    """Whether the same configuration would fail again: everything that says what to do, and missing packages."""
    from vajra.config import ConfigError
    from vajra.models import ModelError
    from vajra.prediction import ProfileError
    from vajra.worker.memory import OutOfMemory

    users = ConfigError | ModelError | ProfileError | OutOfMemory | ImportError | NotImplementedError | ValueError
    return isinstance(error, users)


def _is_refusal(error: Exception) -> bool:
    """Whether the configuration itself is at fault, and not a model that it names."""
    from vajra.config import ConfigError
    from vajra.worker.memory import OutOfMemory

    return isinstance(error, ConfigError | NotImplementedError | OutOfMemory)


def _fault(error: Exception, *, permanent: bool, refused: bool = False) -> Fault:
    """The error in one line for users; its traceback goes to the log unless the fault is the user's."""
    if permanent:
        return Fault(str(error) or type(error).__name__, True, refused)
    traceback.print_exception(error)
    return Fault(f"{type(error).__name__}: {error}", False)
