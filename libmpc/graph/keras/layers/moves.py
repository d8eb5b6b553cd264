"""Layers that only move values."""

from __future__ import annotations

import math
from functools import partial

from libmpc.graph.keras.call import Call, Reader
from libmpc.graph.keras.images import channels_first, from_image, to_image
from libmpc.graph.keras.settings import Settings, shown
from libmpc.graph.nodes import Pair


def _flatten(call: Call) -> str:
    """In the order of channels last, whatever the data format."""
    x, rank = call.x, len(call.shape)
    if channels_first(call):
        x = call.b.transpose(call.name, x, (*range(1, rank), 0))
    return call.b.reshape(call.name, x, (math.prod(call.shape),))


def _reshape(call: Call) -> str:
    target, count = call.layer.values.get("target_shape"), math.prod(call.shape)
    given = target if isinstance(target, list) else [target]
    sizes = [size for size in given if type(size) is int]
    known = math.prod(size for size in sizes if size != -1)
    if len(sizes) != len(given) or min(sizes, default=1) < -1 or sizes.count(-1) > 1 or known == 0:
        raise call.refuse(f"target_shape={shown(target)} is not a shape")
    if count % known or (-1 not in sizes and count != known):
        raise call.refuse(f"{call.shape} cannot become target_shape={shown(target)}")
    shape = tuple(count // known if size == -1 else size for size in sizes)
    return call.b.reshape(call.name, call.x, shape or (1,))


def _permute(call: Call) -> str:
    rank, dims = len(call.shape), call.layer.values.get("dims")
    order = call.layer.axes("dims", None, rank)
    if sorted(order) != list(range(rank)):
        raise call.refuse(f"dims={shown(dims)} does not name each of its {rank} axes once")
    return call.b.transpose(call.name, call.x, order)


def _repeat(call: Call) -> str:
    if len(call.shape) != 1:
        raise call.refuse(f"needs a vector, its input has {call.shape}; put a Flatten before it")
    return call.b.expand(call.name, call.x, (call.layer.integer("n"), *call.shape))


def _edges(call: Call, key: str, rank: int, default: int) -> list[Pair]:
    """Before and after every axis of an image: one number, one per axis, or pairs."""
    value = call.layer.values.get(key, default)
    if rank == 1:
        value = [value]
    every = value if isinstance(value, list) else [value] * rank
    if len(every) != rank:
        raise call.refuse(f"{key}={shown(value)} does not fit {rank} axes")
    pairs = []
    for edge in every:
        ends = Settings(call.layer.name, call.layer.kind, {key: edge})
        before, after = ends.integers(key, 2, least=0)
        pairs.append((before, after))
    return [(0, 0)] * (2 - rank) + pairs


def _pad(rank: int, call: Call) -> str:
    (top, bottom), (left, right) = _edges(call, "padding", rank, 1)
    image = to_image(call, rank)
    padded = call.b.pad(call.name, image, (top, left, 0), (bottom, right, 0))
    return from_image(call, padded, rank)


def _crop(rank: int, call: Call) -> str:
    edges = [*_edges(call, "cropping", rank, 1 if rank == 1 else 0), (0, 0)]
    image = to_image(call, rank)
    shape = call.b.shapes[image]
    starts = [before for before, _ in edges]
    sizes = [dim - before - after for dim, (before, after) in zip(shape, edges, strict=True)]
    if min(sizes) < 1:
        raise call.refuse(f"leaves nothing of its input of {call.shape}")
    return from_image(call, call.b.slice(call.name, image, starts, sizes, (1, 1, 1)), rank)


def _upsample(rank: int, call: Call) -> str:
    """Every place several times over, down and across."""
    call.layer.require("interpolation", "nearest")
    b, image = call.b, to_image(call, rank)
    *down, across = call.layer.integers("size", rank, 2)
    times = (down[0] if down else 1, across)
    height, width, channels = b.shapes[image]
    apart = b.reshape(call.name, image, (height, 1, width, 1, channels))
    repeated = b.expand(call.name, apart, (height, times[0], width, times[1], channels))
    whole = b.reshape(call.name, repeated, (height * times[0], width * times[1], channels))
    return from_image(call, whole, rank)


_OF_RANKS = {"ZeroPadding{}D": _pad, "Cropping{}D": _crop, "UpSampling{}D": _upsample}
READERS: dict[str, Reader] = {
    "Flatten": _flatten,
    "Reshape": _reshape,
    "Permute": _permute,
    "RepeatVector": _repeat,
    **{
        kind.format(rank): partial(reader, rank)
        for kind, reader in _OF_RANKS.items()
        for rank in (1, 2)
    },
}
