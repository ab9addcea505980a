"""`python -m vajra.worker --fd N`: one rank, driven over the inherited socket N until it closes."""

from __future__ import annotations

import argparse
import os
import signal
import sys

from vajra.worker.process import die_with_parent


def main() -> int:
    """Runs one worker; 0 when its controller closed the channel, 1 after a fault."""
    parser = argparse.ArgumentParser(prog="python -m vajra.worker", description="One rank of a Vajra replica.")
    parser.add_argument("--fd", type=int, required=True, help="inherited stream socket of the control channel")
    args = parser.parse_args()
    die_with_parent()
    # A terminal's Ctrl-C and a supervisor's SIGTERM reach the whole process group; only the controller ends a worker.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    from vajra.worker.worker import run

    return run(args.fd)


if __name__ == "__main__":
    status = main()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)  # engine threads may be in a step that nobody waits for
