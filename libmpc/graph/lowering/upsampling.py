"""Transposed convolutions without the zeros between the pixels."""

from __future__ import annotations

import dataclasses
import math

import numpy as np

from libmpc.graph import nodes
from libmpc.graph.builder import GraphBuilder
from libmpc.graph.lowering.kernels import spread
from libmpc.graph.nodes import Conv, Floats, Graph, Pad, Pair, Shape


def without_stuffing(graph: Graph) -> Graph:
    """The same network, without convolutions of images with zeros between their pixels.

    A convolution with strides 1 of an image that was padded with s - 1 zeros between its rows (or
    columns) reads only every s-th tap of its kernel at any place, which ones depends on the place
    modulo s. So it is a convolution of the image itself, with s times as many filters, one for each
    remainder: tap m of remainder r is the kernel's s·m - r + padding, or 0. Its results then take
    turns. Up to s - 1 results are made before the first that is wanted, as many as make the fewest
    multiplications. It is done where these are fewer than before.
    """
    readers = graph.readers
    by_name = {node.name: node for node in graph.nodes}
    first, *rest = graph.nodes
    builder = GraphBuilder(graph.shapes[first.name], first.name)
    names = {first.name: first.name}
    for node in rest:
        source = by_name[node.inputs[0]]
        if isinstance(node, Conv) and isinstance(source, Pad) and readers[source.name] == 1:
            image = graph.shapes[source.inputs[0]]
            made = _Phases.of(node, source, image)
            if made is not None:
                names[node.name] = made.build(builder, names[source.inputs[0]])
                continue
        inputs = tuple(names[name] for name in node.inputs)
        name = builder.name(node.name)
        names[node.name] = builder.add(dataclasses.replace(node, name=name, inputs=inputs))
    return builder.graph(names[graph.nodes[-1].name])


@dataclasses.dataclass(frozen=True, eq=False)
class _Phases:
    node: Conv
    image: Shape
    after: Shape
    strides: Pair
    kernel: Floats
    starts: Pair
    sides: tuple[int, int, int, int]

    @staticmethod
    def of(node: Conv, pad: Pad, image: Shape) -> _Phases | None:
        between = pad.between[-3:-1]
        elsewhere = (*pad.before[:-3], *pad.after[:-3], pad.before[-1], pad.after[-1])
        others = (*pad.between[:-3], pad.between[-1])
        if not any(between) or any(elsewhere) or any(others) or pad.value:
            return None
        if node.strides != (1, 1):
            return None
        strides = (between[0] + 1, between[1] + 1)
        after = node.output_shape(pad.output_shape(image))
        kernel = spread(node.kernel, node.dilation)
        starts: list[int] = []
        sides: list[int] = []
        for axis in (0, 1):
            before = pad.before[axis - 3] + node.padding[2 * axis]
            stride, size = strides[axis], after[axis - 3]
            work = [_work(s, kernel.shape[axis], stride, size, before) for s in range(stride)]
            start = work.index(min(work))
            kernel = _phases(kernel, axis, stride, before + start)
            count = -(-(size + start) // stride)
            top = (before + start) // stride
            starts.append(start)
            sides += [top, max(0, count - image[axis - 3] - top + kernel.shape[axis] - 1)]
        padding = (sides[0], sides[1], sides[2], sides[3])
        places = nodes.slide(node, image, kernel.shape[:2], (1, 1), (1, 1), padding)
        if math.prod(places) * kernel.size >= math.prod(after[-3:-1]) * node.kernel.size:
            return None
        return _Phases(node, image, after, strides, kernel, (starts[0], starts[1]), padding)

    def build(self, builder: GraphBuilder, source: str) -> str:
        node, (down, across) = self.node, self.strides
        height, width, channels, filters = self.kernel.shape[:4]
        groups, each = node.groups, filters // node.groups
        # filters of a group, for each remainder, one after the other
        kernel = self.kernel.reshape(height, width, channels, groups, each, down, across)
        kernel = kernel.transpose(0, 1, 2, 3, 5, 6, 4).reshape(height, width, channels, -1)
        bias = np.repeat(node.bias.reshape(groups, 1, each), down * across, axis=1).reshape(-1)
        made = builder.conv(node.name, source, kernel, bias, padding=self.sides, groups=groups)
        *lead, rows, columns, _ = builder.shapes[made]
        rank = len(lead)
        split = (*lead, rows, columns, groups, down, across, each)
        made = builder.reshape(node.name, made, split)
        order = (*range(rank), *(rank + axis for axis in (0, 3, 1, 4, 2, 5)))
        made = builder.transpose(node.name, made, order)
        whole = (*lead, rows * down, columns * across, filters)
        made = builder.reshape(node.name, made, whole)
        starts = (*(0,) * rank, *self.starts, 0)
        return builder.slice(node.name, made, starts, self.after, (1,) * len(whole))


def _taps(taps: int, stride: int, before: int) -> tuple[int, int]:
    """The first and the last of the image's places that a result reads, from its own."""
    return -(before // stride), (stride + taps - 2 - before) // stride


def _work(start: int, taps: int, stride: int, size: int, before: int) -> int:
    first, last = _taps(taps, stride, before + start)
    return -(-(size + start) // stride) * (last - first + 1)


def _phases(kernel: Floats, axis: int, stride: int, before: int) -> Floats:
    """The kernel's taps along an axis for each remainder, which becomes the last axis."""
    taps = kernel.shape[axis]
    first, last = _taps(taps, stride, before)
    made = np.zeros((last - first + 1, stride, *np.delete(kernel.shape, axis)))
    for tap, rest in np.ndindex(*made.shape[:2]):
        place = stride * (tap + first) - rest + before
        if 0 <= place < taps:
            made[tap, rest] = np.take(kernel, place, axis)
    return np.moveaxis(np.moveaxis(made, 1, -1), 0, axis)
