"""The entry point of `kubectl vajra`."""

from __future__ import annotations

import typer

from vajra.cli.kubectl.commands.drain import drain
from vajra.cli.kubectl.commands.logs import logs
from vajra.cli.kubectl.commands.plan import plan
from vajra.cli.kubectl.commands.rollout import app as rollout_app
from vajra.cli.kubectl.commands.status import status
from vajra.cli.kubectl.commands.top import top
from vajra.cli.kubectl.commands.why import why
from vajra.cli.program import Commands, run

PROGRAM = "kubectl vajra"
EPILOG = "Exit codes: 0 done, 1 failed, 2 wrong usage or configuration, 3 not Ready yet, 130 interrupted."

app = typer.Typer(
    name=PROGRAM,
    cls=Commands,
    help="See and steer VajraDeployments.\n\nFirst steps: `kubectl vajra status`, then `kubectl vajra why NAME`.",
    epilog=EPILOG,
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
for command in (status, why, plan, drain, logs, top):
    app.command()(command)
app.add_typer(rollout_app, name="rollout")


def main() -> None:
    """Runs the command line and exits; see `vajra.cli.errors` and EPILOG for the codes."""
    run(app, PROGRAM)
