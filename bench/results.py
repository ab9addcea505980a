"""The file of a comparison: JSON lines, settings first, then a sample each; a run that was cut off goes on from it."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Sample:
    """What one engine did in one round of a workload: its figures by name."""

    model: str
    workload: str
    engine: str
    round: int
    figures: dict[str, float]


@dataclass(frozen=True)
class Failure:
    """An engine that could not run a workload."""

    model: str
    workload: str
    engine: str
    reason: str


class OtherSettings(Exception):
    """The file belongs to a run with other settings or on another machine."""


@dataclass
class Results:
    """Samples of one run, kept in a file as they come."""

    path: Path
    head: dict[str, Any]  # settings and machine
    samples: list[Sample] = field(default_factory=list)
    failures: list[Failure] = field(default_factory=list)
    versions: dict[str, str] = field(default_factory=dict)

    @classmethod
    def open(cls, path: Path, settings: dict[str, Any]) -> Results:
        """Those of an earlier run with the same settings, or empty ones.

        Raises:
            OtherSettings: naming what differs.
        """
        results = cls(path, {"settings": settings})
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            return results
        for line in path.read_text().splitlines():
            try:
                entry = json.loads(line)
            except ValueError:  # the run was cut off while it wrote this line
                continue
            if "settings" in entry:
                results.head = entry
            elif "version" in entry:
                results.versions[entry["engine"]] = entry["version"]
            elif "figures" in entry:
                results.samples.append(Sample(**entry))
            elif "reason" in entry:
                results.failures.append(Failure(**entry))
        found = results.head["settings"]
        different = sorted(k for k in settings.keys() | found.keys() if settings.get(k) != found.get(k))
        if different:
            raise OtherSettings(
                f"{path} is of a run with other {', '.join(different)}: "
                + "; ".join(f"{key} was {found.get(key)!r}, is {settings.get(key)!r}" for key in different)
                + ". Give another file with --results, or remove this one."
            )
        return results

    def keep_complete_rounds(self, engines: Mapping[str, Iterable[str]]) -> None:
        """Drops rounds in which one of a workload's `engines` is missing: only what was measured side by side is
        compared. One that failed is not waited for."""
        kept: list[Sample] = []
        for model, workload in sorted({(s.model, s.workload) for s in self.samples}):
            here = [s for s in self.samples if (s.model, s.workload) == (model, workload)]
            failed = {f.engine for f in self.failures if (f.model, f.workload) == (model, workload)}
            for number in sorted({s.round for s in here}):
                together = {s.engine: s for s in here if s.round == number}
                if set(engines[workload]) - failed <= together.keys():
                    kept.extend(together.values())
        self.samples = kept

    def rounds(self, model: str, workload: str) -> set[int]:
        """Numbers of the rounds there are."""
        return {s.round for s in self.samples if (s.model, s.workload) == (model, workload)}

    def start(self) -> None:
        """Writes everything anew."""
        partial = self.path.with_suffix(".partial")
        versions = [{"engine": name, "version": text} for name, text in self.versions.items()]
        entries = [self.head, *versions, *map(asdict, self.samples), *map(asdict, self.failures)]
        partial.write_text("".join(json.dumps(entry) + "\n" for entry in entries))
        partial.rename(self.path)

    def add(self, sample: Sample) -> None:
        """Keeps a sample, on disk too."""
        self.samples.append(sample)
        self._append(asdict(sample))

    def version(self, engine: str, text: str) -> None:
        """Keeps which version an engine says it is."""
        if self.versions.get(engine) != text:
            self.versions[engine] = text
            self._append({"engine": engine, "version": text})

    def fail(self, failure: Failure) -> None:
        """Keeps a failure; who wants to try again takes another file."""
        self.failures.append(failure)
        self._append(asdict(failure))

    def _append(self, entry: dict[str, Any]) -> None:
        with self.path.open("a") as file:
            file.write(json.dumps(entry) + "\n")
