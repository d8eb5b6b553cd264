"""The order of summation, to the bit: scalar loops that follow the documented rules."""

from __future__ import annotations

import numpy as np

from libmpc.graph.linear import ConvMap, DenseMap, fold, linear_map
from libmpc.graph.nodes import AveragePooling2D, Conv2D, Dense
from tests.graph import naive

RNG = np.random.default_rng(3)


def conv(*shape: int, strides: tuple[int, int] = (1, 1), padding: int = 0) -> Conv2D:
    weights, bias = RNG.normal(size=shape), RNG.normal(size=shape[-1])
    return Conv2D("conv", ("x",), weights, bias, strides, padding=(padding,) * 4)


def dense(*shape: int) -> Dense:
    return Dense("dense", ("x",), RNG.normal(size=shape), RNG.normal(size=shape[-1]))


def test_convolution_then_pooling() -> None:
    node = conv(3, 3, 2, 2, strides=(2, 1))
    got = fold(
        linear_map(node, (20, 20, 2)), AveragePooling2D("p", ("c",), (3, 2), (3, 2)), (9, 18, 2)
    )
    assert isinstance(got, ConvMap)
    assert (got.strides, got.divisor, got.kernel.shape) == ((6, 2), 6, (7, 4, 2, 2))
    for index in np.ndindex(*got.kernel.shape):
        total = 0.0
        for y, x in np.ndindex(3, 2):
            row, column = index[0] - 2 * y, index[1] - x
            if 0 <= row < 3 and 0 <= column < 3:
                total += float(node.kernel[row, column, index[2], index[3]])
        assert got.kernel[index] == total
    assert np.array_equal(got.bias, node.bias)


def test_convolution_then_convolution() -> None:
    first, second = conv(2, 2, 2, 3, strides=(2, 2)), conv(2, 3, 3, 2)
    got = fold(linear_map(first, (12, 12, 2)), second, (6, 6, 3))
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
    for filter_ in range(2):
        total = 0.0
        for y, x, c in np.ndindex(2, 3, 3):
            total += float(first.bias[c]) * float(second.kernel[y, x, c, filter_])
        assert got.bias[filter_] == total + float(second.bias[filter_])


def test_convolution_then_dense() -> None:
    first = conv(3, 2, 2, 3, strides=(2, 1), padding=1)
    made = linear_map(first, (5, 4, 2))
    assert isinstance(made, ConvMap)
    rows, columns, _ = made.output_shape
    second = dense(rows * columns * 3, 2)
    got = fold(made, second, (rows * columns * 3,))
    assert isinstance(got, DenseMap)
    for pixel_y, pixel_x, channel, out in np.ndindex(5, 4, 2, 2):
        total = 0.0
        for y, x, c in np.ndindex(3, 2, 3):
            row, rest = divmod(pixel_y + 1 - y, 2)
            column = pixel_x + 1 - x
            if rest == 0 and 0 <= row < rows and 0 <= column < columns:
                after = float(second.weights[(row * columns + column) * 3 + c, out])
                total += float(first.kernel[y, x, channel, c]) * after
        assert got.weights[(pixel_y * 4 + pixel_x) * 2 + channel, out] == total


def test_dense_then_dense() -> None:
    first, second = dense(3, 4), dense(4, 2)
    got = fold(linear_map(first, (3,)), second, (4,))
    assert isinstance(got, DenseMap)
    for i, j in np.ndindex(3, 2):
        total = 0.0
        for k in range(4):
            total += float(first.weights[i, k]) * float(second.weights[k, j])
        assert got.weights[i, j] == total
    for j in range(2):
        total = 0.0
        for k in range(4):
            total += float(first.bias[k]) * float(second.weights[k, j])
        assert got.bias[j] == total + float(second.bias[j])


def test_a_known_kernel() -> None:
    ones = Conv2D("c", ("x",), np.ones((2, 2, 1, 1)), np.array([0.5]))
    got = fold(
        linear_map(ones, (4, 4, 1)), AveragePooling2D("p", ("c",), (2, 2), (2, 2)), (3, 3, 1)
    )
    assert isinstance(got, ConvMap)
    assert got.kernel[..., 0, 0].tolist() == [[1, 2, 1], [2, 4, 2], [1, 2, 1]]
    assert (got.divisor, got.bias.tolist()) == (4, [0.5])


def test_naive_convolution_by_hand() -> None:
    node = Conv2D("c", ("x",), np.array([1.0, 10.0]).reshape(1, 2, 1, 1), np.zeros(1))
    x = np.array([[1.0, 2.0, 3.0]])[..., None]
    assert naive.conv(x, node)[..., 0].tolist() == [[21.0, 32.0]]
