"""`vajra config`: what a manifest means, whether it can be served, and what of it changes on a running server."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from vajra.cli.output import Format, FormatOption

app = typer.Typer(help="Show, check and change configuration.", no_args_is_help=True, rich_markup_mode=None)


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


ControlOption = Annotated[
    str | None,
    typer.Option(help="Control address of the server, as unix:/run/…/control.sock; by default the only one here."),
]


@app.command()
def get(control: ControlOption = None, output: NotationOption = Notation.yaml) -> None:
    """Print the manifest that a server on this machine runs with, its live changes included.

    \b
    Example:
      vajra config get -o json
    """
    from vajra.cli.configuration import print_data
    from vajra.cli.live import deployment_of, find_server

    print_data(deployment_of(find_server(control).status()).to_dict(), as_json=output is Notation.json)


@app.command("set")
def set_(
    assignments: Annotated[
        list[str] | None, typer.Argument(metavar="PATH=VALUE...", help="Fields below spec, values as in YAML.")
    ] = None,
    manifest: ManifestOption = None,
    control: ControlOption = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would change and whether it can.")] = False,
    output: FormatOption = Format.text,
) -> None:
    """Change settings of a server on this machine between two steps; no request is lost. All replicas take the change
    over, or none does.

    \b
    Examples:
      vajra config set scheduler.type=DynamicChunk scheduler.dynamicChunk.targetBatchTimeMilliseconds=30
      vajra config set prioritizer.type=LRS --dry-run
      vajra config set -f deployment.yaml -o json
    """
    from vajra.cli.errors import USAGE, CommandError
    from vajra.cli.live import changes, deployment_of, find_server, read_spec, with_values
    from vajra.cli.output import print_json

    if (manifest is None) == (not assignments):
        raise CommandError("say what to change: either PATH=VALUE, or a manifest with -f", USAGE)
    server = find_server(control)
    status = server.status()
    before = deployment_of(status)
    after = with_values(before, assignments) if assignments else read_spec(before, manifest)  # type: ignore[arg-type]
    changed = changes(before, after)
    generation = status.generation + (1 if changed else 0)
    if changed:
        server.update(generation, after.to_dict()["spec"], validate_only=dry_run)
    notices = [] if dry_run else list(server.status().notices)
    if output is Format.json:
        print_json({"changed": changed, "applied": not dry_run, "generation": generation, "notices": notices})
        return
    for change in changed:
        print(f"{change['path']}: {_shown(change['old'])} -> {_shown(change['new'])}")
    if not changed:
        print("nothing differs")
    for notice in notices:
        print(f"note: {notice}")


def _shown(value: object) -> str:
    return "unset" if value is None else str(value)
