"""Averages and maxima over windows, and over whole images."""

from __future__ import annotations

from functools import partial

import numpy as np

from libmpc.graph.keras.call import Call, Reader
from libmpc.graph.keras.images import channels_first, from_image, padding, pair, to_image
from libmpc.graph.nodes import Floats, Padding, Pair


def _windows(call: Call, rank: int, image: str) -> tuple[Pair, Pair, Padding]:
    size = pair(call, "pool_size", rank, 2)
    given = call.layer.values.get("strides") is not None
    strides = pair(call, "strides", rank) if given else size
    return size, strides, padding(call, call.b.shapes[image], size, strides, (1, 1))


def _max(rank: int, call: Call) -> str:
    image = to_image(call, rank)
    size, strides, around = _windows(call, rank, image)
    return from_image(call, call.b.max_pool(call.name, image, size, strides, (1, 1), around), rank)


def _average(rank: int, call: Call) -> str:
    """A window at the edge is divided by how many places of the image it sees."""
    image = to_image(call, rank)
    size, strides, around = _windows(call, rank, image)
    total = call.b.sum_pool(call.name, image, size, strides, (1, 1), around)
    factor = np.array(1.0 / (size[0] * size[1]))
    if any(around):
        before, places = call.b.shapes[image], call.b.shapes[total]
        call.budget.spend(places[0] * places[1])
        down, across = (
            _seen(before[axis], places[axis], size[axis], strides[axis], around[2 * axis])
            for axis in (0, 1)
        )
        factor = (1.0 / np.outer(down, across))[:, :, None]
    return from_image(call, call.b.scale(call.name, total, factor), rank)


def _seen(length: int, places: int, window: int, stride: int, before: int) -> Floats:
    """How many of an axis' places every window sees."""
    starts = np.arange(places) * stride - before
    inside = np.minimum(starts + window, length) - np.maximum(starts, 0)
    return inside.astype(np.float64)


def _global_average(rank: int, call: Call) -> str:
    axes = _places(rank, call)
    return call.b.mean_over(call.name, call.x, axes, keep=call.layer.flag("keepdims", False))


def _global_max(rank: int, call: Call) -> str:
    axes, keep = _places(rank, call), call.layer.flag("keepdims", False)
    image = to_image(call, rank)
    size = call.b.shapes[image][0], call.b.shapes[image][1]
    most = from_image(call, call.b.max_pool(call.name, image, size, size), rank)
    kept = tuple(d for a, d in enumerate(call.b.shapes[most]) if keep or a not in axes)
    return call.b.reshape(call.name, most, kept)


def _places(rank: int, call: Call) -> tuple[int, ...]:
    """The axes that are not the channels'."""
    if len(call.shape) != rank + 1:
        raise call.refuse(f"needs {rank + 1} axes besides the batch, its input has {call.shape}")
    return tuple(range(1, rank + 1)) if channels_first(call) else tuple(range(rank))


_KINDS = {
    "MaxPooling{}D": _max,
    "AveragePooling{}D": _average,
    "GlobalAveragePooling{}D": _global_average,
    "GlobalMaxPooling{}D": _global_max,
}
READERS: dict[str, Reader] = {
    kind.format(rank): partial(reader, rank) for kind, reader in _KINDS.items() for rank in (1, 2)
}
