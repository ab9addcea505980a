"""Tokenizer processes, started as load asks, up to num_tokenizer_workers."""

from __future__ import annotations

import array
import asyncio
import contextlib
import itertools
import logging
import sys
from collections import deque
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from vajra.gateway.errors import InternalError
from vajra.gateway.tokenizer_worker import ADD_SPECIAL_TOKENS, FAILED, HEADER

log = logging.getLogger(__name__)

# Below this many characters a text is tokenized in place. It takes well under a millisecond, about what the way to
# another process and back costs, and the tokenizer (Rust) releases the interpreter's lock while it works.
INLINE_CHARACTERS = 4096
IDLE_SECONDS = 60.0  # a worker without work goes, and gives its memory back
_ATTEMPTS = 2


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

    def __init__(self, tokenizer: Encoder, spec_file: Path, max_workers: int) -> None:
        self._tokenizer = tokenizer
        self._spec_file = spec_file
        self._max_workers = max_workers
        self._jobs: deque[_Job] = deque()
        self._arrived = asyncio.Event()
        self._idle = 0
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def num_workers(self) -> int:
        """Processes there are now."""
        return len(self._tasks)

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
        """The next job that someone still waits for, or None after a while without any."""
        self._idle += 1
        try:
            async with asyncio.timeout(IDLE_SECONDS):
                while True:
                    while self._jobs:
                        job = self._jobs.popleft()
                        if not job.done.done():
                            return job
                    self._arrived.clear()
                    await self._arrived.wait()
        except TimeoutError:
            return None
        finally:
            self._idle -= 1

    async def _work(self) -> None:
        """One worker process, from its first job to idleness or death."""
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            *("-m", "vajra.gateway.tokenizer_worker", str(self._spec_file)),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
        )
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            for number in itertools.count():
                job = await self._next()
                if job is None:
                    return
                try:
                    ids = await _exchange(process.stdin, process.stdout, number, job)
                except (OSError, asyncio.IncompleteReadError):
                    self._retry(job)
                    return
                except InternalError as error:
                    _settle(job, error)
                else:
                    if not job.done.done():
                        job.done.set_result(ids)
        finally:
            process.stdin.close()
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()

    def _retry(self, job: _Job) -> None:
        job.attempts += 1
        log.warning("a tokenizer worker died over a text of %d bytes", len(job.text))
        if job.attempts < _ATTEMPTS:
            # This worker is on its way out: its place is free for the one that follows.
            self._tasks.discard(asyncio.current_task())
            self._put(job)
        else:
            _settle(job, InternalError(f"tokenizer workers died {_ATTEMPTS} times over this text"))


async def _exchange(stdin: asyncio.StreamWriter, stdout: asyncio.StreamReader, number: int, job: _Job) -> list[int]:
    stdin.write(HEADER.pack(number, job.flags, len(job.text)))
    stdin.write(job.text)
    await stdin.drain()
    _, flags, length = HEADER.unpack(await stdout.readexactly(HEADER.size))
    data = await stdout.readexactly(length)
    if flags & FAILED:
        raise InternalError(f"the tokenizer failed: {data.decode('utf-8', 'replace')}")
    ids = array.array("I")
    ids.frombytes(data)
    return ids.tolist()


def _settle(job: _Job, error: Exception) -> None:
    if not job.done.done():
        job.done.set_exception(error)
