"""Recorded workloads: CSV and JSON Lines, our own columns and those of public traces. Files are read as streams."""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from vajra.simulator.errors import SimulationError
from vajra.simulator.workload import Request


@dataclass(frozen=True)
class Style:
    """Whose columns a file has, and how its clock reads."""

    name: str
    arrival: str
    prompt: str
    output: str
    seconds: Callable[[Any], float]


def _timestamp(text: Any) -> float:
    """Of a date with time, as Azure writes it: up to seven decimals of a second."""
    try:
        return float(text)
    except ValueError:
        whole, dot, decimals = str(text).strip().partition(".")
        zone = decimals.lstrip("0123456789")
        decimals = decimals[: len(decimals) - len(zone)]
        parsed = datetime.fromisoformat(whole + zone)
        return parsed.timestamp() + (float(f"0.{decimals}") if dot and decimals else 0.0)


STYLES = (
    Style("Vajra", "arrival", "prompt_tokens", "output_tokens", float),
    Style("Vidur", "arrived_at", "num_prefill_tokens", "num_decode_tokens", float),
    Style("Mooncake", "timestamp", "input_length", "output_length", lambda milliseconds: float(milliseconds) / 1000),
    Style("Azure", "TIMESTAMP", "ContextTokens", "GeneratedTokens", _timestamp),
)
_OPTIONAL = ("max_tokens", "ttft_target", "tenant", "tenant_weight")  # columns that any style may have


@dataclass(frozen=True)
class Trace:
    """A trace file. Rows are in order of arrival; times count from the first one, and are divided by `speed`."""

    path: Path
    speed: float = 1.0
    limit: int | None = None  # the first requests only
    _measured: dict[str, float] = field(default_factory=dict, compare=False, repr=False)

    def __iter__(self) -> Iterator[Request]:
        """Raises SimulationError with the line of what cannot be read."""
        first: float | None = None
        last = 0.0
        style: Style | None = None
        for number, row in self._rows():
            if style is None:
                style = self._style(row, number)
            arrival, request = self._request(style, row, number)
            if first is None:
                first = last = arrival
            if arrival < last:
                raise self._fault(number, f"it arrives {last - arrival:g} s before the row above; sort the file first")
            last = arrival
            yield request._replace(arrival=(arrival - first) / self.speed)

    def __len__(self) -> int:
        return int(self._measure()["count"])

    def at_rate(self, rate: float) -> Trace:
        """Replayed faster or slower, so that `rate` requests arrive per second on average."""
        measured = self._measure()
        if not measured["seconds"]:
            raise SimulationError(f"{self.path}: all requests arrive at once, so that there is no rate to change")
        return Trace(self.path, rate * measured["seconds"] / (measured["count"] - 1), self.limit, self._measured)

    def _measure(self) -> dict[str, float]:
        """Requests, and seconds from the first to the last at the trace's own speed; reads the file once."""
        if not self._measured:
            count, last = 0, 0.0
            for request in self:
                count, last = count + 1, request.arrival
            if not count:
                raise SimulationError(f"{self.path}: there is no request in it")
            self._measured.update(count=count, seconds=last * self.speed)
        return self._measured

    def _rows(self) -> Iterator[tuple[int, Mapping[str, Any]]]:
        try:
            with self.path.open(encoding="utf-8-sig", newline="") as file:
                rows = self._csv(file) if self.path.suffix.lower() == ".csv" else self._json_lines(file)
                for count, row in enumerate(rows):
                    if count == self.limit:
                        return
                    yield row
        except (OSError, UnicodeDecodeError) as error:
            why = getattr(error, "strerror", None) or "it is not UTF-8 text"
            raise SimulationError(f"{self.path}: cannot be read: {why}") from None

    @staticmethod
    def _csv(file: Any) -> Iterator[tuple[int, Mapping[str, Any]]]:
        reader = csv.DictReader(file, skipinitialspace=True)
        for row in reader:
            yield reader.line_num, row

    def _json_lines(self, file: Any) -> Iterator[tuple[int, Mapping[str, Any]]]:
        for number, line in enumerate(file, 1):
            if not line.strip():
                continue
            try:
                row = json.loads(line)
            except ValueError as error:
                raise self._fault(number, f"it is no JSON: {error}") from None
            if not isinstance(row, dict):
                raise self._fault(number, "it is no JSON object")
            yield number, row

    def _style(self, row: Mapping[str, Any], number: int) -> Style:
        for style in STYLES:
            if all(column in row for column in (style.arrival, style.prompt, style.output)):
                return style
        known = "; ".join(f"{s.arrival}, {s.prompt}, {s.output} ({s.name})" for s in STYLES)
        raise self._fault(number, f"its columns are {', '.join(map(str, row))}; understood are {known}")

    def _request(self, style: Style, row: Mapping[str, Any], number: int) -> tuple[float, Request]:
        column = style.arrival
        try:
            arrival = style.seconds(row[column])
            column = style.prompt
            prompt = int(row[column])
            column = style.output
            output = int(row[column])
            given = {name: row[name] for name in _OPTIONAL if row.get(name) not in (None, "")}
            column = "max_tokens"
            max_tokens = int(given["max_tokens"]) if column in given else None
            column = "ttft_target"
            target = float(given["ttft_target"]) if column in given else None
            column = "tenant_weight"
            weight = float(given.get(column, 1.0))
        except (KeyError, TypeError, ValueError):
            raise self._fault(number, f"{column} is {row.get(column)!r}, which is no number") from None
        if prompt < 1 or output < 1:
            raise self._fault(number, f"{prompt} prompt and {output} output tokens; a request has at least one of each")
        if max_tokens is not None and max_tokens < output:
            raise self._fault(number, f"max_tokens is {max_tokens}, below the {output} that it generates")
        if not 0 < weight < math.inf:
            raise self._fault(number, f"tenant_weight is {weight:g}; a tenant's share is a number above 0")
        tenant = str(given["tenant"]) if "tenant" in given else None
        return arrival, Request(0.0, prompt, output, max_tokens, target, tenant, weight)

    def _fault(self, number: int, problem: str) -> SimulationError:
        return SimulationError(f"{self.path}, line {number}: {problem}")
