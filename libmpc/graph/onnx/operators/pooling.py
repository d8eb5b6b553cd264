"""Average and max pooling, over windows and over whole images."""

from __future__ import annotations

from collections.abc import Callable
from functools import reduce

import numpy as np

from libmpc.graph.nodes import Floats, Pair, Shape
from libmpc.graph.onnx.layer import Layer
from libmpc.graph.onnx.operators.registry import Inputs, Reader, at
from libmpc.graph.onnx.operators.windows import Sliding, back, columns, flat, image, sliding
from libmpc.graph.onnx.values import Secret, Value

_WINDOW = ("auto_pad", "ceil_mode", "dilations", "kernel_shape", "pads", "strides")


def _window(layer: Layer, sizes: Shape) -> Sliding:
    kernel = layer.op.integers("kernel_shape")
    if kernel is None:
        raise layer.refuse("kernel_shape is missing")
    return sliding(layer, sizes, kernel)


def _pool(layer: Layer, x: Secret, w: Sliding, pool: Callable[..., str]) -> Secret:
    """Over height and width; then over the depth, where there is one."""

    def over(x: Secret, kernel: Shape, strides: Shape, dilation: Shape, pads: list[Pair]) -> Secret:
        pairs = ((v[0], v[1]) for v in (kernel, strides, dilation))
        return layer.made(pool(layer.op.name, x.name, *pairs, flat(pads)), x)

    y = over(x, w.kernel[-2:], w.strides[-2:], w.dilation[-2:], list(w.reach[-2:]))
    if len(w.kernel) == 2:
        return y
    deep = (w.kernel[0], 1), (w.strides[0], 1), (w.dilation[0], 1)
    made = over(columns(layer, y), *deep, [w.reach[0], (0, 0)])
    return layer.reshape(made, (y.shape[0], made.shape[1], *y.shape[2:]))


def _average_pool(layer: Layer, inputs: Inputs) -> list[Value]:
    x, sizes = image(layer, layer.real(at(inputs, 0)))
    w = _window(layer, sizes)
    total = _pool(layer, x, w, layer.b.sum_pool)
    counts = _counts(w, padding=layer.op.flag("count_include_pad"))
    if not counts.all():
        raise layer.refuse("a window lies wholly in the padding, and has no average")
    if (counts == counts.flat[0]).all():
        factor: Floats = 1.0 / counts.ravel()[:1]
    else:
        factor = (1.0 / counts)[..., np.newaxis]
    return [back(layer, layer.scale(total, factor), len(sizes))]


def _counts(w: Sliding, *, padding: bool) -> Floats:
    """How many values each window's sum is divided by: those of the image, maybe the padding's."""
    lines = [_along(w, axis, padding=padding) for axis in range(len(w.size))]
    return np.asarray(reduce(np.multiply.outer, lines))


def _along(w: Sliding, axis: int, *, padding: bool) -> Floats:
    (before, after), size = w.padding[axis], w.size[axis]
    kernel, stride, dilation = w.kernel[axis], w.strides[axis], w.dilation[axis]
    # What rounding up adds beyond the padding never counts.
    line = np.zeros(before + size + max(w.reach[axis][1], after))
    line[before : before + size] = 1
    if padding:
        line[: before + size + after] = 1
    places = (before + size + w.reach[axis][1] - (kernel - 1) * dilation - 1) // stride + 1
    starts = np.arange(places) * stride
    total: Floats = np.zeros(places)
    for offset in range(kernel):
        total += line[starts + offset * dilation]
    return total


def _max_pool(layer: Layer, inputs: Inputs) -> list[Value]:
    if len(layer.op.outputs) > 1:
        raise layer.refuse(
            "its second output, the places of the largest values, is not supported: they would be "
            "integers that depend on the input"
        )
    x, sizes = image(layer, layer.secret(at(inputs, 0)))
    made = _pool(layer, x, _window(layer, sizes), layer.b.max_pool)
    return [back(layer, made, len(sizes))]


def _global_average_pool(layer: Layer, inputs: Inputs) -> list[Value]:
    x = layer.real(at(inputs, 0))
    axes = range(2, len(x.shape))
    if not axes:
        raise layer.refuse(f"its input {x.shape} is not an image (batch, channels, sizes)")
    return [layer.made(layer.b.mean_over(layer.op.name, x.name, axes, keep=True), x)]


def _global_max_pool(layer: Layer, inputs: Inputs) -> list[Value]:
    x, sizes = image(layer, layer.secret(at(inputs, 0)))
    whole = x.shape[1:-1]
    still, none = (1,) * len(whole), ((0, 0),) * len(whole)
    window = Sliding(whole, whole, whole, still, none, none)
    return [back(layer, _pool(layer, x, window, layer.b.max_pool), len(sizes))]


READERS = {
    "AveragePool": Reader(_average_pool, (*_WINDOW, "count_include_pad")),
    "GlobalAveragePool": Reader(_global_average_pool),
    "GlobalMaxPool": Reader(_global_max_pool),
    "MaxPool": Reader(_max_pool, (*_WINDOW, "storage_order")),
}
