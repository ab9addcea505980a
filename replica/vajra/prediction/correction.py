"""Following the running engine: a slow, bounded factor over predictions."""

from __future__ import annotations

import math

LOWEST, HIGHEST = 0.5, 4.0  # bounds of the factor
STEPS = 10  # time constant: of a small error, a fraction 1 - 1/e is gone after so many steps
_MOST = math.log(1.25)  # of one step's error; a larger one counts as this


class OnlineScale:
    """The factor by which steps take longer than the profile says; 1 at first.

    Each observed step moves its logarithm by a tenth of the step's error, of which at most a factor of 1.25 counts: one
    outlier moves predictions by 2.3%, a machine that became half as fast is followed within about 40 steps.
    """

    __slots__ = ("value",)

    def __init__(self) -> None:
        self.value = 1.0

    def observe(self, predicted: float, actual: float) -> None:
        """A step that was predicted, this factor included, took `actual` seconds. What is not above 0 is ignored."""
        if not (0 < predicted < math.inf and 0 < actual < math.inf):
            return
        error = max(-_MOST, min(_MOST, math.log(actual / predicted)))
        self.value = max(LOWEST, min(HIGHEST, self.value * math.exp(error / STEPS)))
