"""A plan's float64 weights as ring elements."""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from libmpc import fixedpoint
from libmpc.errors import RangeError
from libmpc.graph.lowering import Lowered
from libmpc.graph.nodes import Floats

WEIGHT_BITS = 16
BIAS_BITS = 32

EncodedWeights: TypeAlias = dict[int, tuple[NDArray[np.uint64], NDArray[np.uint64]]]


def encode_weights(lowered: Lowered) -> EncodedWeights:
    """Encode every linear step's W at scale 2^16 and b at scale 2^32, half to even.

    Returns:
        By step index: W (the step's ``weight_shape``; empty for a bias step) and b (its
        ``bias_shape``), modulo 2^48.

    Raises:
        RangeError: a weight is NaN, infinite, or too large for its encoding: |W| must stay below
            2^31, |b| below 2^15; names the layer.
    """
    encoded: EncodedWeights = {}
    for index, (weights, bias) in lowered.weights.items():
        name = lowered.names[index]
        _check(weights, WEIGHT_BITS, f"a weight of layer {name!r}")
        _check(bias, BIAS_BITS, f"a bias of layer {name!r}")
        encoded[index] = (
            fixedpoint.encode(weights, WEIGHT_BITS),
            fixedpoint.encode(bias, BIAS_BITS),
        )
    return encoded


def _check(values: Floats, bits: int, what: str) -> None:
    if not np.isfinite(values).all():
        raise RangeError(f"{what} is NaN or infinite: the training diverged? train again")
    with np.errstate(over="ignore"):
        largest = np.abs(np.rint(np.ldexp(values, bits))).max(initial=0.0)
    if largest >= 2.0**47:
        raise RangeError(
            f"{what} does not fit the fixed-point encoding: it must stay below 2^{47 - bits} in "
            "size; scale the layer down, or add a normalisation before it"
        )
