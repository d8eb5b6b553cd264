"""Run every kernel once, so that no query waits for a compiler or a cold library."""

from __future__ import annotations

import numpy as np

from libmpc.graph.plan import (
    AddStep,
    BiasStep,
    ConcatStep,
    ConvStep,
    DenseStep,
    ExpandStep,
    InputStep,
    LiftStep,
    OutputStep,
    PadStep,
    PermuteStep,
    Plan,
    PositiveStep,
    ProductStep,
    RectifyStep,
    ReluStep,
    ScaleStep,
    SliceStep,
    SumPoolStep,
    SumStep,
    TruncateStep,
    Window,
)
from libmpc.graph.reference import run_reference
from libmpc.graph.tail import with_output
from libmpc.outputs import parse
from libmpc.runtime.simulation import Simulation

_IMAGE = (3, 3, 2)
_SIZE = 18


def every_step() -> Plan:
    """A tiny network with every kind of step, and convolutions of every kind."""
    pool = Window(height=4, width=4, channels=2, kernel=(2, 2))
    window = Window(height=3, width=3, channels=2, kernel=(2, 2), padding=(1, 0, 0, 1))
    four = window.model_copy(update={"channels": 4})
    pixel = Window(height=3, width=3, channels=2, kernel=(1, 1))
    zeros, ones = (0, 0, 0), (1, 1, 1)
    return Plan(
        steps=(
            InputStep(shape=(4, 4, 2)),
            SumPoolStep(source=0, window=pool),
            ConvStep(source=1, window=window, filters=2),
            ReluStep(source=2, shape=_IMAGE),
            ConvStep(source=3, window=window, filters=2, groups=2),
            TruncateStep(source=4, shape=_IMAGE),
            ConcatStep(inputs=(3, 5), shapes=(_IMAGE, _IMAGE), axis=2),
            ConvStep(source=6, window=four, filters=2, groups=2),
            BiasStep(source=7, shape=_IMAGE, factor_shape=(1, 1, 2)),
            LiftStep(source=3, shape=_IMAGE),
            AddStep(inputs=(8, 9), coefficients=(1, -1), shape=_IMAGE),
            ReluStep(source=10, shape=_IMAGE),
            ConvStep(source=11, window=pixel, filters=2),
            TruncateStep(source=12, shape=_IMAGE),
            PositiveStep(source=13, shape=_IMAGE),
            PermuteStep(source=14, shape=_IMAGE, order=(1, 0, 2)),
            AddStep(inputs=(3, 13), coefficients=(1, -2), shape=_IMAGE),
            RectifyStep(source=16, shape=_IMAGE),
            ProductStep(inputs=(15, 17), shape=_IMAGE),
            ScaleStep(source=17, shape=_IMAGE, factor_shape=(3, 1, 2)),
            AddStep(inputs=(18, 19, 10), coefficients=(1, 1, 1), shape=_IMAGE),
            TruncateStep(source=20, shape=_IMAGE),
            PadStep(
                source=21, shape=_IMAGE, before=ones, after=zeros, between=zeros, value=1 << 14
            ),
            SliceStep(source=22, shape=(4, 4, 3), starts=(3, 0, 1), sizes=ones, strides=(-1, 1, 1)),
            ExpandStep(source=23, shape=ones, target=_IMAGE),
            DenseStep(source=24, rows=2, inputs=9, outputs=2),
            SumStep(source=25, shape=(2, 2), axes=(0,)),
            ConcatStep(inputs=(26, 20), shapes=((2,), (_SIZE,)), axis=0),
            OutputStep(source=27, shape=(20,)),
        )
    )


def wide_matrix() -> Plan:
    """A product with a matrix that is wide enough to be packed."""
    return Plan(
        steps=(
            InputStep(shape=(5,)),
            DenseStep(source=0, inputs=5, outputs=17),
            OutputStep(source=1, shape=(17,)),
        )
    )


def every_tail() -> list[Plan]:
    """Tiny networks with every kind of step behind their logits."""
    few, many = (
        Plan(
            steps=(
                InputStep(shape=(3,)),
                DenseStep(source=0, inputs=3, outputs=classes),
                OutputStep(source=1, shape=(classes,)),
            )
        )
        for classes in (5, 40)
    )
    kinds = ("label", "topk:2", "scores:3:-1.0:1.0", "count", "confusion")
    plans = [with_output(few, parse(kind)) for kind in kinds]
    return [*plans, with_output(many, parse("label"))]


def warm_up() -> None:
    """Compile what is not compiled, and run tiny networks with every kind of step in them.

    Raises:
        RuntimeError: a tiny network's answer is wrong: this machine must not serve.
    """
    for plan in (every_step(), wide_matrix(), *every_tail()):
        _check(plan)


def _check(plan: Plan) -> None:
    weights = {
        index: (
            _numbers(step.weight_shape if step.weight_shape is not None else (0,)),
            _numbers(step.bias_shape),
        )
        for index, step in plan.linear_steps.items()
    }
    x = _numbers((2, *plan.input_shape))
    labels = None
    if plan.label_width is not None:
        labels = np.eye(2, plan.label_width, dtype=np.uint64)
    answer = Simulation(plan, weights).query(x, labels)
    if not np.array_equal(answer, run_reference(plan, weights, x, labels)):
        raise RuntimeError("the kernels give wrong results on this machine; reinstall numba")


def _numbers(shape: tuple[int, ...]) -> np.ndarray[tuple[int, ...], np.dtype[np.uint64]]:
    """Numbers between −1/2 and 1/2 at scale 2^16, always the same."""
    count = int(np.prod(shape))
    values = np.arange(1, count + 1, dtype=np.int64) * 40503 % 65536 - 32768
    return values.astype(np.uint64).reshape(shape)
