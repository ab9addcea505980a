"""What `vajra config` does."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from vajra.cli.deployment import DEFAULT_MODEL, is_manifest, read_manifest
from vajra.cli.errors import OK, USAGE, CommandError
from vajra.cli.output import print_json
from vajra.config import ConfigError, VajraDeployment, check_supported


def load(source: str | None, manifest: Path | None) -> VajraDeployment:
    """A deployment that need not be implemented: of a model, or of a manifest given in either way.

    Raises:
        ConfigError: it cannot be read.
        CommandError: both ways at once.
    """
    if source is None and manifest is None:
        return VajraDeployment.for_model(DEFAULT_MODEL)
    if source is None or is_manifest(source):
        return read_manifest(one_manifest(None if source is None else Path(source), manifest))
    if manifest is not None:
        raise CommandError("give either a model or a manifest, not both", USAGE)
    return VajraDeployment.for_model(source)


def one_manifest(argument: Path | None, option: Path | None) -> Path:
    """The manifest of `FILE` or of `-f FILE`. Raises CommandError for none and for both."""
    if argument is not None and option is not None:
        raise CommandError(f"two manifests: {argument} and -f {option}; give one", USAGE)
    found = argument or option
    if found is None:
        raise CommandError("there is no manifest; give one, as in: vajra config validate -f deployment.yaml", USAGE)
    return found


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
            where = "" if fault.path == str(manifest) else f"{manifest}: "  # the file itself, or a field in it
            print(f"{where}{fault}", file=sys.stderr)
        if not faults:
            print(f"{manifest}: valid")
    return USAGE if faults else OK
