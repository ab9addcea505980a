"""Tables and times in plain text, in the manner of kubectl."""

from __future__ import annotations

from collections.abc import Sequence

from vajra.operator.planning import clock


def table(heading: Sequence[str], rows: Sequence[Sequence[object]], indent: str = "") -> list[str]:
    """Lines of columns that are as wide as they must be; a column in which nothing stands is left out."""
    cells = [[str(cell) for cell in row] for row in rows]
    columns = [i for i in range(len(heading)) if any(row[i] for row in cells)]
    lines = [[heading[i] for i in columns], *([row[i] or "-" for i in columns] for row in cells)]
    widths = [max(len(line[i]) for line in lines) for i in range(len(columns))]
    return [
        indent + "   ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        for line in lines
    ]


def facts(pairs: Sequence[tuple[str, str]], indent: str = "") -> list[str]:
    """Lines of a name and what is so called; those of which nothing is known are left out."""
    known = [(name, value) for name, value in pairs if value]
    width = max((len(name) for name, _ in known), default=0)
    return [f"{indent}{name.ljust(width)}  {value}" for name, value in known]


def age(timestamp: str, now: float) -> str:
    """How long ago, in the largest unit that gives at least two: 90s, 5m, 3h, 4d."""
    seconds = max(0, int(now - clock.seconds(timestamp)))
    for unit, size in (("d", 86400), ("h", 3600), ("m", 60)):
        if seconds >= 2 * size:
            return f"{seconds // size}{unit}"
    return f"{seconds}s"
