"""`vajra config`: what a manifest means, and whether it can be served."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from vajra.cli.output import Format, FormatOption

app = typer.Typer(help="Show, describe and check configuration.", no_args_is_help=True, rich_markup_mode=None)


class Notation(StrEnum):
    """How configuration is printed."""

    yaml = "yaml"
    json = "json"


ManifestOption = Annotated[
    Path | None,
    typer.Option("-f", "--file", "--manifest", metavar="FILE", help="A VajraDeployment manifest; - reads stdin."),
]
NotationOption = Annotated[Notation, typer.Option("-o", "--output", help="yaml or json.")]


@app.command()
def show(
    source: Annotated[
        str | None,
        typer.Argument(
            metavar="[MODEL|FILE]", help="A model, as for `vajra serve`, or a manifest: .yaml, - for stdin."
        ),
    ] = None,
    manifest: ManifestOption = None,
    output: NotationOption = Notation.yaml,
) -> None:
    """Print the whole manifest that is served, every default filled in.

    \b
    Examples:
      vajra config show smollm2-135m-instruct > deployment.yaml
      vajra config show -f manifests/smollm2.yaml -o json
    """
    from vajra.cli.configuration import load, print_data

    print_data(load(source, manifest).to_dict(), as_json=output is Notation.json)


@app.command()
def schema(output: NotationOption = Notation.json) -> None:
    """Print the JSON schema of a VajraDeployment, for editors and CI.

    \b
    Example:
      vajra config schema > vajradeployment.schema.json
    """
    from vajra.cli.configuration import deployment_schema, print_data

    print_data(deployment_schema(), as_json=output is Notation.json)


@app.command()
def validate(
    file: Annotated[
        Path | None, typer.Argument(metavar="[FILE]", help="A VajraDeployment manifest; - reads stdin.")
    ] = None,
    manifest: ManifestOption = None,
    output: FormatOption = Format.text,
) -> None:
    """Check a manifest: every fault with its path, also what this version does not implement. Exit code 2 on faults.

    \b
    Examples:
      vajra config validate manifests/smollm2.yaml
      vajra config validate -f manifests/smollm2.yaml -o json
    """
    from vajra.cli.configuration import one_manifest, print_faults

    raise typer.Exit(print_faults(one_manifest(file, manifest), as_json=output is Format.json))
