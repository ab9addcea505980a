"""Exit codes, and faults told to people: one screen, no traceback."""

from __future__ import annotations

import os
import sys

OK, FAILED, USAGE, INTERRUPTED = 0, 1, 2, 130
EPILOG = "Exit codes: 0 done, 1 failed, 2 wrong usage or configuration, 130 interrupted."

# A class that was never imported cannot have been raised: nothing is imported here, for the sake of start-up.
_FAULTS = (
    ("vajra.config.errors", "ConfigError", USAGE),
    ("vajra.models.errors", "ModelError", FAILED),
    ("vajra.prediction.profile", "ProfileError", FAILED),
    ("vajra.client.errors", "InvalidRequestError", USAGE),
    ("vajra.client.errors", "VajraError", FAILED),
    ("vajra.simulator.errors", "SimulationError", USAGE),
    ("vajra.gateway.errors", "GatewayError", FAILED),
    ("vajra.cli.openai_client", "ServerError", FAILED),
)


class CommandError(Exception):
    """A fault of a command, told as it is."""

    def __init__(self, message: str, code: int = FAILED) -> None:
        super().__init__(message)
        self.code = code


def report(error: BaseException, program: str = "vajra") -> int:
    """Says on stderr what went wrong and returns the exit code; raises what is a fault of our own again."""
    if isinstance(error, KeyboardInterrupt):
        return INTERRUPTED
    if isinstance(error, BrokenPipeError):  # `vajra … | head`: nobody reads on, and that is fine
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return OK
    code = _code(error)
    if code is None:
        raise error
    print(f"{program}: {error}", file=sys.stderr)
    return code


def _code(error: BaseException) -> int | None:
    if isinstance(error, CommandError):
        return error.code
    for module, name, code in _FAULTS:
        kind = getattr(sys.modules.get(module), name, None)
        if kind is not None and isinstance(error, kind):
            return code
    # Files that cannot be read, addresses that cannot be bound: the system's reason and the name are in the text.
    return FAILED if isinstance(error, OSError) else None
