"""The order of summation, to the bit: scalar loops that follow the documented rules."""

from __future__ import annotations

import dataclasses

import numpy as np

from libmpc.graph.lowering.bias import through
from libmpc.graph.lowering.constant import Constant
from libmpc.graph.lowering.fold import fold
from libmpc.graph.lowering.fold_scale import start
from libmpc.graph.lowering.maps import ConvMap, DenseMap, LinearMap
from libmpc.graph.lowering.unpool import unpool
from libmpc.graph.nodes import Conv, Dense, Floats, Node, Scale, Shape, SumPool
from libmpc.graph.plan import Window

RNG = np.random.default_rng(3)


def conv(*shape: int, strides: tuple[int, int] = (1, 1), padding: int = 0, groups: int = 1) -> Conv:
    weights, bias = RNG.normal(size=shape), RNG.normal(size=shape[-1])
    return Conv("conv", ("x",), weights, bias, strides, (1, 1), (padding,) * 4, groups)


def dense(*shape: int) -> Dense:
    return Dense("dense", ("x",), RNG.normal(size=shape), RNG.normal(size=shape[-1]))


def folded(first: LinearMap, node: Conv | Dense | SumPool | Scale, shape: Shape) -> LinearMap:
    made = fold(first, node, shape)
    assert made is not None
    return made.build()


def after(node: Node, bias: Floats, shape: Shape) -> Floats:
    made = through(node, Constant.of(bias, shape), shape)
    assert made is not None
    return made.values.reshape(-1)


def test_convolution_then_pooling() -> None:
    node = conv(3, 3, 2, 2, strides=(2, 1), padding=1)
    pool = SumPool("p", ("c",), (3, 2), (3, 2))
    first = start(node, (20, 20, 2))
    assert isinstance(first, ConvMap)
    got = folded(first, pool, first.after)
    assert isinstance(got, ConvMap)
    assert np.array_equal(got.kernel, node.kernel)
    assert (got.image, got.strides, got.padding) == ((18, 21, 2), (6, 2), (0, 0, 0, 0))
    assert got.names == ("conv", "p")
    assert got.after == pool.output_shape(first.after)
    [(name, window)] = got.sums
    assert (name, window.kernel, window.strides, window.dilation) == ("p", (3, 2), (1, 1), (2, 1))
    assert (window.height, window.width, window.channels) == (20, 20, 2)
    assert window.padding == (1, 1, 1, 1)
    assert np.array_equal(after(pool, node.bias, first.after), node.bias * 6.0)


def test_convolution_then_convolution() -> None:
    first, second = conv(2, 2, 2, 3, strides=(2, 2)), conv(2, 3, 3, 2)
    got = folded(start(first, (12, 12, 2)), second, (6, 6, 3))
    assert isinstance(got, ConvMap)
    assert got.kernel.shape == (4, 6, 2, 2)
    for index in np.ndindex(*got.kernel.shape):
        total = 0.0
        for y, x, c in np.ndindex(2, 3, 3):
            row, column = index[0] - 2 * y, index[1] - 2 * x
            if 0 <= row < 2 and 0 <= column < 2:
                left = float(first.kernel[row, column, index[2], c])
                total += left * float(second.kernel[y, x, c, index[3]])
        assert got.kernel[index] == total
    bias = after(second, first.bias, (6, 6, 3))
    for filter_ in range(2):
        total = 0.0
        for y, x, c in np.ndindex(2, 3, 3):
            total += float(first.bias[c]) * float(second.kernel[y, x, c, filter_])
        assert bias[filter_] == total + float(second.bias[filter_])


def test_groups_are_folded_alone() -> None:
    first, second = conv(2, 1, 1, 6, groups=3), conv(1, 2, 2, 3, groups=3)
    got = folded(start(first, (5, 4, 3)), second, (4, 4, 6))
    assert isinstance(got, ConvMap)
    assert (got.groups, got.kernel.shape) == (3, (2, 2, 1, 3))
    for row, column, filter_ in np.ndindex(2, 2, 3):
        total = 0.0
        for c in range(2):  # the first one's filters of this group
            left = float(first.kernel[row, 0, 0, 2 * filter_ + c])
            total += left * float(second.kernel[0, column, c, filter_])
        assert got.kernel[row, column, 0, filter_] == total


