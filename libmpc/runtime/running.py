"""What a step of a run is given at an evaluator, and what it gives back."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from libmpc.prg import Stream
from libmpc.protocol.compute import Compute
from libmpc.protocol.exchange import Exchange
from libmpc.runtime.preparer import Prepared

Ring = NDArray[np.uint64]


class Running(NamedTuple):
    """What belongs to one run; ``labels`` are shares of bits, for a plan that takes them."""

    x_share: Ring
    rerandomise: Stream
    exchange: Exchange
    compute: Compute
    labels: Ring | None


Stage = Callable[[Running, Sequence[Ring], Prepared | None], Awaitable[Ring]]
"""From a step's sources and its randomness, which is this run's alone, so that its arrays may
become the result: the step's value, flat; m where it is masked, [z]_j where it is additive, and an
XOR share of each where it is bits."""
