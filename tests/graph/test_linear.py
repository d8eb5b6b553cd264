"""The order of summation, to the bit: scalar loops that follow the documented rules."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from libmpc.graph import floats
from libmpc.graph.linear import fold
from libmpc.graph.maps import ConvMap, DenseMap, linear_map
from libmpc.graph.nodes import AveragePooling2D, Conv2D, Dense
from libmpc.graph.plan import ConvStep, Window
from libmpc.graph.sums import unpool, widen, widened
from tests.graph import naive

RNG = np.random.default_rng(3)


def conv(*shape: int, strides: tuple[int, int] = (1, 1), padding: int = 0) -> Conv2D:
    weights, bias = RNG.normal(size=shape), RNG.normal(size=shape[-1])
    return Conv2D("conv", ("x",), weights, bias, strides, padding=(padding,) * 4)


def dense(*shape: int) -> Dense:
    return Dense("dense", ("x",), RNG.normal(size=shape), RNG.normal(size=shape[-1]))


def test_convolution_then_pooling() -> None:
    node = conv(3, 3, 2, 2, strides=(2, 1), padding=1)
    pool = AveragePooling2D("p", ("c",), (3, 2), (3, 2))
    first = linear_map(node, (20, 20, 2), 5)
    assert isinstance(first, ConvMap)
    got = fold(first, pool, first.output_shape)
    assert isinstance(got, ConvMap)
    assert np.array_equal(got.kernel, node.kernel)
    assert np.array_equal(got.bias, node.bias)
    assert (got.input_shape, got.strides, got.padding) == ((18, 21, 2), (6, 2), (0, 0, 0, 0))
    assert got.divisor == 5 * 6
    assert got.names == ("conv", "p")
    assert got.output_shape == pool.output_shape(first.output_shape)
    [(name, window)] = got.sums
    assert (name, window.kernel, window.strides, window.dilation) == ("p", (3, 2), (1, 1), (2, 1))
    assert (window.height, window.width, window.channels) == (20, 20, 2)
    assert window.padding == (1, 1, 1, 1)


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


def test_a_matrix_on_sums_becomes_one_on_pixels() -> None:
    first, pool = conv(2, 2, 2, 2, padding=1), AveragePooling2D("p", ("c",), (2, 2), (1, 1))
    made = linear_map(first, (4, 3, 2))
    sums = fold(made, pool, (5, 4, 2))
    assert isinstance(sums, ConvMap)
    assert sums.input_shape == (5, 4, 2)
    second = dense(4 * 3 * 2, 3)
    on_sums = fold(dataclasses.replace(sums, sums=()), second, (24,))
    got = fold(sums, second, (24,))
    assert isinstance(on_sums, DenseMap) and isinstance(got, DenseMap)
    assert (len(on_sums.weights), len(got.weights), got.sums) == (40, 24, ())
    assert np.array_equal(got.bias, on_sums.bias)
    assert got.divisor == on_sums.divisor == 4
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


def test_naive_convolution_by_hand() -> None:
    node = Conv2D("c", ("x",), np.array([1.0, 10.0]).reshape(1, 2, 1, 1), np.zeros(1))
    x = np.array([[1.0, 2.0, 3.0]])[..., None]
    assert naive.conv(x, node)[..., 0].tolist() == [[21.0, 32.0]]


def test_a_known_wide_kernel() -> None:
    pool = Window(height=4, width=4, channels=1, kernel=(2, 2))
    step = ConvStep(
        source=0, window=Window(height=3, width=3, channels=1, kernel=(2, 2)), filters=1
    )
    wide = widen(pool, step, np.ones((4, 1)))
    assert wide.reshape(3, 3).tolist() == [[1, 2, 1], [2, 4, 2], [1, 2, 1]]


@pytest.mark.parametrize("dilation", [(1, 1), (1, 3), (2, 1)])
@pytest.mark.parametrize("strides", [(1, 1), (2, 1), (1, 3)])
def test_a_wide_kernel_does_what_sums_and_convolution_do(
    dilation: tuple[int, int], strides: tuple[int, int]
) -> None:
    pool = Window(
        height=9,
        width=8,
        channels=2,
        kernel=(2, 3),
        strides=strides,
        dilation=dilation,
        padding=(1, 0, 2, 3),
    )
    height, width = pool.output_size
    conv_window = Window(
        height=height,
        width=width,
        channels=2,
        kernel=(2, 2),
        strides=(1, 2),
        dilation=(dilation[1], dilation[0]),
    )
    step = ConvStep(source=0, window=conv_window, filters=3)
    matrix, x = (RNG.integers(-9, 9, shape).astype(float) for shape in ((8, 3), (2, 144)))
    whole = widened(pool, conv_window)
    assert whole.output_size == conv_window.output_size
    assert whole.padding == pool.padding
    wider = step.model_copy(update={"window": whole})
    got = floats.multiply(wider, widen(pool, step, matrix), x)
    assert np.array_equal(got, floats.multiply(step, matrix, floats.pool(pool, x)))
