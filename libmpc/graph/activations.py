"""Activations that are made of ReLUs, products and constants: piecewise-linear functions.

Each is exact as the expression that its docstring gives, in real numbers.
"""

from __future__ import annotations

import numpy as np

from libmpc.graph.builder import GraphBuilder


def clip(b: GraphBuilder, layer: str, x: str, low: float | None, high: float | None) -> str:
    """low + relu(x - low) - relu(x - high); a missing bound drops its term."""
    if low is not None and high is not None and low >= high:
        # numpy, ONNX: the upper bound wins
        return b.scale(layer, x, 0.0, high)
    if low is None and high is None:
        return x
    if low is None:
        assert high is not None
        below = b.relu(layer, b.scale(layer, x, -1.0, high))  # high - relu(high - x)
        return b.scale(layer, below, -1.0, high)
    above = b.relu(layer, b.scale(layer, x, 1.0, -low) if low else x)
    if high is not None:
        over = b.relu(layer, b.scale(layer, x, 1.0, -high) if high else x)
        above = b.sum_of(layer, [above, over], [1, -1])
    return b.scale(layer, above, 1.0, low) if low else above


def leaky_relu(b: GraphBuilder, layer: str, x: str, slope: object) -> str:
    """relu(x) - slope·relu(-x); ``slope`` a number, or an array that repeats into x's shape."""
    negative = b.relu(layer, b.sum_of(layer, [x], [-1]))
    scaled = b.scale(layer, negative, -np.asarray(slope, np.float64))
    return b.sum_of(layer, [b.relu(layer, x), scaled])


def hard_sigmoid(b: GraphBuilder, layer: str, x: str, slope: float, offset: float) -> str:
    """clip(slope·x + offset, 0, 1)."""
    return clip(b, layer, b.scale(layer, x, slope, offset), 0.0, 1.0)


def hard_swish(b: GraphBuilder, layer: str, x: str) -> str:
    """x·clip(x/6 + 1/2, 0, 1)."""
    return b.multiply(layer, x, hard_sigmoid(b, layer, x, 1.0 / 6.0, 0.5))


def absolute(b: GraphBuilder, layer: str, x: str) -> str:
    """relu(x) + relu(-x)."""
    negative = b.relu(layer, b.sum_of(layer, [x], [-1]))
    return b.sum_of(layer, [b.relu(layer, x), negative])
