"""Activations by name, and the layers that are one."""

from __future__ import annotations

from collections.abc import Callable

from libmpc.graph import activations
from libmpc.graph.keras.call import Call, Reader
from libmpc.graph.keras.constants import constant
from libmpc.graph.keras.settings import Json, Settings, as_object, shown
from libmpc.graph.nodes import FinalActivation


def activate(call: Call, x: str, value: Json) -> str:
    """Apply what a layer's ``activation`` says to ``x``.

    Raises:
        ModelError: it is none that is supported.
    """
    if isinstance(value, dict) and value.get("module") == "keras.activations":
        value = value.get("config")
    if isinstance(value, dict):
        kind, module = value.get("class_name"), value.get("module")
        if not isinstance(kind, str) or kind not in _INSIDE or module not in (None, "keras.layers"):
            name = value.get("registered_name") or kind
            raise call.refuse(f"the activation {shown(name)} is not supported; {_ADVICE}")
        values = as_object(value.get("config"), "an activation")
        return _INSIDE[kind](call.part(Settings(call.layer.name, kind, values), x))
    if value is None:
        return x
    if not isinstance(value, str) or value not in _BY_NAME:
        raise call.refuse(f"the activation {shown(value)} is not supported; {_ADVICE}")
    return _BY_NAME[value](call, x)


def _final(kind: FinalActivation) -> Callable[[Call, str], str]:
    return lambda call, x: call.final(x, kind)


def _hard_sigmoid(call: Call, x: str) -> str:
    slope = 1 / 6 if call.keras >= 3 else 0.2
    return activations.hard_sigmoid(call.b, call.name, x, slope, 0.5)


def _soft_shrink(call: Call, x: str) -> str:
    """relu(x - 1/2) - relu(-x - 1/2)."""
    b, name = call.b, call.name
    above = b.relu(name, b.scale(name, x, 1.0, -0.5))
    below = b.relu(name, b.scale(name, x, -1.0, -0.5))
    return b.sum_of(name, [above, below], [1, -1])


_BY_NAME: dict[str, Callable[[Call, str], str]] = {
    "linear": lambda call, x: x,
    "relu": lambda call, x: call.b.relu(call.name, x),
    "relu6": lambda call, x: activations.clip(call.b, call.name, x, 0.0, 6.0),
    "leaky_relu": lambda call, x: activations.leaky_relu(call.b, call.name, x, 0.2),
    "hard_sigmoid": _hard_sigmoid,
    "hard_silu": lambda call, x: activations.hard_swish(call.b, call.name, x),
    "hard_swish": lambda call, x: activations.hard_swish(call.b, call.name, x),
    "hard_tanh": lambda call, x: activations.clip(call.b, call.name, x, -1.0, 1.0),
    "soft_shrink": _soft_shrink,
    "softmax": _final("softmax"),
    "log_softmax": _final("log_softmax"),
    "sigmoid": _final("sigmoid"),
}
_ADVICE = (
    f"supported are {', '.join(sorted(_BY_NAME))} (softmax, log_softmax and sigmoid as the model's "
    "end only); train with relu, or hard_swish in place of swish, silu or gelu"
)


def _activation(call: Call) -> str:
    return activate(call, call.x, call.layer.values.get("activation"))


def _relu(call: Call) -> str:
    """x above the threshold, cut at the maximum; below it the slope times what is missing."""
    b, name, x, layer = call.b, call.name, call.x, call.layer
    most = layer.number_or_none("max_value")
    slope = layer.number_or_none("negative_slope") or 0.0
    threshold = layer.number_or_none("threshold") or 0.0
    if min(slope, threshold, 0.0 if most is None else most) < 0:
        raise call.refuse("max_value, negative_slope and threshold must not be negative")
    if threshold:
        # relu(x - t) + t·[x > t]
        over = b.scale(name, x, 1.0, -threshold)
        step = b.scale(name, b.relu(name, b.sign(name, over)), threshold)
        result = b.sum_of(name, [b.relu(name, over), step])
        if most is not None:
            result = activations.clip(b, name, result, 0.0, most)
    elif most is None and not slope:
        return b.relu(name, x)
    else:
        result = activations.clip(b, name, x, 0.0, most)
    if not slope:
        return result
    under = b.relu(name, b.scale(name, x, -1.0, threshold))
    return b.sum_of(name, [result, b.scale(name, under, -slope)])


def _leaky_relu(call: Call) -> str:
    key = "alpha" if "alpha" in call.layer.values else "negative_slope"
    slope = constant(call.layer, key, call.layer.values.get(key, 0.3))
    if slope.size != 1:
        raise call.refuse(f"{key} has {slope.size} values; use PReLU for several slopes")
    return activations.leaky_relu(call.b, call.name, call.x, float(slope.item()))


def _prelu(call: Call) -> str:
    shape = list(call.shape)
    if call.layer.values.get("shared_axes") is not None:
        for axis in call.layer.axes("shared_axes", None, len(shape)):
            shape[axis] = 1
    alpha = call.weights({"alpha": tuple(shape)})["alpha"]
    return activations.leaky_relu(call.b, call.name, call.x, alpha)


def _softmax(call: Call) -> str:
    rank = len(call.shape)
    axes = call.layer.axes("axis", -1, rank)
    if len(axes) != 1:
        raise call.refuse("softmax over several axes is not supported; put a Flatten before it")
    return call.final(call.x, "softmax", axes[0] - rank)


_INSIDE: dict[str, Reader] = {"ReLU": _relu, "LeakyReLU": _leaky_relu, "Softmax": _softmax}
READERS: dict[str, Reader] = {**_INSIDE, "Activation": _activation, "PReLU": _prelu}
