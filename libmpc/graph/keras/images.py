"""Sequences and images in either data format, as images with their channels last."""

from __future__ import annotations

from libmpc.graph.keras.call import Call
from libmpc.graph.nodes import Padding, Pair, Shape


def channels_first(call: Call) -> bool:
    """Whether the layer's channels come before its places."""
    return call.layer.require("data_format", "channels_last", "channels_first", None) == (
        "channels_first"
    )


def to_image(call: Call, rank: int) -> str:
    """What the layer reads as (height, width, channels); a sequence (``rank`` 1) has height 1."""
    b, x, shape = call.b, call.x, call.shape
    if len(shape) != rank + 1:
        kind = "an image (height, width, channels)" if rank == 2 else "a sequence (steps, channels)"
        raise call.refuse(f"needs {kind}, its input has {shape}; put a Reshape before it")
    if channels_first(call):
        x = b.transpose(call.name, x, (*range(1, rank + 1), 0))
    return b.reshape(call.name, x, (1,) * (2 - rank) + b.shapes[x])


def from_image(call: Call, x: str, rank: int) -> str:
    """The reverse, for the result."""
    b = call.b
    x = b.reshape(call.name, x, b.shapes[x][2 - rank :])
    return b.transpose(call.name, x, (rank, *range(rank))) if channels_first(call) else x


def pair(
    call: Call, key: str, rank: int, default: int | None = None, *, fill: int = 1, least: int = 1
) -> Pair:
    """A setting down and across; of a sequence only across, ``fill`` down."""
    *down, across = call.layer.integers(key, rank, default, least)
    return (down[0] if down else fill, across)


def padding(call: Call, shape: Shape, window: Pair, strides: Pair, dilation: Pair) -> Padding:
    """Zeros at top, bottom, left, right of an image.

    ``same`` pads so that ⌈size / stride⌉ windows fit, with the odd zero at the bottom and at the
    right; ``causal`` pads sequences on the left, so that as many windows fit as with ``same``.
    """
    causal = ("causal",) if call.layer.kind == "Conv1D" else ()
    kind = call.layer.require("padding", "valid", "same", *causal)
    if kind == "valid":
        return (0, 0, 0, 0)
    if kind == "causal":
        return (0, 0, (window[1] - 1) * dilation[1], 0)
    down, across = (
        max(0, (-(-size // stride) - 1) * stride + (extent - 1) * spread + 1 - size)
        for size, stride, extent, spread in zip(shape[:2], strides, window, dilation, strict=True)
    )
    return (down // 2, down - down // 2, across // 2, across - across // 2)
