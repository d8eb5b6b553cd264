"""Linear functions of a step's value, put in terms of what the step reads: linear steps."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np

from libmpc.graph.nodes import Floats
from libmpc.graph.plan import (
    AddStep,
    BiasStep,
    ConcatStep,
    ConvStep,
    DenseStep,
    ExpandStep,
    LiftStep,
    OutputStep,
    PadStep,
    PermuteStep,
    ScaleStep,
    SliceStep,
    Step,
    SumPoolStep,
    SumStep,
    Window,
)
from libmpc.graph.ranges import floats
from libmpc.graph.ranges.patch import Patch

Linear = (
    AddStep | BiasStep | ConcatStep | ConvStep | DenseStep | ExpandStep | LiftStep | OutputStep
) | (PadStep | PermuteStep | ScaleStep | SliceStep | SumPoolStep | SumStep)

_CACHED = 1 << 15  # sums of a convolution at a time


def fan_out(step: Step) -> int:
    """How many values of a step one value that it reads goes into, at most: terms of sums below."""
    if isinstance(step, DenseStep):
        return step.outputs
    if isinstance(step, ConvStep):
        return math.prod(step.window.kernel) * step.filters // step.groups
    if isinstance(step, SumPoolStep):
        return math.prod(step.window.kernel)
    if isinstance(step, ExpandStep):
        return max(1, step.size // math.prod(step.shape))
    return 1


def constant(step: Step, constants: tuple[Floats, Floats]) -> Floats | None:
    """What a linear step adds: (values,); ``None`` for nothing."""
    if isinstance(step, (DenseStep, ConvStep, ScaleStep, BiasStep)):
        return floats.spread(step, constants[1])
    if isinstance(step, PadStep) and step.value:
        return floats.padding(step)
    return None


def pull_back(
    step: Linear, constants: tuple[Floats, Floats], patch: Patch
) -> Iterator[tuple[int, Patch]]:
    """For every source of a step: which, and the functions' coefficients for it."""
    patch = patch.seen_as(step.output_shape)
    if isinstance(step, AddStep):
        for source, coefficient in zip(step.inputs, step.coefficients, strict=True):
            yield source, patch.with_values(patch.values * float(coefficient))
    elif isinstance(step, ConcatStep):
        yield from _concat(step, patch)
    else:
        yield step.source, _one(step, constants[0], patch)


def _one(step: Linear, weights: Floats, patch: Patch) -> Patch:
    functions = len(patch.values)
    if isinstance(step, ConvStep):
        return _conv(step, weights, patch)
    if isinstance(step, DenseStep):
        seen = patch.seen_as((step.rows, step.outputs))
        outputs = seen.box[1]
        values = seen.values @ weights[:, outputs].T
        return Patch((step.rows, step.inputs), (seen.start[0], 0), values)
    if isinstance(step, ScaleStep):
        spread = np.broadcast_to(weights, step.shape).reshape(-1)
        return patch.with_values(patch.values * patch.cut(spread))
    if isinstance(step, LiftStep):
        return patch.with_values(patch.values * floats.ONE)
    if isinstance(step, SumPoolStep):
        return _sum_pool(step, patch)
    if isinstance(step, SumStep):
        kept = tuple(1 if a in step.axes else d for a, d in enumerate(step.shape))
        values = np.broadcast_to(patch.whole().reshape(functions, *kept), (functions, *step.shape))
        return Patch(step.shape, (0,) * len(step.shape), values)
    if isinstance(step, PermuteStep):
        back = np.argsort(step.order)
        values = patch.values.transpose(0, *(axis + 1 for axis in back))
        return Patch(step.shape, tuple(patch.start[a] for a in back), values)
    if isinstance(step, (SliceStep, PadStep)):
        return _places(step, patch)
    if isinstance(step, ExpandStep):
        repeated = [
            axis + 1
            for axis, (s, t) in enumerate(zip(step.shape, step.target, strict=True))
            if s < t
        ]
        values = patch.values.sum(axis=tuple(repeated), keepdims=True)
        start = (0 if a + 1 in repeated else at for a, at in enumerate(patch.start))
        return Patch(step.shape, tuple(start), values)
    assert isinstance(step, (BiasStep, OutputStep))
    return patch


def _concat(step: ConcatStep, patch: Patch) -> Iterator[tuple[int, Patch]]:
    offset, axis = 0, step.axis
    mine = patch.box[axis]
    for source, shape in zip(step.inputs, step.shapes, strict=True):
        low, high = max(mine.start, offset), min(mine.stop, offset + shape[axis])
        if low < high:
            cut = [slice(None)] * (len(shape) + 1)
            cut[axis + 1] = slice(low - mine.start, high - mine.start)
            start = (*patch.start[:axis], low - offset, *patch.start[axis + 1 :])
            yield source, Patch(shape, start, patch.values[tuple(cut)])
        offset += shape[axis]


