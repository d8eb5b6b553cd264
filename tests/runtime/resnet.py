"""Plans of residual networks, as they come out of lowering."""

from __future__ import annotations

from typing import Any

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
    SumStep,
    Window,
)


def resnet50(
    side: int = 224,
    blocks: tuple[int, ...] = (3, 4, 6, 3),
    width: int = 64,
    classes: int = 1000,
) -> Plan:
    """Convolution 7×7, max pooling, stages of bottleneck blocks, sums, dense.

    With the defaults ResNet-50: 4.1 GMAC, 9.6 M ReLUs.
    """
    net = _Steps((side, side, 3))
    x = net.max_pool(net.relu(net.conv(0, width, kernel=7, stride=2)))
    for stage, count in enumerate(blocks):
        filters = width << stage
        for block in range(count):
            stride = 2 if stage and not block else 1
            y = net.relu(net.conv(x, filters))
            y = net.relu(net.conv(y, filters, kernel=3, stride=stride))
            y = net.conv(y, 4 * filters)
            shortcut = net.lift(x) if block else net.conv(x, 4 * filters, stride=stride)
            x = net.relu(net.add(y, shortcut))
    x = net.append(SumStep(source=x, shape=net.shape(x), axes=(0, 1)))
    x = net.append(DenseStep(source=x, inputs=net.shape(x)[0], outputs=classes))
    net.append(OutputStep(source=x, shape=(classes,)))
    return Plan(steps=tuple(net.steps))


class _Steps:
    """A plan while it is written; each method appends and returns the index of its result."""

    def __init__(self, shape: tuple[int, ...]) -> None:
        self.steps: list[Any] = [InputStep(shape=shape)]

    def append(self, step: Any) -> int:
        self.steps.append(step)
        return len(self.steps) - 1

    def shape(self, index: int) -> tuple[int, ...]:
        shape: tuple[int, ...] = self.steps[index].output_shape
        return shape

    def conv(self, x: int, filters: int, kernel: int = 1, stride: int = 1) -> int:
        height, width, channels = self.shape(x)
        window = Window(
            height=height,
            width=width,
            channels=channels,
            kernel=(kernel, kernel),
            strides=(stride, stride),
            padding=(kernel // 2,) * 4,
        )
        return self.append(ConvStep(source=x, window=window, filters=filters))

    def relu(self, x: int) -> int:
        return self.append(ReluStep(source=x, shape=self.shape(x)))

    def lift(self, x: int) -> int:
        return self.append(LiftStep(source=x, shape=self.shape(x)))

    def add(self, a: int, b: int, factor: int = 1) -> int:
        return self.append(AddStep(inputs=(a, b), coefficients=(1, factor), shape=self.shape(a)))

    def maximum(self, a: int, b: int) -> int:
        difference = self.add(a, b, -1)
        return self.add(b, self.append(RectifyStep(source=difference, shape=self.shape(a))))

    def max_pool(self, x: int) -> int:
        """3×3 with stride 2 of what is not negative: rows, then columns."""
        shape = self.shape(x)
        ones, none = (1, 1, 0), (0, 0, 0)
        x = self.append(PadStep(source=x, shape=shape, before=ones, after=ones, between=none))
        for axis in (0, 1):
            first, second, third = (
                self._every_other(x, axis, start, shape[axis] // 2) for start in range(3)
            )
            x = self.maximum(self.maximum(first, second), third)
        return x

    def _every_other(self, x: int, axis: int, start: int, size: int) -> int:
        shape = self.shape(x)
        starts, sizes, strides = [0, 0, 0], list(shape), [1, 1, 1]
        starts[axis], sizes[axis], strides[axis] = start, size, 2
        return self.append(
            SliceStep(
                source=x,
                shape=shape,
                starts=tuple(starts),
                sizes=tuple(sizes),
                strides=tuple(strides),
            )
        )
