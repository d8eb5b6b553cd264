"""Steps of a plan on float64 arrays that hold integers: exact, and fast, while below 2^53.

For range analysis only. What a model answers comes from the reference or from the shares.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from libmpc.graph import moves, sliding
from libmpc.graph.nodes import Floats
from libmpc.graph.plan import (
    AddStep,
    BiasStep,
    ConvStep,
    DenseStep,
    InputStep,
    LiftStep,
    MoveStep,
    OutputStep,
    PadStep,
    PositiveStep,
    ProductStep,
    RectifyStep,
    ReluStep,
    ScaleStep,
    Step,
    SumPoolStep,
    SumStep,
    TailStep,
    TruncateStep,
    WeightedStep,
)

ONE = 65536.0  # at scale 2^16


def run_step(step: Step, constants: tuple[Floats, Floats], sources: Sequence[Floats]) -> Floats:
    """One step of a batch, as if nothing ever wrapped.

    Args:
        step: any but the input.
        constants: its W and b, where it has some.
        sources: what it reads, each (batch, values).

    Returns:
        (batch, values of the result).
    """
    batch = len(sources[0])
    assert not isinstance(step, InputStep | TailStep)
    if isinstance(step, (DenseStep, ConvStep, ScaleStep)):
        out = multiply(step, constants[0], sources[0]) + spread(step, constants[1])
    elif isinstance(step, BiasStep):
        out = sources[0] + spread(step, constants[1])
    elif isinstance(step, ProductStep):
        out = sources[0] * sources[1]
    elif isinstance(
        step, (LiftStep, ReluStep, TruncateStep, RectifyStep, PositiveStep, OutputStep)
    ):
        out = rising(step, sources[0])
    else:
        out = move(step, sources)
    return out.reshape(batch, step.size)


def multiply(step: WeightedStep, weights: Floats, x: Floats) -> Floats:
    """(batch, values) times a step's weights, without bias: (batch, values of the result)."""
    batch = len(x)
    if isinstance(step, DenseStep):
        product: Floats = x.reshape(-1, step.inputs) @ weights
    elif isinstance(step, ScaleStep):
        product = x.reshape(batch, *step.shape) * weights
    else:
        w = step.window
        kernel = weights.reshape(*w.kernel, w.channels // step.groups, step.filters)
        images = x.reshape(-1, w.height, w.width, w.channels)
        product = sliding.conv(images, kernel, w.strides, w.dilation, w.padding, step.groups)
    return product.reshape(batch, step.size)


def spread(step: WeightedStep | BiasStep, bias: Floats) -> Floats:
    """A step's bias repeated into its result: (values,)."""
    return np.broadcast_to(bias, step.output_shape).reshape(-1)


def rising(step: Step, x: Floats) -> Floats:
    """The steps on single values; all of them rise with x."""
    if isinstance(step, LiftStep):
        return x * ONE
    if isinstance(step, ReluStep):
        return np.maximum(np.floor(x / ONE), 0.0)
    if isinstance(step, TruncateStep):
        return np.floor(x / ONE)
    if isinstance(step, RectifyStep):
        return np.maximum(x, 0.0)
    if isinstance(step, PositiveStep):
        return np.where(x >= 1.0, ONE, 0.0)
    return x


def move(step: MoveStep, sources: Sequence[Floats]) -> Floats:
    """The steps that are sums, or put values in another order: (batch, values of the result)."""
    batch = len(sources[0])
    if isinstance(step, AddStep):
        total = np.zeros((batch, step.size))
        for source, coefficient in zip(sources, step.coefficients, strict=True):
            total += coefficient * source
        return total
    if isinstance(step, SumPoolStep):
        w = step.window
        images = sources[0].reshape(-1, w.height, w.width, w.channels)
        sums = sliding.sum_pool(images, w.kernel, w.strides, w.dilation, w.padding)
        return sums.reshape(batch, step.size)
    if isinstance(step, SumStep):
        summed = sources[0].reshape(batch, *step.shape).sum(axis=tuple(a + 1 for a in step.axes))
        total = np.asarray(summed, np.float64)
        return total.reshape(batch, step.size)
    # What only moves values does not look at them.
    bits = [np.ascontiguousarray(source).view(np.uint64) for source in sources]
    out = moves.apply(step, bits, fill=False).reshape(batch, step.size).view(np.float64)
    return out + padding(step) if isinstance(step, PadStep) and step.value else out


def padding(step: PadStep) -> Floats:
    """What a step puts around a value of zeros: (values,)."""
    nothing = np.zeros((1, *step.shape), np.uint64)
    filled = moves.apply(step, [nothing], fill=True)
    return filled.reshape(-1).view(np.int64).astype(np.float64)
