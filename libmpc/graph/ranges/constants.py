"""A plan's encoded constants as float64 integers."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from libmpc import fixedpoint
from libmpc.graph.encoding import EncodedWeights
from libmpc.graph.nodes import Floats

_EMPTY = np.zeros(0)


class Constants:
    """Weights and biases of steps, signed, converted when they are asked for.

    Args:
        encoded: as in a model.
        keep: whether to keep what was converted, for those who ask many times.
    """

    def __init__(self, encoded: EncodedWeights, *, keep: bool = False) -> None:
        self._encoded = encoded
        self._kept: dict[int, tuple[Floats, Floats]] | None = {} if keep else None

    def of(self, index: int) -> tuple[Floats, Floats]:
        """W at scale 2^16 and b at scale 2^32; empty for a step without."""
        if index not in self._encoded:
            return _EMPTY, _EMPTY
        if self._kept is not None and index in self._kept:
            return self._kept[index]
        weights, bias = self._encoded[index]
        pair = _signed(weights), _signed(bias)
        if self._kept is not None:
            self._kept[index] = pair
        return pair


def _signed(ring: NDArray[np.uint64] | None) -> Floats:
    return _EMPTY if ring is None else fixedpoint.to_signed(ring).astype(np.float64)
