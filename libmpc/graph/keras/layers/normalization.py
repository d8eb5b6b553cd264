"""Normalisation by constants: a factor and an offset per channel."""

from __future__ import annotations

import numpy as np

from libmpc.graph.keras.call import Call, Reader
from libmpc.graph.keras.constants import constant
from libmpc.graph.nodes import Floats, Shape

_EPSILON = 1e-7  # keras.config.epsilon()'s default
_RENORM = ("moving_stddev", "renorm_mean", "renorm_stddev")


def _batch(call: Call) -> str:
    """(x - mean) / √(variance + ε)·gamma + beta."""
    layer, shape = call.layer, call.shape
    layer.require("virtual_batch_size", None)
    axes = layer.axes("axis", -1, len(shape))
    if len(axes) != 1:
        raise call.refuse("several axes are not supported; use the channels' axis")
    size: Shape = (shape[axes[0]],)
    names = ["gamma"] * layer.flag("scale", True) + ["beta"] * layer.flag("center", True)
    unread = _RENORM if layer.flag("renorm", False) else ()
    found = call.weights(
        dict.fromkeys((*names, "moving_mean", "moving_variance"), size), unread=unread
    )
    variance = found["moving_variance"] + layer.number("epsilon", 1e-3)
    if not (variance > 0).all():
        raise call.refuse("its moving variance is not positive everywhere; train it further")
    factor = found.get("gamma", np.ones(size)) / np.sqrt(variance)
    offset = found.get("beta", np.zeros(size)) - found["moving_mean"] * factor
    spread = tuple(d if axis == axes[0] else 1 for axis, d in enumerate(shape))
    return call.b.scale(call.name, call.x, factor.reshape(spread), offset.reshape(spread))


def _constant(call: Call) -> str:
    """(x - mean) / √variance, or the reverse, x·√variance + mean."""
    layer, shape = call.layer, call.shape
    axes: tuple[int, ...] = ()
    if layer.values.get("axis", -1) is not None:
        axes = layer.axes("axis", -1, len(shape))
    kept = tuple(shape[axis] for axis in sorted(axes))
    spread = tuple(d if axis in axes else 1 for axis, d in enumerate(shape))
    if layer.values.get("mean") is None:
        found = call.weights({"mean": kept, "variance": kept}, unread=("count",))
        mean, variance = found["mean"], found["variance"]
    else:
        mean, variance = (constant(layer, k, layer.values.get(k)) for k in ("mean", "variance"))
    mean, variance = _fitted(call, mean, spread), _fitted(call, variance, spread)
    if not (variance >= 0).all():
        raise call.refuse("its variance is negative; call adapt() with data, and save again")
    deviation = np.maximum(np.sqrt(variance), _EPSILON)
    if layer.flag("invert", False):
        return call.b.scale(call.name, call.x, deviation, mean)
    return call.b.scale(call.name, call.x, 1.0 / deviation, -mean / deviation)


def _fitted(call: Call, values: Floats, spread: Shape) -> Floats:
    try:
        if values.size == np.prod(spread, dtype=object):
            return values.reshape(spread)
        fitted: Floats = np.broadcast_to(values, spread)
    except ValueError:
        raise call.refuse(f"its mean and variance do not fit its input of {call.shape}") from None
    return fitted


def _rescaling(call: Call) -> str:
    layer = call.layer
    factor = constant(layer, "scale", layer.values.get("scale", 1.0))
    offset = constant(layer, "offset", layer.values.get("offset", 0.0))
    return call.b.scale(call.name, call.x, factor, offset)


READERS: dict[str, Reader] = {
    "BatchNormalization": _batch,
    "Normalization": _constant,
    "Rescaling": _rescaling,
}
