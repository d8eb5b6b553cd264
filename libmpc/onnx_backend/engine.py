"""Runs a graph on shares, and the type of whatever else may run one in a test."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

import numpy as np

from libmpc import fixedpoint
from libmpc.errors import InputError, RangeError
from libmpc.graph.encoding import encode_weights
from libmpc.graph.lowering import lower
from libmpc.graph.nodes import Floats, Graph
from libmpc.graph.ranges import limits, observe
from libmpc.runtime import Simulation

Engine: TypeAlias = Callable[[Graph, Floats], Floats]
"""From a graph and one sample, (1, *input shape), to its logits, (1, *output shape)."""

_EXACT = 2.0**31


def on_shares(graph: Graph, x: Floats) -> Floats:
    """One sample through three parties in this process.

    The sample is known here, so it is itself what the range is checked on, once and exactly.

    Raises:
        RangeError: a value leaves the range in which fixed point is exact.
        InputError: a value of the sample is NaN, infinite or too large.
        ModelError: the graph, or a constant of it, does not fit a plan.
    """
    if not np.isfinite(x).all() or np.abs(x).max(initial=0.0) >= _EXACT:
        raise InputError("the input has values that are NaN, infinite, or 2^31 and beyond")
    lowered = lower(graph)
    plan, weights = lowered.plan, encode_weights(lowered)
    sample = fixedpoint.encode(x)
    bounds = limits(plan)
    for index, span in observe(plan, weights, sample).items():
        if not span.inside(bounds[index]):
            raise RangeError(
                f"layer {lowered.names[index]!r}: its values reach {span}, and must stay "
                f"within {bounds[index]}; scale the input or the weights down"
            )
    answer = Simulation(plan, weights).query(sample)
    return fixedpoint.decode(answer, fixedpoint.PRODUCT_BITS)
