"""The entry point of `vajra`."""

from __future__ import annotations

from typing import Annotated

import typer

from vajra.cli.bench import bench
from vajra.cli.chat import chat
from vajra.cli.config import app as config_app
from vajra.cli.errors import EPILOG, OK
from vajra.cli.generate import generate
from vajra.cli.model import app as model_app
from vajra.cli.output import Format, FormatOption
from vajra.cli.profile import app as profile_app
from vajra.cli.program import Commands, run
from vajra.cli.serve import serve
from vajra.cli.simulate import simulate

app = typer.Typer(
    name="vajra",
    cls=Commands,
    help="Serve language models from a native engine.\n\nFirst steps: `vajra serve`, then `vajra chat`.",
    epilog=EPILOG,
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,  # rich would double the time to the first line of help
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
for command in (serve, chat, generate, bench, simulate):
    app.command()(command)
app.add_typer(model_app, name="model")
app.add_typer(config_app, name="config")
app.add_typer(profile_app, name="profile")


@app.command()
def version(output: FormatOption = Format.text) -> None:
    """Print the versions of Vajra and of what it runs on.

    \b
    Example:
      vajra version -o json
    """
    from vajra.cli.output import print_json
    from vajra.cli.versions import versions

    found = versions()
    if output is Format.json:
        print_json(found)
    else:
        for name, value in found.items():
            print(f"{name:8} {value}")


def _print_version(asked: bool) -> None:
    if asked:
        from vajra.cli.versions import vajra_version

        print(vajra_version())
        raise typer.Exit(OK)


@app.callback()
def options(
    show_version: Annotated[
        bool,
        # A callback of the option: the command's own would ask for a subcommand first.
        typer.Option("--version", help="Print the version and exit.", is_eager=True, callback=_print_version),
    ] = False,
) -> None:
    pass


def main() -> None:
    """Runs the command line and exits; see `vajra.cli.errors` for the codes."""
    run(app, "vajra")
