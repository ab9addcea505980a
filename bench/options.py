"""Command-line options that the benches share."""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TypeVar

from bench.engines import ENGINES, Engine
from bench.machine import usable_cpus
from bench.peers.layout import Layout
from bench.processes import end_on_signal

T = TypeVar("T")


def parser(module: str, doc: str | None) -> argparse.ArgumentParser:
    """A parser with --peers, --threads and -o; from now on SIGTERM ends the program's engines too."""
    end_on_signal()
    found = argparse.ArgumentParser(
        prog=f"python -m bench.{module}", description=doc, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    found.add_argument("--peers", type=Path, default=Path("build/peers"), help="the installer's folder [%(default)s]")
    found.add_argument("--threads", type=int, default=usable_cpus(), help="threads of each engine [%(default)s]")
    found.add_argument("-o", dest="output", choices=["text", "json"], default="text", help="how to print [text]")
    return found


def names(text: str) -> list[str]:
    """A list with commas."""
    return [name for name in text.split(",") if name]


def chosen(kind: str, wanted: Iterable[str], known: Mapping[str, T], options: argparse.ArgumentParser) -> list[T]:
    """The values of names; ends the program for one that is not known."""
    wanted = list(dict.fromkeys(wanted))
    if unknown := [name for name in wanted if name not in known]:
        options.error(f"no such {kind}: {', '.join(unknown)}; there are {', '.join(known)}")
    return [known[name] for name in wanted]


def engines(wanted: Iterable[str], layout: Layout, options: argparse.ArgumentParser) -> list[Engine]:
    """Engines by name, all of them installed; ends the program otherwise."""
    found = chosen("engine", wanted, ENGINES, options)
    if not found:
        options.error(f"no engine is named; there are {', '.join(ENGINES)}")
    steps = dict.fromkeys(s for engine in found for s in engine.steps if not (layout.root / f".done-{s}").exists())
    if steps:
        options.error(f"{layout.root} lacks {', '.join(steps)}; run: python -m bench.peers.install {layout.root}")
    return found
