"""ONNX's rules for the shapes of moves, the same for constants and for secrets."""

from __future__ import annotations

import math
from collections.abc import Sequence

from libmpc.graph.nodes import Shape
from libmpc.graph.onnx.op import Op


def reshaped(op: Op, shape: Shape, wanted: Sequence[int]) -> Shape:
    """Reshape's target: 0 keeps a size (unless ``allowzero``), one -1 takes what is left."""
    target = list(wanted)
    if len(target) > 16 or any(d < -1 for d in target) or target.count(-1) > 1:
        raise op.refuse(f"the shape {target[:8]} makes no sense")
    if not op.flag("allowzero"):
        for axis, size in enumerate(target):
            if size == 0:
                if axis >= len(shape):
                    raise op.refuse(f"the shape {target[:8]} keeps axis {axis}, which is not there")
                target[axis] = shape[axis]
    if -1 in target:
        rest = math.prod(d for d in target if d != -1)
        if not rest or math.prod(shape) % rest:
            raise op.refuse(f"{shape} cannot become {target[:8]}")
        target[target.index(-1)] = math.prod(shape) // rest
    if math.prod(target) != math.prod(shape):
        raise op.refuse(f"{shape} cannot become {target[:8]}")
    return tuple(target)


def squeezed(op: Op, shape: Shape, axes: Sequence[int] | None) -> Shape:
    """Squeeze's target: without the axes, or without all that have size 1."""
    if axes is None:
        return tuple(d for d in shape if d != 1)
    gone = op.normal(axes, len(shape))
    if any(shape[axis] != 1 for axis in gone):
        raise op.refuse(f"the axes {list(axes)[:8]} of {shape} are not all of size 1")
    return tuple(d for axis, d in enumerate(shape) if axis not in gone)


def unsqueezed(op: Op, shape: Shape, axes: Sequence[int]) -> Shape:
    """Unsqueeze's target: axes of size 1 at these places of the result."""
    rank = len(shape) + len(axes)
    new = op.normal(axes, rank)
    sizes = iter(shape)
    return tuple(1 if axis in new else next(sizes) for axis in range(rank))


def slices(
    op: Op,
    shape: Shape,
    starts: Sequence[int] | None,
    ends: Sequence[int] | None,
    axes: Sequence[int] | None,
    steps: Sequence[int] | None,
) -> tuple[list[int], list[int], list[int]]:
    """Slice's start, size and stride along every axis; beyond an end it stops there."""
    if starts is None or ends is None:
        raise op.refuse("starts and ends are missing")
    where = op.normal(range(len(starts)) if axes is None else axes, len(shape))
    by = [1] * len(starts) if steps is None else list(steps)
    if not len(starts) == len(ends) == len(where) == len(by) or 0 in by:
        raise op.refuse("starts, ends, axes and steps do not fit each other")
    begin, sizes, strides = [0] * len(shape), list(shape), [1] * len(shape)
    for axis, start, end, step in zip(where, starts, ends, by, strict=True):
        begin[axis], sizes[axis] = _clamped(shape[axis], start, end, step)
        strides[axis] = step
    return begin, sizes, strides


def _clamped(size: int, start: int, end: int, step: int) -> tuple[int, int]:
    """ONNX's start and number of places; Python's, but a start before the front is the front."""
    first, last = (0, size) if step > 0 else (-1, size - 1)
    start, end = (value + size if value < 0 else value for value in (start, end))
    start, end = min(max(start, 0), max(last, 0)), min(max(end, first), last)
    return start, len(range(start, end, step))


def split_sizes(op: Op, size: int, wanted: Sequence[int] | None) -> list[int]:
    """Split's sizes: as listed, or equal parts of which the last may be smaller."""
    if wanted is not None:
        if sum(wanted) != size or any(part < 0 for part in wanted):
            raise op.refuse(f"cannot split {size} places into {list(wanted)[:8]}")
        return list(wanted)
    count = op.integer("num_outputs", len(op.outputs))
    if not 1 <= count <= 1 << 12:
        raise op.refuse(f"cannot split into {count} parts")
    part = -(-size // count)
    last = size - part * (count - 1)
    if last < 0 or (last != part and "num_outputs" not in op.attributes):
        raise op.refuse(f"cannot split {size} places into {count} equal parts")
    return [part] * (count - 1) + [last]


def broadcast(op: Op, *shapes: Shape) -> Shape:
    """The shape that all of these repeat into, by numpy's rules."""
    rank = max(len(shape) for shape in shapes)
    found = []
    for sizes in zip(*((1,) * (rank - len(s)) + s for s in shapes), strict=True):
        most = {size for size in sizes if size != 1}
        if len(most) > 1:
            raise op.refuse(f"the shapes {', '.join(map(str, shapes[:4]))} do not fit together")
        found.append(most.pop() if most else 1)
    return tuple(found)
