"""What is measured, and for how long."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace


@dataclass(frozen=True, kw_only=True)
class Preset:
    """Grids, and how much time goes to each. A grid ends when its time is used up: every fourth point
    comes first, and beyond what was measured tables go on straight."""

    name: str
    tokens: tuple[int, ...]  # query tokens of a step
    chunks: tuple[int, ...]  # of one prompt
    contexts: tuple[int, ...]  # KV tokens before a chunk
    decodes: tuple[int, ...]  # sequences that decode
    decode_contexts: tuple[int, ...]  # KV tokens of each
    rows: tuple[int, ...]  # that sample
    passes: int  # over all points
    fewest: int  # repeats of each point in a pass
    most_pairs: int  # pairs of a query and a KV token in one chunk's attention
    most_steps: int
    operator_seconds: float  # for each of the four grids
    step_seconds: float  # of whole steps
    patience: float  # seconds that measurements may take which other processes disturb, and which do not count

    @property
    def seconds(self) -> float:
        """About what all of it takes at most on a calm machine."""
        return 4 * self.operator_seconds + self.step_seconds

    def within(self, seconds: float) -> Preset:
        """The same grids in another time."""
        factor = seconds / self.seconds
        return replace(
            self,
            operator_seconds=factor * self.operator_seconds,
            step_seconds=factor * self.step_seconds,
            patience=factor * self.patience,
        )

    def repeated(self, times: int) -> Preset:
        """The same grids, so many times."""
        return replace(
            self,
            passes=times * self.passes,
            most_steps=times * self.most_steps,
            operator_seconds=times * self.operator_seconds,
            step_seconds=times * self.step_seconds,
        )


def _grid(*parts: Iterable[int]) -> tuple[int, ...]:
    return tuple(sorted({n for part in parts for n in part}))


QUICK = Preset(
    name="quick",
    tokens=(1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512, 768, 1024),
    chunks=(2, 8, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096),
    contexts=(0, 256, 1024, 4096, 16384),
    decodes=(1, 4, 16, 64),
    decode_contexts=(32, 512, 2048, 8192),
    rows=(1, 4, 16, 64),
    passes=2,
    fewest=2,
    most_pairs=9_000_000,
    most_steps=600,
    operator_seconds=4.0,
    step_seconds=26.0,
    patience=16.0,
)
FULL = Preset(
    name="full",
    tokens=_grid(
        (1, 2, 3, 4, 5, 6, 7), range(8, 129, 4), range(136, 513, 8), range(544, 1025, 32), range(1152, 4097, 128)
    ),
    chunks=_grid((2, 4, 8, 12, 16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512, 768, 1024, 1536, 2048, 4096, 8192)),
    contexts=(0, 128, 256, 512, 1024, 2048, 4096, 8192, 16384, 32768, 65536, 131072),
    decodes=_grid((1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128)),
    decode_contexts=(16, 64, 128, 256, 512, 1024, 2048, 4096, 8192, 16384, 32768),
    rows=_grid((1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128)),
    passes=3,
    fewest=3,
    most_pairs=70_000_000,
    most_steps=3000,
    operator_seconds=60.0,
    step_seconds=240.0,
    patience=240.0,
)
PRESETS = {preset.name: preset for preset in (QUICK, FULL)}
