"""Moves as the parties run them: the reference's, and a kernel where that is much faster."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from libmpc.graph import moves
from libmpc.graph.plan import MoveStep, SumPoolStep
from libmpc.protocol import linear
from libmpc.runtime.estimates import SECONDS_PER_VALUE

Ring = NDArray[np.uint64]


def apply(step: MoveStep, batch: int, sources: Sequence[Ring], *, fill: bool) -> Ring:
    """One move of a batch; sources and result are flat, and may share memory.

    ``fill``: whether ``pad`` puts its value in, that is, for m and not for masks and shares.
    """
    if isinstance(step, SumPoolStep):
        return linear.sum_pool(step, sources[0])
    return moves.apply(step, [s.reshape(batch, -1) for s in sources], fill=fill).reshape(-1)


def seconds(step: MoveStep, batch: int) -> float:
    """What it takes, roughly; used to choose where it runs."""
    values = step.size * math.prod(step.window.kernel) if isinstance(step, SumPoolStep) else 0
    return SECONDS_PER_VALUE * batch * (values + step.size + sum(step.read_sizes))