def test_bias_by_pixel_where_zeros_are_padded() -> None:
    first, second = conv(1, 1, 2, 3), conv(2, 2, 3, 2, padding=1)
    bias = after(second, first.bias, (2, 3, 3)).reshape(3, 4, 2)
    for row, column, filter_ in np.ndindex(3, 4, 2):
        total = 0.0
        for y, x, c in np.ndindex(2, 2, 3):
            if 0 <= row - 1 + y < 2 and 0 <= column - 1 + x < 3:
                total += float(first.bias[c]) * float(second.kernel[y, x, c, filter_])
        assert bias[row, column, filter_] == total + float(second.bias[filter_])


def test_convolution_then_dense() -> None:
    first = conv(3, 2, 2, 3, strides=(2, 1), padding=1)
    made = start(first, (5, 4, 2))
    assert isinstance(made, ConvMap)
    rows, columns, _ = made.after
    second = dense(rows * columns * 3, 2)
    got = folded(made, second, (rows * columns * 3,))
    assert isinstance(got, DenseMap)
    for pixel_y, pixel_x, channel, out in np.ndindex(5, 4, 2, 2):
        total = 0.0
        for y, x, c in np.ndindex(3, 2, 3):
            row, rest = divmod(pixel_y + 1 - y, 2)
            column = pixel_x + 1 - x
            if rest == 0 and 0 <= row < rows and 0 <= column < columns:
                weight = float(second.weights[(row * columns + column) * 3 + c, out])
                total += float(first.kernel[y, x, channel, c]) * weight
        assert got.weights[(pixel_y * 4 + pixel_x) * 2 + channel, out] == total


def test_dense_then_dense() -> None:
    first, second = dense(3, 4), dense(4, 2)
    got = folded(start(first, (3,)), second, (4,))
    assert isinstance(got, DenseMap)
    for i, j in np.ndindex(3, 2):
        total = 0.0
        for k in range(4):
            total += float(first.weights[i, k]) * float(second.weights[k, j])
        assert got.weights[i, j] == total
    bias = after(second, first.bias, (4,))
    for j in range(2):
        total = 0.0
        for k in range(4):
            total += float(first.bias[k]) * float(second.weights[k, j])
        assert bias[j] == total + float(second.bias[j])


def test_factors_multiply() -> None:
    node, factor = conv(2, 2, 1, 6, groups=2), RNG.normal(size=6)
    scale = Scale("s", ("x",), factor, np.zeros(1))
    got = folded(start(node, (4, 4, 2)), scale, (3, 3, 6))
    assert isinstance(got, ConvMap) and np.array_equal(got.kernel, node.kernel * factor)
    before = Scale("s", ("x",), factor[:2], np.zeros(1))
    got = folded(start(before, (4, 4, 2)), node, (4, 4, 2))
    assert isinstance(got, ConvMap)
    for index in np.ndindex(*node.kernel.shape):
        assert got.kernel[index] == float(factor[index[3] // 3]) * float(node.kernel[index])


def test_a_matrix_on_sums_becomes_one_on_pixels() -> None:
    first, pool = conv(2, 2, 2, 2, padding=1), SumPool("p", ("c",), (2, 2), (1, 1))
    sums = folded(start(first, (4, 3, 2)), pool, (5, 4, 2))
    assert isinstance(sums, ConvMap)
    assert sums.image == (5, 4, 2)
    second = dense(4 * 3 * 2, 3)
    on_sums = folded(dataclasses.replace(sums, sums=()), second, (24,))
    got = folded(sums, second, (24,))
    assert isinstance(on_sums, DenseMap) and isinstance(got, DenseMap)
    assert (len(on_sums.weights), len(got.weights), got.sums) == (40, 24, ())
    for row, column, channel, out in np.ndindex(4, 3, 2, 3):
        total = 0.0
        for y, x in np.ndindex(2, 2):  # the sum at (row + 1 - y, column + 1 - x) has this pixel
            at = ((row + 1 - y) * 4 + column + 1 - x) * 2 + channel
            if 0 <= row + 1 - y < 5 and 0 <= column + 1 - x < 4:
                total += float(on_sums.weights[at, out])
        assert got.weights[(row * 3 + column) * 2 + channel, out] == total


def test_sums_are_taken_in_from_the_last_to_the_first() -> None:
    whole = Window(height=1, width=3, channels=1, kernel=(1, 2), padding=(0, 0, 0, 2))
    apart = Window(height=1, width=4, channels=1, kernel=(1, 2), dilation=(1, 2))
    # a sum of 0 and 2, and one of 1 and 3; then pairs of pixels, the last ones being padding
    matrix = unpool(apart, np.array([[1.0], [10.0]]))
    assert matrix.ravel().tolist() == [1, 10, 1, 10]
    assert unpool(whole, matrix).ravel().tolist() == [1, 11, 11]
