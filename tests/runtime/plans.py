"""Plans for tests: the two networks of the documentation, and small ones."""

from typing import Any

import numpy as np

from libmpc.graph.plan import (
    AddStep,
    ConvStep,
    DenseStep,
    InputStep,
    LiftStep,
    OutputStep,
    Plan,
    RectifyStep,
    ReluStep,
    SumPoolStep,
    TruncateStep,
    Window,
)
from tests.runtime.random_plans import bounds, random_plan

__all__ = [
    "Weights",
    "perceptron",
    "random_inputs",
    "random_plan",
    "random_weights",
    "residual_plan",
    "small_plan",
    "tutorial_cnn",
]

Weights = dict[int, tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]]


def _halving(size: int, channels: int) -> Window:
    return Window(height=size, width=size, channels=channels, kernel=(4, 4), strides=(2, 2))


def tutorial_cnn() -> Plan:
    """Conv 10, 32, 64 of 3×3, each with 2×2 average pooling folded in; dense 10."""
    return Plan(
        steps=(
            InputStep(shape=(28, 28, 1)),
            ConvStep(source=0, window=_halving(28, 1), filters=10),
            ReluStep(source=1, shape=(13, 13, 10)),
            ConvStep(source=2, window=_halving(13, 10), filters=32),
            ReluStep(source=3, shape=(5, 5, 32)),
            ConvStep(source=4, window=_halving(5, 32), filters=64),
            ReluStep(source=5, shape=(1, 1, 64)),
            DenseStep(source=6, inputs=64, outputs=10),
            OutputStep(source=7, shape=(10,)),
        )
    )


def perceptron() -> Plan:
    """784-500-10."""
    return Plan(
        steps=(
            InputStep(shape=(784,)),
            DenseStep(source=0, inputs=784, outputs=500),
            ReluStep(source=1, shape=(500,)),
            DenseStep(source=2, inputs=500, outputs=10),
            OutputStep(source=3, shape=(10,)),
        )
    )


def residual_plan() -> Plan:
    """Values with several readers, and openings of sums: a block with a shortcut, and its end."""
    window = Window(height=4, width=4, channels=2, kernel=(3, 3), padding=(1, 1, 1, 1))
    shape = (4, 4, 2)
    return Plan(
        steps=(
            InputStep(shape=shape),
            ConvStep(source=0, window=window, filters=2),
            ReluStep(source=1, shape=shape),
            ConvStep(source=2, window=window, filters=2),
            LiftStep(source=2, shape=shape),
            AddStep(inputs=(3, 4), coefficients=(1, 1), shape=shape),
            ReluStep(source=5, shape=shape),
            ConvStep(source=6, window=window, filters=2),
            ReluStep(source=7, shape=shape),
            TruncateStep(source=7, shape=shape),
            RectifyStep(source=9, shape=shape),
            AddStep(inputs=(8, 9, 10), coefficients=(1, -1, 2), shape=shape),
            DenseStep(source=11, inputs=32, outputs=3),
            OutputStep(source=12, shape=(3,)),
        )
    )


def small_plan() -> Plan:
    """A chain with a pool, a convolution and a dense layer."""
    return Plan(
        steps=(
            InputStep(shape=(5, 4, 2)),
            SumPoolStep(source=0, window=Window(height=5, width=4, channels=2, kernel=(2, 2))),
            ConvStep(
                source=1,
                window=Window(height=4, width=3, channels=2, kernel=(2, 2), padding=(1, 0, 0, 1)),
                filters=3,
            ),
            ReluStep(source=2, shape=(4, 3, 3)),
            DenseStep(source=3, inputs=36, outputs=5),
            OutputStep(source=4, shape=(5,)),
        )
    )


def random_weights(rng: np.random.Generator, plan: Plan, inputs: int = 2**20) -> Weights:
    """As large as ``bounds`` allows, for |x| ≤ ``inputs`` at scale 2^16."""
    bound = bounds(plan, inputs)
    weights: Weights = {}
    for index, step in plan.linear_steps.items():
        b = rng.integers(-(2**44), 2**44, step.bias_shape, np.int64, endpoint=True)
        w = np.zeros(0, np.int64)
        if step.weight_shape is not None:
            taps = step.macs // step.size
            largest = 2**44 // (max(1, bound[step.source]) * taps)
            assert largest >= 1
            w = rng.integers(-largest, largest, step.weight_shape, np.int64, endpoint=True)
        weights[index] = (w.astype(np.uint64), b.astype(np.uint64))
    return weights


def random_inputs(
    rng: np.random.Generator, plan: Plan, batch: int, largest: int = 2**20
) -> np.ndarray[Any, np.dtype[np.int64]]:
    """Signed integers at scale 2^16."""
    return rng.integers(-largest, largest, (batch, *plan.input_shape), np.int64, endpoint=True)
