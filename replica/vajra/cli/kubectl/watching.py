"""Printing a view once, or again each time that it changes."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from typing import Any, Final, TypeVar

from vajra.cli.kubectl.views.document import document
from vajra.cli.output import Format, print_json

T = TypeVar("T")

POLL_SECONDS: Final = 2.0


def show(view: Any, text: Callable[[Any], str], output: Format) -> None:
    """Prints a view once."""
    if output is Format.json:
        print_json(document(view))
    else:
        print(text(view), flush=True)


def follow(
    read: Callable[[], T],
    text: Callable[[T], str],
    output: Format,
    *,
    done: Callable[[T], bool] = lambda view: False,
    pause: float = POLL_SECONDS,
    redraw: bool = True,
    gap: str = "\n",
) -> T:
    """Prints what `read` gives each time that it is another, until it is done; the last one.

    On a terminal it is drawn anew in place, unless `redraw` is false; elsewhere it is one block per change, with `gap`
    between two of them, as JSON one line.
    """
    if redraw and output is Format.text and sys.stdout.isatty():
        return _redraw(read, text, done, pause)
    last: T | None = None
    while True:
        view = read()
        if view != last:
            if output is Format.json:
                print_json(document(view), compact=True)
            else:
                print(text(view) if last is None else f"{gap}{text(view)}", flush=True)
            last = view
        if done(view):
            return view
        time.sleep(pause)


def _redraw(read: Callable[[], T], text: Callable[[T], str], done: Callable[[T], bool], pause: float) -> T:
    from rich.live import Live
    from rich.text import Text

    with Live(auto_refresh=False) as live:
        while True:
            view = read()
            live.update(Text(text(view)), refresh=True)
            if done(view):
                return view
            time.sleep(pause)
