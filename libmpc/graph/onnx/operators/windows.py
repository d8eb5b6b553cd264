"""ONNX's rules for sliding windows: automatic padding, rounding up; one to three axes.

Images are (batch, channels, sizes ...) in ONNX, (batch, sizes ..., channels) here; one axis becomes
an image that is one pixel high.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from libmpc.graph.nodes import Padding, Pair, Shape
from libmpc.graph.onnx.layer import Layer
from libmpc.graph.onnx.values import Secret

MAX_PAD = 1 << 20
MODES = ("NOTSET", "VALID", "SAME_UPPER", "SAME_LOWER")


@dataclass(frozen=True)
class Sliding:
    """A window over an image, in two or three axes.

    Attributes:
        size: of the image.
        padding: what the model asks for: before and after, by axis.
        reach: ``padding``, and what rounding up adds after.
    """

    size: Shape
    kernel: Shape
    strides: Shape
    dilation: Shape
    padding: tuple[Pair, ...]
    reach: tuple[Pair, ...]


def image(layer: Layer, x: Secret) -> tuple[Secret, Shape]:
    """The image with its channels last, and its sizes as ONNX has them."""
    sizes = x.shape[2:]
    if not 1 <= len(sizes) <= 3:
        raise layer.refuse(
            f"takes (batch, channels, one to three sizes), its input has the shape {x.shape}"
        )
    full = layer.reshape(x, (*x.shape[:2], *((1,) if len(sizes) == 1 else ()), *sizes))
    return layer.transpose(full, (0, *range(2, len(full.shape)), 1)), sizes


def back(layer: Layer, x: Secret, rank: int) -> Secret:
    """The reverse of ``image``, for an image of ``rank`` axes."""
    last = len(x.shape) - 1
    first = layer.transpose(x, (0, last, *range(1, last)))
    return layer.reshape(first, (*first.shape[:2], first.shape[3])) if rank == 1 else first


def widened(values: Sequence[int]) -> Shape:
    """One number for each axis of the image."""
    return (1, *values) if len(values) == 1 else tuple(values)


def flat(sides: Sequence[Pair]) -> Padding:
    """Padding of two axes as the graph has it."""
    (top, bottom), (left, right) = sides
    return top, bottom, left, right


def columns(layer: Layer, x: Secret) -> Secret:
    """(batch, depth, height, width, channels) with height and width as one axis."""
    n, depth, *sizes, channels = x.shape
    return layer.reshape(x, (n, depth, math.prod(sizes), channels))


def sliding(layer: Layer, sizes: Shape, kernel: Sequence[int]) -> Sliding:
    """The window that a node's attributes describe.

    Args:
        layer: has ``strides``, ``dilations``, ``pads``, ``auto_pad``, ``ceil_mode``.
        sizes: of the image, one to three.
        kernel: the window's.

    Raises:
        ModelError: the attributes make no sense together.
    """
    op, rank = layer.op, len(sizes)
    strides = op.integers("strides") or (1,) * rank
    dilation = op.integers("dilations") or (1,) * rank
    pads = op.integers("pads") or (0,) * (2 * rank)
    if not len(kernel) == len(strides) == len(dilation) == rank or len(pads) != 2 * rank:
        raise layer.refuse(f"kernel, strides, dilations and pads do not fit {rank} axes")
    if min(*kernel, *strides, *dilation) < 1 or min(pads) < 0 or max(pads) > MAX_PAD:
        raise layer.refuse("kernel, strides and dilations must be positive, and no pad negative")
    mode = op.text("auto_pad", "NOTSET")
    if mode not in MODES:
        raise layer.refuse(f"auto_pad={mode!a} is not supported")
    up = op.flag("ceil_mode") and mode != "VALID"
    around, beyond = [], []
    for axis, size in enumerate(sizes):
        stride, span = strides[axis], (kernel[axis] - 1) * dilation[axis] + 1
        before, after = (0, 0) if mode == "VALID" else (pads[axis], pads[axis + rank])
        if mode.startswith("SAME"):
            lack = max(0, (-(-size // stride) - 1) * stride + span - size)
            less, more = lack // 2, lack - lack // 2
            before, after = (less, more) if mode == "SAME_UPPER" else (more, less)
        extra = _rounding(size + before + after - span, size + before, stride) if up else 0
        around.append((before, after))
        beyond.append((before, after + extra))
    first = [(0, 0)] if rank == 1 else []
    return Sliding(
        widened(sizes),
        widened(kernel),
        widened(strides),
        widened(dilation),
        (*first, *around),
        (*first, *beyond),
    )


def _rounding(room: int, end: int, stride: int) -> int:
    """What must be added after an axis so that the last, incomplete window counts too."""
    places = -(-room // stride) + 1
    if (places - 1) * stride >= end:
        places -= 1  # a window that would begin in the padding is left out
    return max(0, (places - 1) * stride - room)
