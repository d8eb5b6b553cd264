"""A network as data: one frozen node type per layer, joined by the names of what they read.

Images are height, width, channels. Shapes are per sample: the batch dimension is not part of the
network. Weights are float64 arrays (importers widen float32, which is exact); a node's ``repr``
has shapes and never a weight.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from libmpc.errors import ModelError
from libmpc.graph.plan import MAX_DIM, MAX_STEPS, MAX_VALUES

Shape: TypeAlias = tuple[int, ...]
Floats: TypeAlias = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Node:
    """One layer: its name, and the names of the nodes whose values it reads."""

    name: str
    inputs: tuple[str, ...]

    def output_shape(self, shape: Shape) -> Shape:
        """The shape that this layer makes from its input's; ``ModelError`` if it cannot."""
        raise NotImplementedError

    def refuse(self, problem: str) -> ModelError:
        """The error that names this layer."""
        return ModelError(f"layer {self.name!r} ({type(self).__name__}): {problem}")


@dataclass(frozen=True, eq=False)
class Input(Node):
    """The client's input."""

    shape: Shape

    def output_shape(self, shape: Shape) -> Shape:
        return self.shape


@dataclass(frozen=True, eq=False)
class Dense(Node):
    """x·W + b over the last axis; ``weights`` (inputs, outputs), ``bias`` (outputs,)."""

    weights: Floats = field(repr=False)
    bias: Floats = field(repr=False)

    def output_shape(self, shape: Shape) -> Shape:
        if shape[-1] != self.weights.shape[0]:
            raise self.refuse(f"takes {self.weights.shape[0]} values, its input has {shape[-1]}")
        return (*shape[:-1], self.weights.shape[1])


@dataclass(frozen=True, eq=False)
class Conv2D(Node):
    """Cross-correlation; ``kernel`` (height, width, channels, filters), ``bias`` (filters,).

    ``padding`` is zeros at top, bottom, left, right.
    """

    kernel: Floats = field(repr=False)
    bias: Floats = field(repr=False)
    strides: tuple[int, int] = (1, 1)
    dilation: tuple[int, int] = (1, 1)
    padding: tuple[int, int, int, int] = (0, 0, 0, 0)

    def output_shape(self, shape: Shape) -> Shape:
        _require_image(self, shape)
        if shape[2] != self.kernel.shape[2]:
            raise self.refuse(
                f"takes {self.kernel.shape[2]} channels, its input has {shape[2]}; images must "
                "have their channels last"
            )
        window = (self.kernel.shape[0], self.kernel.shape[1])
        sizes = slide(shape[:2], window, self.strides, self.dilation, self.padding)
        if min(sizes) < 1:
            raise self.refuse(f"the kernel {window} is larger than the image {shape[:2]}")
        return (*sizes, self.kernel.shape[3])


@dataclass(frozen=True, eq=False)
class AveragePooling2D(Node):
    """The mean of every window, channel by channel; windows lie inside the image."""

    pool: tuple[int, int]
    strides: tuple[int, int]

    def output_shape(self, shape: Shape) -> Shape:
        _require_image(self, shape)
        sizes = slide(shape[:2], self.pool, self.strides)
        if min(sizes) < 1:
            raise self.refuse(f"the window {self.pool} is larger than the image {shape[:2]}")
        return (*sizes, shape[2])


@dataclass(frozen=True, eq=False)
class Relu(Node):
    """max(x, 0)."""

    def output_shape(self, shape: Shape) -> Shape:
        return shape


@dataclass(frozen=True, eq=False)
class Flatten(Node):
    """All values in one row, in order."""

    def output_shape(self, shape: Shape) -> Shape:
        return (math.prod(shape),)


@dataclass(frozen=True, eq=False)
class Identity(Node):
    """Does nothing outside training: dropout, or a linear activation."""

    def output_shape(self, shape: Shape) -> Shape:
        return shape


@dataclass(frozen=True, eq=False)
class Softmax(Node):
    """Probabilities over the last axis; only as the last layer, where the client computes it."""

    def output_shape(self, shape: Shape) -> Shape:
        return shape


@dataclass(frozen=True, eq=False)
class Graph:
    """A network. Nodes stand in an order in which every node follows what it reads.

    Raises:
        ModelError: two nodes have one name, or a node reads what does not come before it.
    """

    nodes: tuple[Node, ...]

    def __post_init__(self) -> None:
        if len(self.nodes) > MAX_STEPS:
            raise ModelError(f"the model has more than {MAX_STEPS} layers")
        seen: set[str] = set()
        for node in self.nodes:
            if node.name in seen:
                raise node.refuse("another layer has the same name")
            for name in node.inputs:
                if name not in seen:
                    raise node.refuse(f"reads {name!r}, which is not a layer before it")
            seen.add(node.name)

    def chain(self) -> tuple[tuple[Node, Shape], ...]:
        """The layers in order, each with its output shape, where they are one plain chain.

        Raises:
            ModelError: the model branches, or shapes do not fit; names the layer.
        """
        found: list[tuple[Node, Shape]] = []
        for node in self.nodes:
            if isinstance(node, Input) != (not found):
                raise node.refuse("the model must have one input, and it must come first")
            if found and node.inputs != (found[-1][0].name,):
                raise node.refuse(
                    f"reads {list(node.inputs)}; only models whose layers form one chain are "
                    "supported so far, without branches, merges or shared layers"
                )
            shape = node.output_shape(found[-1][1] if found else ())
            check_shape(shape, node)
            found.append((node, shape))
        return tuple(found)


def check_shape(shape: Shape, node: Node) -> None:
    """``ModelError`` where a shape is beyond what a plan may have."""
    if not 1 <= len(shape) <= 8 or not all(1 <= dim <= MAX_DIM for dim in shape):
        raise node.refuse(f"the shape {shape} is not supported: 1 to 8 sizes, up to {MAX_DIM}")
    if math.prod(shape) > MAX_VALUES:
        raise node.refuse(f"the shape {shape} has more than {MAX_VALUES} values")


def slide(
    image: Shape,
    window: tuple[int, int],
    strides: tuple[int, int],
    dilation: tuple[int, int] = (1, 1),
    padding: tuple[int, int, int, int] = (0, 0, 0, 0),
) -> tuple[int, int]:
    """How many places a window has, down and across; less than 1 where it does not fit."""
    rows, columns = (
        (image[axis] + before + after - (window[axis] - 1) * dilation[axis] - 1) // strides[axis]
        + 1
        for axis, before, after in ((0, *padding[:2]), (1, *padding[2:]))
    )
    return rows, columns


def _require_image(node: Node, shape: Shape) -> None:
    if len(shape) != 3:
        raise node.refuse(f"needs an image (height, width, channels), its input has {shape}")
