"""What options hold, checked: faults name the option."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from vajra.cli.errors import USAGE, CommandError

T = TypeVar("T")


def parsed(option: str, parse: Callable[[str], T], text: str) -> T:
    """The value of an option's text. Raises CommandError for what `parse` raises ValueError for."""
    try:
        return parse(text)
    except ValueError as error:
        raise CommandError(f"{option}: {error}", USAGE) from None


def make_output_folder(path: Path) -> None:
    """The folder of --output-dir, which need not exist. Raises CommandError when it cannot be written to."""
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise CommandError(f"--output-dir: {path} cannot be made: {error.strerror}", USAGE) from error
    if not os.access(path, os.W_OK):
        raise CommandError(f"--output-dir: {path} cannot be written to", USAGE)
