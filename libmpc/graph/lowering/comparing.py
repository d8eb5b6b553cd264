"""Products and comparisons, on expressions."""

from __future__ import annotations

from libmpc.graph.lowering.affine import add
from libmpc.graph.lowering.expr import Expr, value
from libmpc.graph.lowering.materialise import Materialiser
from libmpc.graph.nodes import Add, Maximum, Minimum, Multiply, Relu, Sign
from libmpc.graph.plan import (
    AddStep,
    ConcatStep,
    ExpandStep,
    PadStep,
    PermuteStep,
    PositiveStep,
    ProductStep,
    RectifyStep,
    ReluStep,
    SliceStep,
    SumPoolStep,
    SumStep,
)


def relu(values: Materialiser, node: Relu, x: Expr) -> Expr:
    """Rectify where the value is at scale 2^16 already, or relu with its truncation.

    Both give the same: ⌊z / 2^16⌋, and then the larger of it and 0.
    """
    emitter = values.emitter
    if values.is_masked(x):
        source = values.masked(x, node.name)
        if never_negative(values, source):
            return value(source, x.shape)
        return value(emitter.put(RectifyStep(source=source, shape=x.shape), node.name), x.shape)
    source = values.additive(x, node.name)
    return value(emitter.put(ReluStep(source=source, shape=x.shape), node.name), x.shape)


def maximum(values: Materialiser, node: Maximum | Minimum, a: Expr, b: Expr) -> Expr:
    """max(a, b) = b + relu(a - b), and min(a, b) = a - relu(a - b) = b - relu(b - a).

    What is added to is a value at scale 2^16, if one of the two is, so that the result is one.
    """
    if values.is_masked(a):
        a, b = b, a
    if values.is_masked(b):
        b = value(values.masked(b, node.name), b.shape)
    elif b.itself is None:
        b = value(values.additive(b, node.name), b.shape)
    sign = 1 if isinstance(node, Maximum) else -1
    difference = add(values, Add(node.name, node.inputs, (sign, -sign)), [a, b])
    positive = relu(values, Relu(node.name, node.inputs), difference)
    return add(values, Add(node.name, node.inputs, (1, sign)), [b, positive])


def multiply(values: Materialiser, node: Multiply, a: Expr, b: Expr) -> Expr:
    """A product of two values at scale 2^16, which has scale 2^32."""
    inputs = (values.masked(a, node.name), values.masked(b, node.name))
    step = ProductStep(inputs=inputs, shape=a.shape)
    return value(values.emitter.put(step, node.name), a.shape)


def sign(values: Materialiser, node: Sign, x: Expr) -> Expr:
    """positive(x) - positive(-x)."""
    emitter, shape = values.emitter, x.shape
    source = values.masked(x, node.name)
    opposite = emitter.add([source], [-1], shape, node.name)
    above, below = (
        emitter.put(PositiveStep(source=index, shape=shape), node.name)
        for index in (source, opposite)
    )
    return value(emitter.add([above, below], [1, -1], shape, node.name), shape)


def never_negative(values: Materialiser, index: int) -> bool:
    """Whether a masked value is 0 or more by what made it."""
    pending = [index]
    seen: set[int] = set()
    while pending:
        at = pending.pop()
        if at in seen:
            continue
        seen.add(at)
        step = values.emitter.steps[at]
        if isinstance(step, (ReluStep, RectifyStep, PositiveStep)):
            continue
        if isinstance(step, AddStep) and min(step.coefficients) < 0:
            return False
        if isinstance(step, PadStep) and step.value < 0:
            return False
        if not isinstance(
            step,
            (
                AddStep,
                ConcatStep,
                ExpandStep,
                PadStep,
                PermuteStep,
                SliceStep,
                SumPoolStep,
                SumStep,
            ),
        ):
            return False
        pending += step.reads
    return True
