"""Plans of the shape of ResNet-50, made by hand, with random weights: a large network to run.

Weights are integers at scale 2^16, of a size that keeps activations near 1, so that every value
stays in range; nothing else about them means anything.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from libmpc.graph.plan import (
    AddStep,
    ConvStep,
    DenseStep,
    InputStep,
    LiftStep,
    OutputStep,
    PadStep,
    Plan,
    RectifyStep,
    ReluStep,
    SliceStep,
    Step,
    SumStep,
    Window,
)

Weights = dict[int, tuple[NDArray[np.uint64], NDArray[np.uint64]]]

#: blocks and inner channels of each stage
RESNET_50 = ((3, 64), (4, 128), (6, 256), (3, 512))
_EXPANSION = 4


class _Builder:
    def __init__(self, shape: tuple[int, ...], seed: int) -> None:
        self.steps: list[Step] = [InputStep(shape=shape)]
        self.weights: Weights = {}
        self.rng = np.random.default_rng(seed)

    def add(self, step: Step) -> int:
        self.steps.append(step)
        return len(self.steps) - 1

    def _weigh(self, index: int, shape: tuple[int, ...], gain: float) -> int:
        # Uniform of variance gain / fan-in; 2^16 is one.
        bound = int(65536 * (3 * gain / shape[0]) ** 0.5)
        weights = self.rng.integers(-bound, bound, shape, np.int64, endpoint=True)
        bias = self.rng.integers(-(1 << 28), 1 << 28, shape[1], np.int64)
        self.weights[index] = weights.view(np.uint64), bias.view(np.uint64)
        return index

    def conv(
        self, x: int, filters: int, kernel: int = 1, stride: int = 1, gain: float = 2.0
    ) -> int:
        height, width, channels = self.steps[x].output_shape
        pad = kernel // 2
        window = Window(
            height=height,
            width=width,
            channels=channels,
            kernel=(kernel, kernel),
            strides=(stride, stride),
            padding=(pad, pad, pad, pad),
        )
        step = ConvStep(source=x, window=window, filters=filters)
        return self._weigh(self.add(step), step.weight_shape, gain)

    def relu(self, x: int) -> int:
        return self.add(ReluStep(source=x, shape=self.steps[x].output_shape))

    def max_pool(self, x: int) -> int:
        """Of 3 x 3 with stride 2, rows then columns, of values that are not negative."""
        shape = self.steps[x].output_shape
        before = (1, 1, 0)
        x = self.add(
            PadStep(source=x, shape=shape, before=before, after=(0, 0, 0), between=(0, 0, 0))
        )
        for axis in (0, 1):
            shape = self.steps[x].output_shape
            sizes = tuple(d // 2 if a == axis else d for a, d in enumerate(shape))
            strides = tuple(2 if a == axis else 1 for a in range(3))
            first, *rest = [
                self.add(
                    SliceStep(
                        source=x,
                        shape=shape,
                        starts=tuple(start if a == axis else 0 for a in range(3)),
                        sizes=sizes,
                        strides=strides,
                    )
                )
                for start in (0, 1, 2)
            ]
            for other in rest:
                first = self.maximum(first, other)
            x = first
        return x

    def maximum(self, a: int, b: int) -> int:
        shape = self.steps[a].output_shape
        difference = self.add(AddStep(inputs=(a, b), coefficients=(1, -1), shape=shape))
        rectified = self.add(RectifyStep(source=difference, shape=shape))
        return self.add(AddStep(inputs=(b, rectified), coefficients=(1, 1), shape=shape))

    def bottleneck(self, x: int, inner: int, stride: int) -> int:
        y = self.relu(self.conv(x, inner))
        y = self.relu(self.conv(y, inner, 3, stride))
        y = self.conv(y, inner * _EXPANSION, gain=0.2)
        shape = self.steps[y].output_shape
        if self.steps[x].output_shape == shape:
            x = self.add(LiftStep(source=x, shape=shape))
        else:
            x = self.conv(x, inner * _EXPANSION, 1, stride, gain=1.0)
        return self.relu(self.add(AddStep(inputs=(y, x), coefficients=(1, 1), shape=shape)))


def resnet(
    size: int = 224,
    stages: tuple[tuple[int, int], ...] = RESNET_50,
    stem: int = 64,
    classes: int = 1000,
    seed: int = 1,
) -> tuple[Plan, Weights]:
    """A residual network of bottleneck blocks for size x size x 3 images, as in the paper."""
    b = _Builder((size, size, 3), seed)
    x = b.max_pool(b.relu(b.conv(0, stem, 7, 2)))
    for number, (blocks, inner) in enumerate(stages):
        for block in range(blocks):
            x = b.bottleneck(x, inner, 2 if number and not block else 1)
    shape = b.steps[x].output_shape
    x = b.add(SumStep(source=x, shape=shape, axes=(0, 1)))
    step = DenseStep(source=x, inputs=shape[2], outputs=classes)
    # The mean over the places is part of the weights.
    x = b._weigh(b.add(step), step.weight_shape, 1.0 / (shape[0] * shape[1]) ** 2)
    b.add(OutputStep(source=x, shape=(classes,)))
    return Plan(steps=tuple(b.steps)), b.weights
