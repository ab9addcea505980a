"""Which sequence is it that kills workers: deaths booked against those that ran."""

from __future__ import annotations

from collections.abc import Iterable, Set

from vajra.replica.running import Running

MAX_STRIKES = 3  # workers that died in a row, without a token in between, under one sequence


def strike(sequences: Iterable[Running], had_steps: Set[int]) -> tuple[list[Running], list[int]]:
    """Books a worker's death against the sequences that it had steps of (by seq_id).

    Returns the guilty, which must not be resumed again, and the ids of the suspects, which must run alone: after the
    second death in a row they do, so the third is proof.
    """
    guilty: list[Running] = []
    suspects: list[int] = []
    for running in sequences:
        seq_id = running.sequence.seq_id
        running.strikes += seq_id in had_steps
        if running.strikes >= MAX_STRIKES:
            guilty.append(running)
        elif running.strikes == MAX_STRIKES - 1:
            suspects.append(seq_id)
    return guilty, suspects
