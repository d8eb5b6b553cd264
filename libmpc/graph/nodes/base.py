"""What every node has, and checks that several of them share."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from libmpc.errors import ModelError
from libmpc.graph.plan import MAX_DIM, MAX_RANK, MAX_VALUES

Shape: TypeAlias = tuple[int, ...]
Pair: TypeAlias = tuple[int, int]
Padding: TypeAlias = tuple[int, int, int, int]
Floats: TypeAlias = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Node:
    """One operation: its name, and the names of the nodes whose values it reads.

    Names begin with the layer's name in the user's file, so that messages can name it.
    """

    name: str
    inputs: tuple[str, ...]

    def output_shape(self, *shapes: Shape) -> Shape:
        """The shape that this makes from its inputs'; ``ModelError`` if it cannot."""
        raise NotImplementedError

    def refuse(self, problem: str) -> ModelError:
        """The error that names this layer."""
        return ModelError(f"layer {self.name!r} ({type(self).__name__}): {problem}")


class SameShape(Node):
    """The result has the shape of every input."""

    def output_shape(self, *shapes: Shape) -> Shape:
        if any(shape != shapes[0] for shape in shapes):
            raise self.refuse(f"its inputs have different shapes: {list(shapes)}")
        return shapes[0]


def check_shape(shape: Shape, node: Node) -> None:
    """``ModelError`` where a shape is beyond what a plan may have."""
    if not 1 <= len(shape) <= MAX_RANK or not all(1 <= dim <= MAX_DIM for dim in shape):
        raise node.refuse(
            f"the shape {shape} is not supported: 1 to {MAX_RANK} sizes, up to {MAX_DIM}"
        )
    if math.prod(shape) > MAX_VALUES:
        raise node.refuse(f"the shape {shape} has more than {MAX_VALUES} values")


def slide(
    node: Node,
    shape: Shape,
    window: Pair,
    strides: Pair,
    dilation: Pair = (1, 1),
    padding: Padding = (0, 0, 0, 0),
) -> Pair:
    """How many places a window has, down and across an image.

    Raises:
        ModelError: none, or one of the numbers makes no sense.
    """
    if min((*window, *strides, *dilation)) < 1 or min(padding) < 0:
        raise node.refuse("kernel, strides and dilation must be positive, and no padding negative")
    rows, columns = (
        (shape[axis - 3] + before + after - (window[axis] - 1) * dilation[axis] - 1)
        // strides[axis]
        + 1
        for axis, before, after in ((0, *padding[:2]), (1, *padding[2:]))
    )
    if min(rows, columns) < 1:
        raise node.refuse(f"the window {window} is larger than the image {shape[-3:-1]}")
    return rows, columns


def require_image(node: Node, shape: Shape) -> None:
    """``ModelError`` where a value has not the three axes of an image."""
    if len(shape) < 3:
        raise node.refuse(f"needs an image (height, width, channels), its input has {shape}")
