"""How two linear maps in a row become one.

The order of every sum is part of the specification: another implementation that follows it gets
the same bits, so products are added one after the other in the order stated, never by a BLAS, and
never with a fused multiply-add. The division by a map's divisor comes last, once, before the
weights are encoded.
"""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Iterator

import numpy as np

from libmpc.errors import ModelError
from libmpc.graph.maps import ConvMap, DenseMap, LinearMap
from libmpc.graph.nodes import AveragePooling2D, Conv2D, Dense, Floats, Shape
from libmpc.graph.plan import Window
from libmpc.graph.sums import unpool

MAX_FOLDED = 1 << 25  # weights of one folded layer: 256 MB in float64


def fold(first: LinearMap, node: Conv2D | Dense | AveragePooling2D, shape: Shape) -> LinearMap:
    """The one map that does ``first`` and then ``node``, which reads ``shape``.

    1. Convolution, then average pooling: sum first. The image that the convolution reads is
       replaced by its sums over windows of the pooling's size, with stride 1, with the
       convolution's strides as dilation, and with its padding, so that zeros are summed as well.
       The kernel, its dilation and the bias stay; there is no padding any more; the strides
       multiply; the divisor is multiplied by the window's size. A window of 1x1 only multiplies
       the strides. (One kernel for both would never need fewer multiplications: for as many
       outputs, k taps with dilation d, stride s and a window of p, along either axis, would
       become (k - 1)·d + 1 + (p - 1)·s taps.)
    2. Convolution, then one without padding (a dense layer on every pixel is one, 1x1): for each
       place of the second kernel in row-major order, then each channel between them in order,
       the first kernel, with its dilation written out as zeros, and shifted by that place times
       its strides times the second's dilation, times the second's row is added. The strides
       multiply. Biases times the second kernel are added up in the same order; its own bias comes
       last.
    3. Convolution, then dense on all pixels: for each place of the kernel in row-major order,
       then each channel between, products are added to the matrix at the pixels that this place
       reads. Biases: in the order of the values between; the second's own comes last.
    4. Dense, then dense: products are added in the order of the values between them, in the
       matrix and in the bias; the second's own bias comes last.
    5. Anything else: the first map becomes one matrix; the second, without its bias, is applied
       to each of its rows and to its bias: places of the kernel or window in row-major order,
       then channels. A mean divides the bias at once, the matrix at the end like all.

    The first map's sums stay before it in 2 to 5, with one exception: where 3 or 5 makes it a
    matrix, and there are more sums (of the last window) than values that the first window reads,
    as padding can cause, the matrix reads these values instead. Window by window, from the last to
    the first, and for each place of the window in row-major order, the matrix on the sums is added
    to the rows of the values that this place sees.

    Raises:
        ModelError: the result would have more than 2^25 weights.
    """
    names = (*first.names, node.name)
    if isinstance(node, Dense) and len(shape) == 3:
        node = Conv2D(node.name, node.inputs, node.weights[None, None], node.bias)
    if isinstance(first, ConvMap):
        if isinstance(node, AveragePooling2D):
            return _conv_pool(first, node, names)
        if isinstance(node, Dense):
            return _fewest_inputs(_conv_dense(first, node, names))
        if not any(node.padding):
            return _conv_conv(first, node, names)
        first = _fewest_inputs(_as_matrix(first, names))
    if not isinstance(node, Dense):
        return _apply_to_rows(_one_row(first, names), node, shape, names)
    if first.rows != math.prod(shape[:-1]):
        first = _one_row(first, names)
    return _dense_dense(first, node, names)


def _conv_pool(first: ConvMap, pool: AveragePooling2D, names: tuple[str, ...]) -> ConvMap:
    strides = _times(first.strides, pool.strides)
    if pool.pool == (1, 1):
        return dataclasses.replace(first, names=names, strides=strides)
    height, width, channels = first.input_shape
    window = Window(
        height=height,
        width=width,
        channels=channels,
        kernel=pool.pool,
        dilation=first.strides,
        padding=first.padding,
    )
    return dataclasses.replace(
        first,
        names=names,
        input_shape=(*window.output_size, channels),
        strides=strides,
        padding=(0, 0, 0, 0),
        divisor=first.divisor * math.prod(pool.pool),
        sums=(*first.sums, (pool.name, window)),
    )


