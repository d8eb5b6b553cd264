"""How a linear map and the linear node that reads it become one map.

The order of every sum is part of the specification: another implementation that follows it gets
the same bits. Products are added one after the other in the order stated, from zero, never by a
BLAS, and never with a fused multiply-add.
"""

from __future__ import annotations

import math
from typing import TypeAlias

from libmpc.graph.lowering import fold_conv, fold_dense
from libmpc.graph.lowering.fold_scale import pointwise, scaled, start
from libmpc.graph.lowering.folded import Fold, fold_of
from libmpc.graph.lowering.maps import ConvMap, DenseMap, LinearMap, ScaleMap
from libmpc.graph.nodes import Conv, Dense, Scale, Shape, Sum, SumPool

Weighted: TypeAlias = Dense | Conv | Scale
Summing: TypeAlias = SumPool | Sum


def fold(first: LinearMap | None, node: Weighted | Summing, shape: Shape) -> Fold | None:
    """The one map that does ``first`` and then ``node``, without its bias.

    Args:
        first: what to begin with; ``None`` for a plain value.
        node: what reads its result.
        shape: in which it sees it.

    Returns:
        ``None`` where there is no such map of a sensible size.
    """
    if first is None or isinstance(first, ScaleMap):
        if isinstance(node, (SumPool, Sum)):
            return None  # sums and moves go before factors; see ``moving``
        if first is not None:
            return scaled(first, node, shape)
        one = start(node, shape)
        return Fold(one.cost, lambda: one)
    if isinstance(node, Sum):
        pool = _as_pool(node, shape)
        return None if pool is None else fold(first, pool, shape)
    if isinstance(first, ConvMap):
        return _after_conv(first, node, shape)
    return _after_dense(first, node, shape)


def _after_conv(first: ConvMap, node: Weighted | SumPool, shape: Shape) -> Fold | None:
    if isinstance(node, Scale):
        return fold_conv.then_scale(first, node, shape)
    images = shape[-3:] == first.after and math.prod(shape[:-3]) == first.images
    if isinstance(node, Dense):
        if images:
            return fold_conv.then_conv(first, pointwise(node))
        flat = math.prod(shape[:-1]) == first.images == 1
        return fold_conv.then_dense(first, node) if flat else None
    if not images:
        return None
    if isinstance(node, SumPool):
        return fold_conv.then_pool(first, node)
    return fold_conv.then_conv(first, node) or _by_matrix(first, node, shape)


def _by_matrix(first: ConvMap, node: Conv, shape: Shape) -> Fold | None:
    """A padded convolution's zeros are zeros of the first one's result: no single one has them."""
    matrix = fold_conv.to_matrix(first)
    if matrix is None:
        return None
    inputs = math.prod(first.image)
    if first.sums:
        inputs = min(inputs, first.sums[0][1].input_size)
    weights = inputs * math.prod(node.output_shape(shape))

    def build() -> LinearMap:
        rows = matrix.build()
        assert isinstance(rows, DenseMap)
        made = fold_dense.then_window(rows, node, shape[-3:])
        assert made is not None
        return made.build()

    return fold_of(weights, weights, build)


def _after_dense(first: DenseMap, node: Weighted | SumPool, shape: Shape) -> Fold | None:
    if isinstance(node, Scale):
        return fold_dense.then_scale(first, node, shape)
    if isinstance(node, Dense) and math.prod(shape[:-1]) == first.rows:
        return fold_dense.then_dense(first, node)
    if isinstance(node, Dense) and math.prod(shape[:-1]) > 1:
        # the same on every row of the result is a convolution over the rows
        node, shape = pointwise(node), (math.prod(shape[:-1]), 1, shape[-1])
    whole = fold_dense.one_row(first)
    if whole is None or first.rows == 1:
        return _on_one_row(first, node, shape)
    inputs = first.rows * len(first.weights)
    weights = inputs * math.prod(node.output_shape(shape))

    def build() -> LinearMap:
        one = whole.build()
        assert isinstance(one, DenseMap)
        made = _on_one_row(one, node, shape)
        assert made is not None
        return made.build()

    return fold_of(weights, weights, build) if isinstance(node, Dense) or len(shape) == 3 else None


def _on_one_row(first: DenseMap, node: Dense | Conv | SumPool, shape: Shape) -> Fold | None:
    if first.rows > 1:
        return None
    if isinstance(node, Dense):
        return fold_dense.then_dense(first, node)
    return fold_dense.then_window(first, node, shape)


def _as_pool(node: Sum, shape: Shape) -> SumPool | None:
    """Sums over rows, columns or both of one image, as a pooling with one place."""
    if len(shape) != 3 or 2 in node.axes:
        return None
    kernel = (shape[0] if 0 in node.axes else 1, shape[1] if 1 in node.axes else 1)
    return SumPool(node.name, node.inputs, kernel, (1, 1))
