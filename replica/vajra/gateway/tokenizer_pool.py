"""Tokenizer processes, started as load asks, up to num_tokenizer_workers."""

from __future__ import annotations

import array
import asyncio
import json
import logging
import subprocess
import sys
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Protocol

from vajra.gateway.errors import InternalError
from vajra.gateway.tokenizer_worker import ADD_SPECIAL_TOKENS, FAILED, HEADER, read_frame

log = logging.getLogger(__name__)

# Below this many characters a text is tokenized in place. It takes well under a millisecond, about what the way to
# another process and back costs, and the tokenizer (Rust) releases the interpreter's lock while it works.
INLINE_CHARACTERS = 4096
IDLE_SECONDS = 60.0  # a worker without work goes, and gives its memory back
MAX_WORKERS = 1024  # the most that a deployment may ask for
_ATTEMPTS = 3


class Encoder(Protocol):
    """What is needed of vajra.models.Tokenizer."""

    def encode(self, text: str, add_special_tokens: bool = True) -> list[int]: ...


@dataclass(eq=False)
class _Job:
    text: bytes
    flags: int
    done: asyncio.Future[list[int]]
    attempts: int = 0


class TokenizerPool:
    """Encodes texts: short ones in place, long ones in worker processes that the loop waits for."""

    def __init__(self, tokenizer: Encoder, manifest: dict[str, Any], max_workers: int) -> None:
        """`manifest` is the deployment that the workers load the same tokenizer for."""
        self._tokenizer = tokenizer
        self._manifest = json.dumps(manifest).encode()
        self._max_workers = max_workers
        self._threads = ThreadPoolExecutor(MAX_WORKERS, thread_name_prefix="tokenizer")  # started as workers are
        self._jobs: deque[_Job] = deque()
        self._arrived = asyncio.Event()
        self._idle = 0
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def num_workers(self) -> int:
        """Processes there are now."""
        return len(self._tasks)

    def resize(self, max_workers: int) -> None:
        """Another bound; workers beyond it go as soon as they have nothing to do."""
        self._max_workers = max_workers
        self._arrived.set()

    async def encode(self, text: str, *, add_special_tokens: bool = True) -> list[int]:
        """Token ids. Raises ValueError for a text that is no Unicode, InternalError when workers keep dying."""
        if len(text) < INLINE_CHARACTERS or self._max_workers < 1:
            return self._tokenizer.encode(text, add_special_tokens)
        try:
            data = text.encode()
        except UnicodeEncodeError as e:
            raise ValueError("the text is not valid Unicode: it holds half of a surrogate pair") from e
        job = _Job(data, ADD_SPECIAL_TOKENS if add_special_tokens else 0, asyncio.get_running_loop().create_future())
        self._put(job)
        return await job.done

    async def close(self) -> None:
        """Ends the workers; jobs that wait fail."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._threads.shutdown()
        for job in self._jobs:
            job.done.cancel()

    def _put(self, job: _Job) -> None:
        self._jobs.append(job)
        self._arrived.set()
        if len(self._jobs) > self._idle and len(self._tasks) < self._max_workers:
            task = asyncio.create_task(self._work())
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _next(self) -> _Job | None:
        """The next job that someone still waits for; None after a while without any, or when workers are to go."""
        self._idle += 1
        try:
            async with asyncio.timeout(IDLE_SECONDS):
                while not self._is_surplus():
                    while self._jobs:
                        job = self._jobs.popleft()
                        if not job.done.done():
                            return job
                    self._arrived.clear()
                    await self._arrived.wait()
                return None
        except TimeoutError:
            return None
        finally:
            self._idle -= 1

    def _is_surplus(self) -> bool:
        """Whether there is one worker too many: then it is this one, and its place is given up at once."""
        surplus = len(self._tasks) > self._max_workers
        if surplus:
            self._give_up_place()
        return surplus

    def _give_up_place(self) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.discard(task)

    async def _work(self) -> None:
        """One worker process, from its first job to idleness or death. A thread talks to it, for pipes block."""
        command = [sys.executable, "-m", "vajra.gateway.tokenizer_worker"]
        process = subprocess.Popen(  # noqa: ASYNC220 (exec is quick; asyncio's own would race for the exit status)
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        loop = asyncio.get_running_loop()
        manifest = self._manifest
        try:
            while (job := await self._next()) is not None:
                if process.poll() is not None:  # it died while it had nothing to do: the job is not to blame
                    self._hand_over(job)
                    return
                first, manifest = manifest, b""
                try:
                    ids = await loop.run_in_executor(self._threads, _exchange, process, first, job)
                except (OSError, EOFError):
                    self._retry(job)
                    return
                except InternalError as error:
                    _settle(job, error)
                else:
                    if not job.done.done():
                        job.done.set_result(ids)
        finally:
            process.kill()
            process.communicate()  # reaps it and closes the pipes, which ends the thread too

    def _retry(self, job: _Job) -> None:
        job.attempts += 1
        log.warning("a tokenizer worker died over a text of %d bytes", len(job.text))
        if job.attempts < _ATTEMPTS:
            self._hand_over(job)
        else:
            _settle(job, InternalError(f"tokenizer workers died {_ATTEMPTS} times over this text"))

    def _hand_over(self, job: _Job) -> None:
        """Queues a job again. This worker is on its way out: its place is free for the one that follows."""
        self._give_up_place()
        self._put(job)


def _exchange(process: subprocess.Popen[bytes], manifest: bytes, job: _Job) -> list[int]:
    """Sends the manifest, which goes before the first text, and a text, and waits for its ids. Raises OSError or
    EOFError when the worker dies."""
    assert process.stdin is not None
    assert process.stdout is not None
    if manifest:
        process.stdin.write(HEADER.pack(0, len(manifest)) + manifest)
    process.stdin.write(HEADER.pack(job.flags, len(job.text)) + job.text)
    process.stdin.flush()
    frame = read_frame(process.stdout)
    if frame is None:
        raise EOFError
    flags, data = frame
    if flags & FAILED:
        raise InternalError(f"the tokenizer failed: {data.decode('utf-8', 'replace')}")
    ids = array.array("I")
    ids.frombytes(data)
    return ids.tolist()


def _settle(job: _Job, error: Exception) -> None:
    if not job.done.done():
        job.done.set_exception(error)
