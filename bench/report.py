"""A comparison's samples as rows: medians, spreads, ratios to the best peer, parts of the roofline. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from bench import roofline
from bench.results import Sample
from bench.roofline import ModelShape, Rates, Storage
from bench.stats import Spread, best, round_ratios
from bench.workloads import DECODE, PREFILL, TOTAL, TTFT, Figure, Workload


@dataclass(frozen=True)
class Cell:
    """One engine's figure. `roofline` is the part of what the machine could do, 0 to 1; None where none is defined."""

    value: Spread
    roofline: float | None


@dataclass(frozen=True)
class Row:
    """One figure of one workload over the engines. `ratios` are ours to the best peer, per round; above 1 we lead."""

    model: str
    workload: Workload
    figure: Figure
    cells: Mapping[str, Cell]
    best_peer: str | None
    ratios: Mapping[str, Spread]  # of each engine of ours

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "model": self.model,
            "workload": self.workload.name,
            "sizes": str(self.workload),
            "figure": self.figure.name,
            "unit": self.figure.unit,
            "engines": {name: {**asdict(c.value), "roofline": c.roofline} for name, c in self.cells.items()},
            "best_peer": self.best_peer,
            "ratio_to_best_peer": {name: asdict(spread) for name, spread in self.ratios.items()},
        }


def ideal(workload: Workload, figure: Figure, shape: ModelShape, storage: Storage, rates: Rates) -> float | None:
    """The figure of an engine that takes the least time; None where requests wait for one another."""
    n, p, o = workload.at_once, workload.prompt, workload.output
    first = roofline.first_token_seconds(shape, n, p, storage, rates)
    rest = roofline.decode_seconds(shape, n, p, o, storage, rates)
    match figure.name:
        case TTFT.name:
            return first * 1000 if n == 1 else None
        case DECODE.name:
            return n * (o - 1) / rest
        case TOTAL.name:
            return n * (p + o) / (first + rest)
        case PREFILL.name:
            return n * p / (first + rest)
    return None


def rows(
    samples: Sequence[Sample],
    workloads: Mapping[str, Workload],
    shapes: Mapping[str, ModelShape],
    rates: Mapping[str, Rates],
    storages: Mapping[str, Storage],
    ours: Sequence[str],
) -> list[Row]:
    """Rows in order of `shapes` and `workloads`; engines in order of `storages`."""
    found = []
    for model in shapes:
        for workload in workloads.values():
            here = [s for s in samples if (s.model, s.workload) == (model, workload.name)]
            for figure in workload.figures if here else ():
                by_engine = {
                    engine: {s.round: s.figures[figure.name] for s in here if s.engine == engine} for engine in storages
                }
                values = {engine: rounds for engine, rounds in by_engine.items() if rounds}
                found.append(_row(model, workload, figure, values, shapes[model], rates[model], storages, ours))
    return found


def _row(
    model: str,
    workload: Workload,
    figure: Figure,
    values: Mapping[str, Mapping[int, float]],
    shape: ModelShape,
    rates: Rates,
    storages: Mapping[str, Storage],
    ours: Sequence[str],
) -> Row:
    better = figure.more_is_better
    spreads = {engine: Spread.of(list(rounds.values())) for engine, rounds in values.items()}
    cells = {}
    for engine, spread in spreads.items():
        limit = ideal(workload, figure, shape, storages[engine], rates)
        part = None if limit is None else (spread.median / limit if better else limit / spread.median)
        cells[engine] = Cell(spread, part)
    peers = {engine: spread for engine, spread in spreads.items() if engine not in ours}
    peer = best(peers, more_is_better=better) if peers else None
    ratios = {}
    for engine in ours:
        if peer is not None and engine in values:
            each = round_ratios(values[engine], values[peer], more_is_better=better)
            if each:
                ratios[engine] = Spread.of(each)
    return Row(model, workload, figure, cells, peer, ratios)


def number(value: float) -> str:
    """Three digits or more, without an exponent."""
    if value >= 100:
        return f"{value:.0f}"
    return f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def spread(value: Spread) -> str:
    """`104 (101–107)`."""
    if value.count == 1:
        return number(value.median)
    return f"{number(value.median)} ({number(value.minimum)}–{number(value.maximum)})"


def markdown(table: Sequence[Row]) -> str:
    """A table for each model: medians with their range, percent of the roofline, and the ratios."""
    parts = []
    for model in dict.fromkeys(row.model for row in table):
        here = [row for row in table if row.model == model]
        engines = list(dict.fromkeys(engine for row in here for engine in row.cells))
        parts.append(f"### {model}\n")
        parts.append("| workload | figure | " + " | ".join([*engines, "ahead of the best peer"]) + " |")
        parts.append("|" + "--|" * (len(engines) + 3))
        for row in here:
            cells = [_cell(row.cells.get(engine)) for engine in engines]
            lead = "; ".join(
                (f"{name}: " if len(row.ratios) > 1 else "") + f"{_ratio(value)} × {row.best_peer}"
                for name, value in row.ratios.items()
            )
            parts.append(
                f"| {row.workload} | {row.figure.name}, {row.figure.unit} | " + " | ".join([*cells, lead or "–"]) + " |"
            )
        parts.append("")
    return "\n".join(parts)


def _cell(cell: Cell | None) -> str:
    if cell is None:
        return "–"
    return spread(cell.value) + ("" if cell.roofline is None else f", {100 * cell.roofline:.0f} %")


def _ratio(value: Spread) -> str:
    return f"{value.median:.2f}" + ("" if value.count == 1 else f" ({value.minimum:.2f}–{value.maximum:.2f})")
