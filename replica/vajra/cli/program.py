"""Running a program of commands: exit codes, faults on one screen, readers that stop."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import typer
from typer.core import TyperGroup

from vajra.cli.errors import report


@contextmanager
def _closed_pipe_ends_well() -> Iterator[None]:
    """typer would make exit code 1, a failure, of a reader that has read enough."""
    try:
        yield
    except BrokenPipeError as error:
        raise typer.Exit(report(error)) from None


class Commands(TyperGroup):
    """The commands, whose output may be cut short: `vajra … | head`."""

    def make_context(self, *args: Any, **kwargs: Any) -> Any:
        with _closed_pipe_ends_well():  # parsing prints --help
            return super().make_context(*args, **kwargs)

    def invoke(self, ctx: Any) -> Any:
        with _closed_pipe_ends_well():
            return super().invoke(ctx)


def run(app: typer.Typer, name: str) -> None:
    """Runs a command line and exits; see `vajra.cli.errors` for the codes."""
    try:
        app(prog_name=name)
    except SystemExit as end:
        sys.exit(_flushed(end.code, name))
    except (Exception, KeyboardInterrupt) as error:
        sys.exit(_flushed(report(error, name), name))


def _flushed(code: Any, name: str) -> Any:
    """The exit code, once all output is out: the interpreter would tell of a closed pipe as a fault of ours."""
    try:
        if sys.stdout is not None:  # None: it was closed from the start
            sys.stdout.flush()
    except OSError as error:
        return report(error, name) or code
    return code
