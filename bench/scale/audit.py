"""What the API server itself has written down of the operator's calls."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from vajra.operator.kinds import LEASE, VAJRA_DEPLOYMENT
from vajra.operator.planning.drift import FIELD_MANAGER

_POLICY = """\
apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived]
rules:
  - level: Metadata
    verbs: [create, update, patch, delete]
  - level: None
"""


@dataclass(frozen=True)
class Write:
    """A write. name: empty where it is made with the object; received, answered: seconds of the epoch."""

    mine: bool  # of the operator
    verb: str
    resource: str  # with its subresource, as in vajradeployments/status
    name: str
    received: float
    answered: float

    @property
    def kind(self) -> str:
        """What the limits count: object, status, event or lease."""
        special = {"events": "event", LEASE.plural: "lease", f"{VAJRA_DEPLOYMENT.plural}/status": "status"}
        return special.get(self.resource, "object")


class Audit:
    """A log of all writes, in a folder."""

    def __init__(self, folder: Path) -> None:
        self._policy, self._log = folder / "audit.yaml", folder / "audit.log"
        self._policy.write_text(_POLICY)

    @property
    def flags(self) -> list[object]:
        """Of the API server."""
        log = ("--audit-log-path", self._log, "--audit-log-maxsize", 10_000, "--audit-log-batch-max-wait", "1s")
        return ["--audit-policy-file", self._policy, *log, "--audit-log-mode", "batch"]

    def writes(self, since: float = 0.0) -> Iterator[Write]:
        """Those that were received after a time."""
        with self._log.open() as lines:
            for line in lines:
                if line.endswith("\n") and (write := _write(json.loads(line))).received > since:
                    yield write

    def counts(self, since: float = 0.0) -> Counter[str]:
        """The operator's writes by their kind."""
        return Counter(write.kind for write in self.writes(since) if write.mine)


def _write(event: dict[str, object]) -> Write:
    what = event["objectRef"]
    assert isinstance(what, dict)
    return Write(
        mine=str(event.get("userAgent")).startswith(FIELD_MANAGER),
        verb=str(event["verb"]),
        resource="/".join(part for part in (what["resource"], what.get("subresource")) if part),
        name=what.get("name", ""),
        received=_seconds(str(event["requestReceivedTimestamp"])),
        answered=_seconds(str(event["stageTimestamp"])),
    )


def _seconds(timestamp: str) -> float:
    return datetime.fromisoformat(timestamp).timestamp()