def _conv_conv(first: ConvMap, second: Conv2D, names: tuple[str, ...]) -> ConvMap:
    kernel = _spread(first)
    steps = _times(first.strides, second.dilation)
    window = (second.kernel.shape[0], second.kernel.shape[1])
    merged = _room(kernel, steps, window, second.kernel.shape[3], names)
    bias = np.zeros(second.kernel.shape[3])
    for view, place in _shifts(merged, kernel, steps, window):
        for channel, row in enumerate(second.kernel[place]):
            view += kernel[..., channel, None] * row
            bias += first.bias[channel] * row
    return dataclasses.replace(
        first,
        names=names,
        kernel=merged,
        bias=bias + second.bias,
        dilation=(1, 1),
        strides=_times(first.strides, second.strides),
    )


def _conv_dense(first: ConvMap, second: Dense, names: tuple[str, ...]) -> DenseMap:
    height, width, channels = first.input_shape
    rows, columns, filters = first.output_shape
    outputs = second.weights.shape[1]
    _check_size(math.prod(first.input_shape) * outputs, names)
    top, bottom, left, right = first.padding
    padded = np.zeros((height + top + bottom, width + left + right, channels, outputs))
    after = second.weights.reshape(rows, columns, filters, outputs)
    for y, x in np.ndindex(*first.kernel.shape[:2]):
        view = _taken(padded, first, (y, x), (rows, columns))
        for channel in range(filters):
            taps = first.kernel[y, x, :, channel, None]
            view += taps * after[:, :, channel, None, :]
    bias = np.zeros(outputs)
    for index, row in enumerate(second.weights):
        bias += first.bias[index % filters] * row
    weights = padded[top : top + height, left : left + width].reshape(-1, outputs)
    return DenseMap(names, 1, weights, bias + second.bias, first.divisor, first.sums)


def _dense_dense(first: DenseMap, second: Dense, names: tuple[str, ...]) -> DenseMap:
    outputs = second.weights.shape[1]
    _check_size(first.weights.shape[0] * outputs, names)
    weights = np.zeros((first.weights.shape[0], outputs))
    bias = np.zeros(outputs)
    for index, row in enumerate(second.weights):
        weights += first.weights[:, index, None] * row
        bias += first.bias[index] * row
    bias += second.bias
    return DenseMap(names, first.rows, weights, bias, first.divisor, first.sums)


def _apply_to_rows(
    first: DenseMap, node: Conv2D | AveragePooling2D, shape: Shape, names: tuple[str, ...]
) -> DenseMap:
    after = node.output_shape(shape)
    _check_size(first.weights.shape[0] * math.prod(after), names)
    images = np.concatenate([first.weights, first.bias[None]]).reshape(-1, *shape)
    made = np.zeros((len(images), *after))
    divisor = first.divisor
    if isinstance(node, Conv2D):
        top, bottom, left, right = node.padding
        images = np.pad(images, ((0, 0), (top, bottom), (left, right), (0, 0)))
        for place in np.ndindex(*node.kernel.shape[:2]):
            seen = _taken(images.transpose(1, 2, 3, 0), node, place, after[:2])
            for channel, row in enumerate(node.kernel[place]):
                made += seen[:, :, channel].transpose(2, 0, 1)[..., None] * row
        made[-1] += node.bias
    else:
        for place in np.ndindex(*node.pool):
            made += _taken(images.transpose(1, 2, 3, 0), node, place, after[:2]).transpose(
                3, 0, 1, 2
            )
        made[-1] /= float(math.prod(node.pool))
        divisor *= math.prod(node.pool)
    weights = made[:-1].reshape(len(images) - 1, -1)
    return DenseMap(names, 1, weights, made[-1].reshape(-1), divisor, first.sums)


