"""What a linear node makes of the bias before it.

As with the maps, products are added one after the other, from zero: places of a kernel or window
in row-major order, then channels in order. The node's own bias comes last.
"""

from __future__ import annotations

import numpy as np

from libmpc.graph.lowering.constant import Constant, moved, plus
from libmpc.graph.lowering.kernels import per_filter, seen
from libmpc.graph.nodes import Conv, Dense, Floats, Node, Scale, Shape, Sum, SumPool


def through(node: Node, bias: Constant | None, shape: Shape) -> Constant | None:
    """The bias after a linear node that reads values of ``shape``."""
    after = node.output_shape(shape)
    made = None if bias is None else _applied(node, bias.on(shape), after)
    return plus(made, own(node, after))


def own(node: Node, after: Shape) -> Constant | None:
    """A node's own bias; a scale's offset that is one number, 0, is none."""
    if isinstance(node, (Dense, Conv)):
        return Constant.of(node.bias, after)
    if isinstance(node, Scale) and not (node.offset.size == 1 and not node.offset.any()):
        return Constant.of(node.offset, after)
    return None


def _applied(node: Node, bias: Constant, after: Shape) -> Constant:
    if isinstance(node, Scale):
        return Constant(after, bias.values * Constant.of(node.factor, after).values)
    if isinstance(node, Dense):
        values = bias.written(-1)
        total = np.zeros((*values.shape[:-1], node.weights.shape[1]))
        for index, row in enumerate(node.weights):
            total += values[..., index, None] * row
        return Constant(after, total)
    if isinstance(node, Sum):
        return moved(node, bias, after)
    assert isinstance(node, (Conv, SumPool))
    if not any(node.padding) and not bias.varies(-3, -2):
        return Constant(after, _everywhere(node, bias.values, bias.shape[-1]))
    return Constant(after, _by_pixel(node, bias.written(-3, -2, -1), after))


def _everywhere(node: Conv | SumPool, values: Floats, channels: int) -> Floats:
    """The same at all pixels, and so is the result."""
    if isinstance(node, SumPool):
        return values * float(node.kernel[0] * node.kernel[1])
    filters = node.kernel.shape[3]
    values = np.broadcast_to(values, (*values.shape[:-1], channels))
    result = np.zeros((*values.shape[:-1], filters))
    for lead in np.ndindex(*values.shape[:-1]):
        each = per_filter(values[lead], node.groups, filters)
        for place in np.ndindex(*node.kernel.shape[:2]):
            for channel, row in enumerate(node.kernel[place]):
                result[lead] += each[channel] * row
    return result


def _by_pixel(node: Conv | SumPool, values: Floats, after: Shape) -> Floats:
    top, bottom, left, right = node.padding
    lead = values.shape[:-3]
    window = node.kernel.shape[:2] if isinstance(node, Conv) else node.kernel
    result = np.zeros((*lead, *after[-3:]))
    for index in np.ndindex(*lead):
        image = np.pad(values[index], ((top, bottom), (left, right), (0, 0)))
        for place in np.ndindex(*window):
            view = seen(image, place, node.strides, node.dilation, after[-3:-1])
            if isinstance(node, SumPool):
                result[index] += view
            else:
                _add_channels(result[index], view, node, place)
    return result


def _add_channels(result: Floats, view: Floats, node: Conv, place: tuple[int, ...]) -> None:
    _, _, channels, filters = node.kernel.shape
    parts = view.reshape(*view.shape[:2], node.groups, channels)
    for channel, row in enumerate(node.kernel[place]):
        each = np.repeat(parts[..., channel], filters // node.groups, axis=2)
        result += each * row