def _places(step: SliceStep | PadStep, patch: Patch) -> Patch:
    """A slice's values go where they came from; padding's go nowhere."""
    if isinstance(step, SliceStep):
        values = np.zeros((len(patch.values), *step.shape))
        index = np.ix_(
            np.arange(len(values)),
            *(
                start + stride * np.arange(part.start, part.stop)
                for start, stride, part in zip(step.starts, step.strides, patch.box, strict=True)
            ),
        )
        values[index] = patch.values
        return _trimmed(Patch(step.shape, (0,) * len(step.shape), values), step, patch)
    inner = (
        slice(before, before + (dim - 1) * (gap + 1) + 1, gap + 1)
        for before, dim, gap in zip(step.before, step.shape, step.between, strict=True)
    )
    return Patch(step.shape, (0,) * len(step.shape), patch.whole()[(slice(None), *inner)])


def _trimmed(whole: Patch, step: SliceStep, patch: Patch) -> Patch:
    """Only the box that a slice's part came from."""
    low, high = [], []
    for start, stride, part in zip(step.starts, step.strides, patch.box, strict=True):
        ends = (start + stride * part.start, start + stride * (part.stop - 1))
        low.append(min(ends))
        high.append(max(ends) + 1)
    cut = tuple(slice(a, b) for a, b in zip(low, high, strict=True))
    return Patch(whole.shape, tuple(low), whole.values[(slice(None), *cut)])


def _sum_pool(step: SumPoolStep, patch: Patch) -> Patch:
    w = step.window
    seen = patch.seen_as((step.images, *w.output_size, w.channels))
    functions, images, rows, columns, channels = seen.values.shape
    flat = seen.values.reshape(functions * images, rows, columns, channels)
    target = _Target(w, seen)
    total = np.zeros((functions * images, *target.sizes, channels))
    for place in np.ndindex(*w.kernel):
        total[target.index(place)] += flat
    return target.patch(total, step.images, seen, seen.start[3], w.channels)


def _conv(step: ConvStep, weights: Floats, patch: Patch) -> Patch:
    w, groups = step.window, step.groups
    seen = patch.seen_as((step.images, *w.output_size, step.filters))
    if groups > 1 and seen.values.shape[-1] < step.filters:
        seen = Patch(seen.shape, (0,) * 4, seen.whole())
    functions, images, rows, columns, filters = seen.values.shape
    kernel = weights.reshape(*w.kernel, w.channels // groups, step.filters)[..., seen.box[3]]
    flat = seen.values.reshape(functions * images, rows, columns, filters)
    target = _Target(w, seen)
    total = np.zeros((functions * images, *target.sizes, w.channels))
    if groups == 1:
        # Some functions at a time, so that their sums stay in the processor's cache.
        few = max(1, _CACHED // math.prod(total.shape[1:]))
        for at in range(0, len(flat), few):
            part, sums = flat[at : at + few], total[at : at + few]
            rows_of = part.reshape(-1, filters)
            for place in np.ndindex(*w.kernel):
                product = rows_of @ kernel[place].T
                sums[target.index(place)] += product.reshape(*part.shape[:3], w.channels)
    else:
        parts = flat.reshape(*flat.shape[:3], groups, 1, filters // groups)
        for place in np.ndindex(*w.kernel):
            # (groups, filters of a group, channels of a group)
            matrix = kernel[place].reshape(-1, groups, filters // groups).transpose(1, 2, 0)
            product = parts * matrix[:, 0, :, None] if matrix.shape[1] == 1 else parts @ matrix
            total[target.index(place)] += product.reshape(*flat.shape[:3], w.channels)
    return target.patch(total, step.images, seen, 0, w.channels)


class _Target:
    """The part of padded images that a box of places sees."""

    def __init__(self, window: Window, seen: Patch) -> None:
        self._window = window
        self._counts = seen.values.shape[2:4]
        strides = window.strides
        spans = [(k - 1) * d + 1 for k, d in zip(window.kernel, window.dilation, strict=True)]
        self.sizes = tuple(
            (count - 1) * stride + span
            for count, stride, span in zip(self._counts, strides, spans, strict=True)
        )
        padding = (window.padding[0], window.padding[2])
        self._start = tuple(
            at * stride - pad
            for at, stride, pad in zip(seen.start[1:3], strides, padding, strict=True)
        )

    def index(self, place: tuple[int, ...]) -> tuple[slice, ...]:
        """Where one place of the kernel reads."""
        w = self._window
        rows, columns = (
            slice(at * spread, at * spread + (count - 1) * stride + 1, stride)
            for at, spread, stride, count in zip(
                place, w.dilation, w.strides, self._counts, strict=True
            )
        )
        return slice(None), rows, columns

    def patch(self, total: Floats, images: int, seen: Patch, channel: int, channels: int) -> Patch:
        """The sums without what fell on padding."""
        w = self._window
        cut, start = [], []
        for at, size, dim in zip(self._start, self.sizes, (w.height, w.width), strict=True):
            low, high = max(at, 0), min(at + size, dim)
            # A window may lie in the padding altogether: keep one place, whose sums are zero.
            low = min(low, dim - 1)
            high = max(high, low + 1)
            cut.append(slice(low - at, high - at))
            start.append(low)
        values = total[:, cut[0], cut[1]]
        if values.shape[1] * values.shape[2] == 0 or any(c.start < 0 for c in cut):
            values = np.zeros((len(total), 1, 1, total.shape[3]))
        functions = len(seen.values)
        values = values.reshape(functions, -1, *values.shape[1:])
        shape = (images, w.height, w.width, channels)
        return Patch(shape, (seen.start[0], *start, channel), values)