def _as_matrix(conv: ConvMap, names: tuple[str, ...]) -> DenseMap:
    height, width, channels = conv.input_shape
    rows, columns, filters = conv.output_shape
    _check_size(math.prod(conv.input_shape) * math.prod(conv.output_shape), names)
    top, bottom, left, right = conv.padding
    full = np.zeros((height + top + bottom, width + left + right, channels, rows, columns, filters))
    for place, row, column in itertools.product(
        np.ndindex(*conv.kernel.shape[:2]), range(rows), range(columns)
    ):
        y = row * conv.strides[0] + place[0] * conv.dilation[0]
        x = column * conv.strides[1] + place[1] * conv.dilation[1]
        full[y, x, :, row, column] = conv.kernel[place]
    inside = full[top : top + height, left : left + width]
    weights = inside.reshape(math.prod(conv.input_shape), -1)
    bias = np.tile(conv.bias, rows * columns)
    return DenseMap(conv.names, 1, weights, bias, conv.divisor, conv.sums)


def _fewest_inputs(dense: DenseMap) -> DenseMap:
    """The matrix on the sums, or on what they sum where that is less (as padding can make it)."""
    if not dense.sums:
        return dense
    first = dense.sums[0][1]
    if len(dense.weights) <= first.height * first.width * first.channels:
        return dense
    weights = dense.weights
    for _, window in reversed(dense.sums):
        weights = unpool(window, weights)
    return dataclasses.replace(dense, weights=weights, sums=())


def _one_row(dense: DenseMap, names: tuple[str, ...]) -> DenseMap:
    rows, (inputs, outputs) = dense.rows, dense.weights.shape
    if rows == 1:
        return dense
    _check_size(rows * rows * inputs * outputs, names)
    full = np.zeros((rows, inputs, rows, outputs))
    full[np.arange(rows), :, np.arange(rows)] = dense.weights
    weights = full.reshape(rows * inputs, rows * outputs)
    return dataclasses.replace(dense, rows=1, weights=weights, bias=np.tile(dense.bias, rows))


def _taken(
    array: Floats, window: ConvMap | Conv2D | AveragePooling2D, place: Shape, sizes: Shape
) -> Floats:
    """The view of the padded image's pixels that one place of the kernel or window reads."""
    dilation = (1, 1) if isinstance(window, AveragePooling2D) else window.dilation
    rows, columns = (
        slice(at * spread, at * spread + (size - 1) * stride + 1, stride)
        for at, spread, stride, size in zip(place, dilation, window.strides, sizes, strict=True)
    )
    return array[rows, columns]


def _spread(conv: ConvMap) -> Floats:
    """The kernel with its dilation written out as zeros."""
    height, width = conv.kernel.shape[:2]
    down, across = conv.dilation
    if conv.dilation == (1, 1):
        return conv.kernel
    sizes = ((height - 1) * down + 1, (width - 1) * across + 1)
    _check_size(math.prod(sizes) * math.prod(conv.kernel.shape[2:]), conv.names)
    kernel = np.zeros((*sizes, *conv.kernel.shape[2:]))
    kernel[::down, ::across] = conv.kernel
    return kernel


def _room(
    kernel: Floats,
    steps: tuple[int, int],
    window: tuple[int, int],
    filters: int,
    names: tuple[str, ...],
) -> Floats:
    height = kernel.shape[0] + (window[0] - 1) * steps[0]
    width = kernel.shape[1] + (window[1] - 1) * steps[1]
    _check_size(height * width * kernel.shape[2] * filters, names)
    return np.zeros((height, width, kernel.shape[2], filters))


def _shifts(
    target: Floats, kernel: Floats, steps: tuple[int, int], window: tuple[int, int]
) -> Iterator[tuple[Floats, tuple[int, int]]]:
    """Views of ``target`` of the kernel's size, one for each place of the window, row-major."""
    height, width = kernel.shape[:2]
    for y, x in itertools.product(range(window[0]), range(window[1])):
        top, left = y * steps[0], x * steps[1]
        yield target[top : top + height, left : left + width], (y, x)


def _times(a: tuple[int, int], b: tuple[int, int]) -> tuple[int, int]:
    return a[0] * b[0], a[1] * b[1]


def _check_size(weights: int, names: tuple[str, ...]) -> None:
    if weights > MAX_FOLDED:
        raise ModelError(
            f"layers {' + '.join(map(repr, names))} have no ReLU between them and would become "
            f"one linear layer of {weights} weights, more than {MAX_FOLDED}; add a ReLU after one "
            "of them, or make them smaller"
        )
