"""The steps without constants, messages or randomness: sums, and values in another order.

Each is a linear map with public integer coefficients, so one function serves everybody: the
reference applies it to values, an evaluator to m, to its λ_j or to its share, the dealer to its
masks or to what is missing. Plain numpy modulo 2^64; nothing here knows a party.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from libmpc.graph.plan import (
    AddStep,
    ConcatStep,
    ExpandStep,
    MoveStep,
    PadStep,
    PermuteStep,
    SliceStep,
    SumPoolStep,
    SumStep,
    Window,
)

Ring = NDArray[np.uint64]


def apply(step: MoveStep, sources: Sequence[Ring], *, fill: bool) -> Ring:
    """One move, of a batch.

    Args:
        step: what to do.
        sources: the values that it reads, in order, each (batch, …), contiguous.
        fill: whether ``pad`` puts its value in; true for plain values and for m, false for masks
            and for shares.

    Returns:
        (batch, *step.output_shape), contiguous. It may share memory with a source, so neither may
        be written to afterwards.
    """
    batch = len(sources[0])
    if isinstance(step, AddStep):
        return _add([source.reshape(batch, *step.shape) for source in sources], step.coefficients)
    if isinstance(step, ConcatStep):
        parts = [s.reshape(batch, *shape) for s, shape in zip(sources, step.shapes, strict=True)]
        return np.concatenate(parts, axis=step.axis + 1)
    (source,) = sources
    if isinstance(step, SumPoolStep):
        return _sum_pool(source, step).reshape(batch, *step.output_shape)
    x = source.reshape(batch, *step.shape)
    if isinstance(step, SumStep):
        total: Ring = x.sum(axis=tuple(axis + 1 for axis in step.axes), dtype=np.uint64)
        return total.reshape(batch, *step.output_shape)
    if isinstance(step, PermuteStep):
        return np.ascontiguousarray(x.transpose(0, *(axis + 1 for axis in step.order)))
    if isinstance(step, SliceStep):
        return np.ascontiguousarray(x[(slice(None), *_slices(step))])
    if isinstance(step, PadStep):
        return _pad(x, step, step.value if fill else 0)
    assert isinstance(step, ExpandStep)
    return np.ascontiguousarray(np.broadcast_to(x, (batch, *step.target)))


def padded(images: Ring, window: Window) -> Ring:
    """(images, height, width, channels) with the window's zeros around each image."""
    top, bottom, left, right = window.padding
    if not any(window.padding):
        return images
    return np.pad(images, ((0, 0), (top, bottom), (left, right), (0, 0)))


def seen(images: Ring, window: Window, place: tuple[int, ...]) -> Ring:
    """What one place of the window sees of padded images: (images, rows, columns, channels)."""
    rows, columns = (
        slice(at * spread, at * spread + (size - 1) * stride + 1, stride)
        for at, spread, stride, size in zip(
            place, window.dilation, window.strides, window.output_size, strict=True
        )
    )
    return images[:, rows, columns]


def _add(parts: Sequence[Ring], coefficients: Sequence[int]) -> Ring:
    total: Ring | None = None
    for part, coefficient in zip(parts, coefficients, strict=True):
        if total is None:
            total = part * _integer(coefficient)
        elif coefficient == 1:
            total += part
        elif coefficient == -1:
            total -= part
        else:
            total += part * _integer(coefficient)
    assert total is not None
    return total


def _integer(value: int) -> np.uint64:
    return np.uint64(value % 2**64)


def _sum_pool(source: Ring, step: SumPoolStep) -> Ring:
    window = step.window
    shape = (len(source) * step.images, window.height, window.width, window.channels)
    images = padded(source.reshape(shape), window)
    total = np.zeros((shape[0], *window.output_size, window.channels), np.uint64)
    for place in np.ndindex(*window.kernel):
        total += seen(images, window, place)
    return total


def _slices(step: SliceStep) -> tuple[slice, ...]:
    ends = [
        start + size * stride
        for start, size, stride in zip(step.starts, step.sizes, step.strides, strict=True)
    ]
    # A backward slice that ends with place 0 has no end that numpy would not count from behind.
    return tuple(
        slice(start, end if end >= 0 else None, stride)
        for start, end, stride in zip(step.starts, ends, step.strides, strict=True)
    )


def _pad(x: Ring, step: PadStep, value: int) -> Ring:
    shape = (len(x), *step.output_shape)
    out = np.full(shape, _integer(value)) if value else np.zeros(shape, np.uint64)
    places = tuple(
        slice(before, before + (dim - 1) * (gap + 1) + 1, gap + 1)
        for before, dim, gap in zip(step.before, step.shape, step.between, strict=True)
    )
    out[(slice(None), *places)] = x
    return out
