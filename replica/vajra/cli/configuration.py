"""What `vajra config` does."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from vajra.cli.deployment import DEFAULT_MODEL, read_manifest
from vajra.cli.errors import OK, USAGE, CommandError
from vajra.cli.output import print_json
from vajra.config import ConfigError, VajraDeployment, check_supported


def load(model: str | None, manifest: Path | None) -> VajraDeployment:
    """A deployment that need not be implemented. Raises ConfigError."""
    if manifest is None:
        return VajraDeployment.for_model(model or DEFAULT_MODEL)
    if model is not None:
        raise CommandError("give either a model or a manifest, not both", USAGE)
    return read_manifest(manifest)


def print_data(data: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        print_json(data)
    else:
        yaml.safe_dump(data, sys.stdout, sort_keys=False, allow_unicode=True)


def deployment_schema() -> dict[str, Any]:
    """JSON schema of the whole manifest."""
    from vajra.config.schema import json_schema

    return json_schema()


def faults_of(manifest: Path) -> Sequence[ConfigError]:
    """Every fault of a manifest: what cannot be read, else what this version does not implement."""
    try:
        return check_supported(
            read_manifest(manifest), accelerators=("CPU", "GPU")
        )  # for a machine that may not be this one
    except ConfigError as error:
        return error.errors


def print_faults(manifest: Path, *, as_json: bool) -> int:
    """Prints them and returns the exit code."""
    faults = faults_of(manifest)
    if as_json:
        rows = [{"path": f.path, "problem": f.problem, "allowed": f.allowed, "hint": f.hint} for f in faults]
        print_json({"valid": not faults, "faults": rows})
    else:
        for fault in faults:
            print(f"{manifest}: {fault}", file=sys.stderr)
        if not faults:
            print(f"{manifest}: valid")
    return USAGE if faults else OK
