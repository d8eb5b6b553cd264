"""What follows plain values, or values that were scaled: the first weights of a map."""

from __future__ import annotations

import math

import numpy as np

from libmpc.graph.lowering.constant import Constant
from libmpc.graph.lowering.folded import Fold, fold_of
from libmpc.graph.lowering.kernels import per_filter
from libmpc.graph.lowering.maps import ConvMap, DenseMap, ScaleMap
from libmpc.graph.nodes import Conv, Dense, Floats, Scale, Shape


def start(node: Conv | Dense | Scale, shape: Shape) -> ConvMap | DenseMap | ScaleMap:
    """One node as a map. A dense layer on images is a 1x1 convolution."""
    names = (node.name,)
    if isinstance(node, Scale):
        return ScaleMap(names, shape, Constant.of(node.factor, shape).values)
    if isinstance(node, Dense) and len(shape) < 3:
        return DenseMap(names, math.prod(shape[:-1]), node.weights)
    conv = node if isinstance(node, Conv) else pointwise(node)
    return ConvMap(
        names,
        shape[-3:],
        conv.kernel,
        conv.strides,
        conv.dilation,
        conv.padding,
        conv.groups,
        math.prod(shape[:-3]),
    )


def pointwise(node: Dense) -> Conv:
    """A dense layer on every pixel, as a convolution."""
    return Conv(node.name, node.inputs, node.weights[None, None], node.bias)


def scaled(first: ScaleMap, node: Conv | Dense | Scale, shape: Shape) -> Fold | None:
    """Factors times the next node's: element by element; for a matrix or a kernel row by row, if
    they are the same for all rows or pixels.
    """
    factor = Constant(first.shape, first.factor).on(shape)
    second = start(node, shape)
    names = (*first.names, node.name)
    if isinstance(second, ScaleMap):
        dims = np.broadcast_shapes(factor.values.shape, second.factor.shape)
        product = ScaleMap(names, shape, np.broadcast_to(factor.values * second.factor, dims))
        return Fold(product.cost, lambda: product)
    last = factor.along_last()
    if last is None:
        return None
    if isinstance(second, DenseMap):
        matrix: Floats = second.weights
        return fold_of(
            matrix.size,
            second.cost - matrix.size,
            lambda: DenseMap(names, second.rows, last[:, None] * matrix),
        )
    conv = second
    each = per_filter(last, conv.groups, conv.kernel.shape[3])

    def build() -> ConvMap:
        return ConvMap(
            names,
            conv.image,
            each * conv.kernel,
            conv.strides,
            conv.dilation,
            conv.padding,
            conv.groups,
            conv.images,
        )

    return Fold(conv.cost, build)
