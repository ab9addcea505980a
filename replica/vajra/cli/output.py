"""Output for people and for machines, and progress on stderr."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from pathlib import Path

    from rich.console import Console
    from rich.progress import TaskID

Progress = Callable[[str, int, int], None]
"""Called with what is going on, how much is done and how much there is (0: unknown)."""


class Format(StrEnum):
    """How data is printed."""

    text = "text"
    json = "json"


FormatOption = Annotated[Format, typer.Option("-o", "--output", help="How to print: for people or as JSON.")]


def print_json(value: Any, *, compact: bool = False) -> None:
    """JSON on stdout; compact is one line."""
    json.dump(value, sys.stdout, ensure_ascii=False, indent=None if compact else 2)
    print(flush=True)


def print_rich(fill: Callable[[Console], None]) -> None:
    """What `fill` prints on a console, on stdout."""
    from rich.console import Console

    console = Console(soft_wrap=True)
    with console.capture() as text:  # rich would exit with 1 when nobody reads on
        fill(console)
    print(text.get(), end="")


def plots(write: Callable[[], list[Path]]) -> list[Path]:
    """The files that `write` writes; none, and a word on stderr, where matplotlib is missing."""
    try:
        return write()
    except ImportError:
        print("no plots: they need matplotlib (pip install 'vajra[plots]')", file=sys.stderr)
        return []


@contextmanager
def progress_bars() -> Iterator[Progress]:
    """One bar per stage on a terminal's stderr; elsewhere one line per stage."""
    if not sys.stderr.isatty():
        yield _Lines()
        return
    from rich.console import Console
    from rich.progress import BarColumn, SpinnerColumn, TaskProgressColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as RichProgress

    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        TaskProgressColumn(),
        TimeRemainingColumn(),
    )
    with RichProgress(*columns, console=Console(stderr=True), transient=True) as bars:
        tasks: dict[str, TaskID] = {}

        def show(stage: str, done: int, total: int) -> None:
            if stage not in tasks:
                for task in tasks.values():
                    bars.update(task, visible=False)
                tasks[stage] = bars.add_task(stage, total=None)
            bars.update(tasks[stage], completed=done, total=total or None)

        yield show


class _Lines:
    def __init__(self) -> None:
        self._stage = ""

    def __call__(self, stage: str, done: int, total: int) -> None:
        if stage != self._stage:
            self._stage = stage
            print(stage, file=sys.stderr, flush=True)
