"""`vajra model`: fetch models and see what is there."""

from __future__ import annotations

from typing import Annotated

import typer

from vajra.cli.output import Format, FormatOption

app = typer.Typer(help="Fetch models and list those that are there.", no_args_is_help=True, rich_markup_mode=None)


@app.command()
def pull(
    model: Annotated[str, typer.Argument(help="An embedded model's name, a hub id (owner/name), or a path to check.")],
    revision: Annotated[str | None, typer.Option(help="Branch, tag or commit of a hub model.")] = None,
    download_dir: Annotated[str | None, typer.Option(help="Where to keep it instead of the cache.")] = None,
    output: FormatOption = Format.text,
) -> None:
    """Fetch a model, so that serving it needs no network.

    \b
    Example:
      vajra model pull smollm2-135m-instruct
    """
    from vajra.cli.model_store import describe, fetch
    from vajra.cli.output import print_json, progress_bars

    with progress_bars() as progress:
        resolved = fetch(model, revision=revision, download_dir=download_dir, progress=progress)
    found = describe(resolved)
    if output is Format.json:
        print_json(found)
    else:
        for name, value in found.items():
            print(f"{name:20} {value}")


@app.command("list")
def list_models(output: FormatOption = Format.text) -> None:
    """List embedded models and hub models in the cache.

    \b
    Example:
      vajra model list -o json
    """
    from vajra.cli.model_store import installed
    from vajra.cli.output import print_json

    rows = installed()
    if output is Format.json:
        print_json(rows)
        return
    for row in rows:
        print(f"{row['model']:32} {row['source']:9} {row['state']:12} {row['bytes'] / 1e6:8.0f} MB  {row['path']}")
