"""Which deployment a command means: a manifest, or a model with overrides."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from vajra.cli.errors import USAGE, CommandError

if TYPE_CHECKING:
    from vajra.config import VajraDeployment

DEFAULT_MODEL = "smollm2-135m-instruct"

ManifestOption = Annotated[Path | None, typer.Option("-f", "--manifest", help="A VajraDeployment manifest (YAML).")]
DtypeOption = Annotated[str | None, typer.Option(help="auto, float32, bfloat16 or float16; auto by default.")]
QuantizationOption = Annotated[
    str | None, typer.Option(help="none, or int8: weights in 8 bits, arithmetic in bfloat16; none by default.")
]
MaxModelLenOption = Annotated[int | None, typer.Option(min=1, help="Longest prompt plus answer, in tokens.")]


def read_deployment(model: str | None, manifest: Path | None, overrides: dict[str, Any]) -> VajraDeployment:
    """The deployment, checked to be one that this version can serve.

    `overrides` are options of `VajraDeployment.for_model`; None stands for one that was not given.

    Raises:
        ConfigError: with the path of what is wrong or not implemented.
        CommandError: model or overrides beside a manifest.
    """
    from vajra.gateway.support import check

    deployment = described_deployment(model, manifest, overrides)
    check(deployment)
    return deployment


def described_deployment(model: str | None, manifest: Path | None, overrides: dict[str, Any]) -> VajraDeployment:
    """The same, whether it can be served here or not."""
    from vajra.config import VajraDeployment

    given = {name: value for name, value in overrides.items() if value is not None}
    if manifest is None:
        if model is not None and is_manifest(model):
            raise CommandError(f"{model} is a manifest, not a model; give it with -f: -f {model}", USAGE)
        return VajraDeployment.for_model(model or DEFAULT_MODEL, **given)
    if model is not None:
        raise CommandError("give either a model or a manifest, not both", USAGE)
    if given:
        names = ", ".join("--" + name.replace("_", "-") for name in given)
        raise CommandError(f"{names}: with -f the manifest says it all; set it there", USAGE)
    return read_manifest(manifest)


def is_manifest(argument: str) -> bool:
    """Whether an argument can only mean a manifest: `-` (stdin), or a YAML file, which no model is."""
    return argument == "-" or argument.endswith((".yaml", ".yml"))


def read_manifest(path: Path) -> VajraDeployment:
    """The deployment of a manifest; `-` is stdin. Raises ConfigError."""
    from vajra.config import VajraDeployment

    return VajraDeployment.from_yaml(sys.stdin.read() if str(path) == "-" else path)
