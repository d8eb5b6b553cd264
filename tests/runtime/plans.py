"""Plans for tests: the two networks of the documentation, and random small ones."""

from typing import Any

import numpy as np

from libmpc.graph.plan import (
    ConvStep,
    DenseStep,
    InputStep,
    OutputStep,
    Plan,
    ReluStep,
    SumPoolStep,
    Window,
)

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


def small_plan() -> Plan:
    """One of every kind of step."""
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


def random_plan(rng: np.random.Generator) -> Plan:
    """Images or vectors, one to three linear steps, pools in between."""
    pick = lambda low, high: int(rng.integers(low, high + 1))  # noqa: E731
    steps: list[Any] = []
    shape: tuple[int, ...] = (pick(1, 6), pick(1, 6), pick(1, 3))
    if rng.random() < 0.3:
        shape = (pick(1, 9),)
    steps.append(InputStep(shape=shape))
    for layer in range(pick(1, 3)):
        if layer:
            steps.append(ReluStep(source=len(steps) - 1, shape=shape))
        source = len(steps) - 1
        if len(shape) == 3 and rng.random() < 0.3:
            window = _random_window(rng, shape)
            steps.append(SumPoolStep(source=source, window=window))
            shape, source = steps[-1].output_shape, source + 1
        if len(shape) == 3 and rng.random() < 0.6:
            window = _random_window(rng, shape)
            steps.append(ConvStep(source=source, window=window, filters=pick(1, 4)))
        else:
            size = int(np.prod(shape))
            divisors = [d for d in range(1, size + 1) if size % d == 0]
            rows = int(rng.choice(divisors)) if rng.random() < 0.3 else 1
            steps.append(
                DenseStep(source=source, rows=rows, inputs=size // rows, outputs=pick(1, 6))
            )
        shape = steps[-1].output_shape
    steps.append(OutputStep(source=len(steps) - 1, shape=shape))
    return Plan(steps=tuple(steps))


def _random_window(rng: np.random.Generator, shape: tuple[int, ...]) -> Window:
    height, width, channels = shape
    return Window(
        height=height,
        width=width,
        channels=channels,
        kernel=(int(rng.integers(1, min(height, 3) + 1)), int(rng.integers(1, min(width, 3) + 1))),
        strides=(int(rng.integers(1, 3)), int(rng.integers(1, 3))),
        dilation=(2, 2) if min(height, width) >= 5 and rng.random() < 0.3 else (1, 1),
        padding=tuple(int(p) for p in rng.integers(0, 3, 4)),  # type: ignore[arg-type]
    )


def random_weights(rng: np.random.Generator, plan: Plan, inputs: int = 2**20) -> Weights:
    """As large as the range of every ReLU's input allows, for |x| ≤ ``inputs`` at 2^16."""
    bound = {0: inputs}  # largest absolute value of a masked step
    weights: Weights = {}
    for index, step in enumerate(plan.steps):
        if isinstance(step, (DenseStep, ConvStep)):
            depth, outputs = step.weight_shape
            largest = max(1, 2**46 // (bound[step.source] * depth))
            w = rng.integers(-largest, largest, (depth, outputs), np.int64, endpoint=True)
            b = rng.integers(-(2**45), 2**45, outputs, np.int64)
            bound[index] = bound[step.source] * depth * largest + 2**45
            weights[index] = (w.astype(np.uint64), b.astype(np.uint64))
            assert bound[index] < 2**47 - 2**16
        elif isinstance(step, ReluStep):
            bound[index] = bound[step.source] >> 16
        elif isinstance(step, SumPoolStep):
            bound[index] = bound[step.source] * step.window.kernel[0] * step.window.kernel[1]
    return weights


def random_inputs(
    rng: np.random.Generator, plan: Plan, batch: int, largest: int = 2**20
) -> np.ndarray[Any, np.dtype[np.int64]]:
    """Signed integers at scale 2^16."""
    return rng.integers(-largest, largest, (batch, *plan.input_shape), np.int64, endpoint=True)
