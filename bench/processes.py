"""Engines as processes: runners for the offline face, servers for HTTP. One that waits is stopped."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import psutil
from bench.engines import ROOT, Engine, Launch, Setting
from bench.peers.protocol import Prompts

from vajra.worker.process import die_with_parent

_START_SECONDS = 600


class EngineFailed(Exception):
    """An engine did not start or died; the text has the end of what it printed."""


@dataclass(frozen=True)
class Seconds:
    """One answer of a runner; see bench.peers.protocol."""

    first: float | None
    whole: float


class _Process:
    """A child in a session of its own, whose output goes to a log."""

    name: str

    def __init__(self, launch: Launch, log: Path, *, talks: bool) -> None:
        self._log = log
        log.parent.mkdir(parents=True, exist_ok=True)
        pipe = subprocess.PIPE if talks else None
        with log.open("w") as output:
            self._child = subprocess.Popen(
                launch.command,
                env={**os.environ, **launch.environment},
                cwd=ROOT,
                stdin=pipe or subprocess.DEVNULL,
                stdout=pipe or output,
                stderr=output,
                text=True,
                start_new_session=True,
                preexec_fn=die_with_parent,  # a stopped engine would outlive us for ever
            )

    @contextmanager
    def running(self) -> Iterator[Self]:
        """Lets a stopped engine run for the length of a block."""
        self._signal(signal.SIGCONT)
        try:
            yield self
        finally:
            self._signal(signal.SIGSTOP)

    def close(self) -> None:
        """Ends it and its descendants."""
        try:
            family = self._family()
        except psutil.NoSuchProcess:
            family = []
        self._signal(signal.SIGCONT)
        self._child.terminate()
        try:
            self._child.wait(20)
        except subprocess.TimeoutExpired:
            self._child.kill()
            self._child.wait()
        for process in family:
            try:
                process.kill()
            except psutil.NoSuchProcess:
                continue
        for pipe in (self._child.stdin, self._child.stdout):
            if pipe is not None:
                pipe.close()

    def _family(self) -> list[psutil.Process]:
        root = psutil.Process(self._child.pid)
        return [root, *root.children(recursive=True)]  # a replica has a session of its own: no process group has all

    def _signal(self, number: signal.Signals) -> None:
        try:
            for process in self._family():
                process.send_signal(number)
        except psutil.NoSuchProcess:
            return

    def _failed(self, what: str) -> EngineFailed:
        lines = [line for line in self._log.read_text(errors="replace").splitlines() if line.strip()]
        return EngineFailed(f"{what}; the end of {self._log}:\n  " + "\n  ".join(lines[-5:]))


class Runner(_Process):
    """An engine's offline face."""

    def __init__(self, engine: Engine, setting: Setting, log: Path) -> None:
        """Loads the model and returns when it is loaded. Raises EngineFailed."""
        super().__init__(engine.offline(setting), log, talks=True)
        self.name = engine.name
        try:
            self.version = str(self._receive()["ready"])
        except BaseException:
            self.close()
            raise

    def ask(self, prompts: Prompts, output: int, *, first: bool) -> Seconds:
        """One measurement. Raises EngineFailed."""
        assert self._child.stdin is not None
        try:
            self._child.stdin.write(json.dumps({"prompts": prompts, "output": output, "first": first}) + "\n")
            self._child.stdin.flush()
        except BrokenPipeError:
            raise self._failed(f"{self.name} is gone") from None
        answer = self._receive()
        return Seconds(answer["first_s"], answer["whole_s"])

    def _receive(self) -> dict[str, Any]:
        assert self._child.stdout is not None
        line = self._child.stdout.readline()
        if not line:
            status = self._child.wait()
            raise self._failed(f"{self.name} ended with status {status}")
        message: dict[str, Any] = json.loads(line)
        return message


class Server(_Process):
    """An engine's HTTP face, with OpenAI's API at `url`."""

    def __init__(self, engine: Engine, setting: Setting, log: Path) -> None:
        """Returns when it lists its models. Raises EngineFailed."""
        if engine.server is None:
            raise EngineFailed(f"{engine.name} has no server")
        launch = engine.server(setting)
        super().__init__(launch, log, talks=False)
        self.name, self.body = engine.name, dict(launch.body)
        self.url = f"http://127.0.0.1:{setting.port}"
        end = time.monotonic() + _START_SECONDS
        try:
            while not self._answers():
                if (status := self._child.poll()) is not None:
                    raise self._failed(f"the server of {engine.name} ended with status {status}")
                if time.monotonic() > end:
                    raise self._failed(f"the server of {engine.name} did not answer within {_START_SECONDS} s")
                time.sleep(0.2)  # nobody tells when another's server is up
        except BaseException:
            self.close()
            raise

    def _answers(self) -> bool:
        try:
            with urllib.request.urlopen(f"{self.url}/health", timeout=5) as answer:
                return bool(answer.status == 200)
        except (urllib.error.URLError, OSError):
            return False


def end_on_signal() -> None:
    """Lets SIGTERM unwind as Ctrl-C does, so that `finally` ends the engines."""
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))


def free_port() -> int:
    """A port that was free a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
