"""Party 2: walks a plan with masks only, and yields the corrections for party 1."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import NDArray

from libmpc.graph.plan import (
    BiasStep,
    ConvStep,
    DenseStep,
    InputStep,
    LiftStep,
    MaskStep,
    OutputStep,
    Plan,
    PositiveStep,
    ProductStep,
    RectifyStep,
    ReluStep,
    ScaleStep,
    TailStep,
    TruncateStep,
    WeightedStep,
)
from libmpc.prg import Stream
from libmpc.protocol import input as input_step
from libmpc.protocol import lift, linear, output, positive, product, rectify, relu, truncate
from libmpc.protocol.weights import DealerWeights, EvaluatorWeights
from libmpc.runtime import moves
from libmpc.runtime.cost import correction_sizes
from libmpc.runtime.tail_deal import deal_tail

Ring = NDArray[np.uint64]
_COVERED = (ReluStep, TruncateStep, OutputStep, MaskStep)


def deal(
    plan: Plan,
    weights: DealerWeights | EvaluatorWeights,
    batch: int,
    stream0: Stream,
    stream1: Stream,
    out: memoryview | None = None,
    missing: Callable[[int, Ring], None] | None = None,
) -> Iterator[tuple[int, memoryview]]:
    """Deal one bundle.

    Args:
        plan: what the evaluators will run.
        weights: the dealer's; in an audit an evaluator's, who has one of two summands of all that
            is missing.
        batch: samples in a run.
        stream0: the bundle's fresh stream with party 0.
        stream1: the bundle's fresh stream with party 1.
        out: overwritten with all corrections, one behind the other, in the plan's order; without
            it, each has memory of its own.
        missing: told of what is missing where a step opens or shares it, before that step.

    Yields:
        step index and correction, in the plan's order, for the steps of ``correction_sizes``.
        SECURITY: corrections are for party 1 only; with party 0's stream they give every mask.
    """
    # Of a masked value λ_0 + λ_1, of an additive one what only the dealer knows.
    values: dict[int, Ring] = {}
    sizes = correction_sizes(plan, batch)
    at = 0
    for index, step in enumerate(plan.steps):
        sources = [values[source] for source in plan.reads[index]]
        count = batch * plan.sizes[index]
        for source in plan.last_reads[index]:
            del values[source]
        correction = memoryview(b"")
        if index in sizes:
            size = sizes[index]
            correction = np.empty(size, np.uint8).data if out is None else out[at : at + size]
            at += size
        if missing is not None and isinstance(step, _COVERED):
            missing(index, sources[0])
        match step:
            case InputStep():
                values[index] = input_step.draw_mask(index, count, stream0)
                values[index] += input_step.draw_mask(index, count, stream1)
            case DenseStep() | ConvStep() | ScaleStep():
                values[index] = _product_of_masks(step, index, sources[0], weights)
            case BiasStep():
                values[index] = sources[0]
            case LiftStep():
                values[index] = lift.deal(count)
            case ProductStep():
                values[index] = product.deal(*sources)
                if isinstance(weights, EvaluatorWeights) and weights.party == 0:
                    values[index][:] = 0  # both know it: it is party 1's summand
            case ReluStep():
                values[index] = relu.deal(index, sources[0], stream0, stream1, correction)
            case TruncateStep():
                values[index] = truncate.deal(index, sources[0], stream0, stream1, correction)
            case RectifyStep():
                values[index] = rectify.deal(index, sources[0], stream0, stream1, correction)
            case PositiveStep():
                values[index] = positive.deal(index, sources[0], stream0, stream1, correction)
            case OutputStep():
                output.deal(index, sources[0], stream0, correction)
            case _ if isinstance(step, TailStep):
                values[index] = deal_tail(index, step, batch, sources, stream0, stream1, correction)
            case _:
                values[index] = moves.apply(step, batch, sources, fill=False)
        sources.clear()
        if index in sizes:
            yield index, correction


def _product_of_masks(
    step: WeightedStep, index: int, mask: Ring, weights: DealerWeights | EvaluatorWeights
) -> Ring:
    """λ_x·λ_W, or an evaluator's λ_x·λ_Wj."""
    if isinstance(weights, DealerWeights):
        return linear.deal(step, mask, weights.masks[index])
    own = weights.steps[index]
    return linear.deal_part(step, mask, weights.party, own.masked, own.factor)
