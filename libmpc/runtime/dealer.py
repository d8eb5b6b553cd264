"""Party 2: walks a plan with masks only, and yields the corrections for party 1."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from libmpc.graph.plan import InputStep, OutputStep, Plan, ReluStep, SumPoolStep
from libmpc.prg import Stream
from libmpc.protocol import input as input_step
from libmpc.protocol import linear, output, relu
from libmpc.protocol.weights import DealerWeights


def deal(
    plan: Plan, weights: DealerWeights, batch: int, stream0: Stream, stream1: Stream
) -> Iterator[tuple[int, bytearray]]:
    """Deal one bundle.

    Args:
        plan: what the evaluators will run.
        batch: samples in a run.
        stream0: the bundle's fresh stream with party 0.
        stream1: the bundle's fresh stream with party 1.

    Yields:
        step index and correction, in the plan's order, for the steps of ``correction_sizes``.
        SECURITY: corrections are for party 1 only; with party 0's stream they give every mask.
    """
    # Of a masked step λ_x0 + λ_x1, of a linear step the missing λ_x·λ_W; gone when it is read.
    values: dict[int, NDArray[np.uint64]] = {}
    for index, step in enumerate(plan.steps):
        count = batch * step.size
        if isinstance(step, InputStep):
            values[index] = input_step.draw_mask(index, count, stream0) + input_step.draw_mask(
                index, count, stream1
            )
        elif isinstance(step, SumPoolStep):
            values[index] = linear.sum_pool(step, values.pop(step.source))
        elif isinstance(step, ReluStep):
            missing = values.pop(step.source)
            correction, values[index] = relu.deal(index, missing, stream0, stream1)
            yield index, correction
        elif isinstance(step, OutputStep):
            yield index, output.deal(index, values.pop(step.source), stream0)
        else:
            values[index] = linear.deal(step, values.pop(step.source), weights.masks[index])
