"""Functions in the place of layers, ``x + y`` or ``keras.ops.relu(x)``, as files have them.

Keras 3 stores them like layers, with a class per function; Keras 2 as ``TFOpLambda`` with the
function's name. Only names are looked up here, nothing is executed.
"""

from __future__ import annotations

import numpy as np

from libmpc.graph import activations
from libmpc.graph.builder import GraphBuilder
from libmpc.graph.keras.activations import activate
from libmpc.graph.keras.call import Call, Reader, Value
from libmpc.graph.keras.constants import constant
from libmpc.graph.keras.layers.merging import TwoToOne, add, fold
from libmpc.graph.keras.settings import shown
from libmpc.graph.nodes import Floats


def find(call: Call) -> Reader | None:
    """The reader of a call that is a function's; ``None`` where it is a layer's.

    Raises:
        ModelError: a function that is not supported.
    """
    kind = call.layer.kind
    if kind in ("TFOpLambda", "SlicingOpLambda"):
        function = call.layer.values.get("function")
        if isinstance(function, str) and function in _TENSORFLOW:
            return _TENSORFLOW[function]
        raise call.refuse(
            f"the function {shown(function)} is not supported; say the same with Keras' layers"
        )
    if kind in _ALSO_LAYERS and all(isinstance(a, Value) for a in call.positional):
        return None
    return _FUNCTIONS.get(kind)


def _operands(call: Call) -> list[str | Floats]:
    """The two arguments of an operator: values, or constants."""
    given = [*call.positional, *(a for key, a in call.named.items() if key != "name")]
    if len(given) != 2:
        raise call.refuse(f"is called with {len(given)} arguments, not two")
    return [
        a.name if isinstance(a, Value) else constant(call.layer, "a constant", a.value)
        for a in given
    ]


def _linear(sign: int) -> Reader:
    def read(call: Call) -> str:
        x, y = _operands(call)
        if isinstance(x, str) and isinstance(y, str):
            return add(call, [x, y], [1, sign])
        if isinstance(x, str):
            return _scale(call, x, 1.0, sign * np.asarray(y))
        return _scale(call, str(y), float(sign), np.asarray(x))

    return read


def _product(call: Call) -> str:
    x, y = _operands(call)
    if isinstance(x, str) and isinstance(y, str):
        return fold(GraphBuilder.multiply, call, [x, y])
    value, factor = (x, y) if isinstance(x, str) else (y, x)
    return _scale(call, str(value), np.asarray(factor), 0.0)


def _quotient(call: Call) -> str:
    x, y = _operands(call)
    if not isinstance(x, str) or isinstance(y, str) or not np.all(y):
        raise call.refuse("only division by constants other than 0 is supported")
    return _scale(call, x, 1.0 / np.asarray(y), 0.0)


def _scale(call: Call, x: str, factor: object, offset: object) -> str:
    """x·factor + offset, where x may have to be repeated to the constant's shape."""
    shapes = (np.shape(np.asarray(c)) for c in (factor, offset))
    try:
        shape = np.broadcast_shapes(call.b.shapes[x], *shapes)
    except ValueError:
        raise call.refuse(f"a constant does not fit its input of {call.b.shapes[x]}") from None
    return call.b.scale(call.name, call.b.expand(call.name, x, shape), factor, offset)


def _compared(operation: TwoToOne, relu_sign: int) -> Reader:
    """The larger or the smaller of two values, or of a value and a constant: c ± relu(±(x - c))."""

    def read(call: Call) -> str:
        x, y = _operands(call)
        if isinstance(x, str) and isinstance(y, str):
            return fold(operation, call, [x, y])
        value, limit = (x, y) if isinstance(x, str) else (y, x)
        limit = np.asarray(limit)
        over = _scale(call, str(value), float(relu_sign), -relu_sign * limit)
        return call.b.scale(call.name, call.b.relu(call.name, over), float(relu_sign), limit)

    return read


def _named(activation: str) -> Reader:
    return lambda call: activate(call, call.x, activation)


def _negative(call: Call) -> str:
    return call.b.sum_of(call.name, [call.x], [-1])


def _absolute(call: Call) -> str:
    return activations.absolute(call.b, call.name, call.x)


def _leaky_relu(call: Call) -> str:
    slope = call.layer.number("negative_slope", 0.2)
    return activations.leaky_relu(call.b, call.name, call.x, slope)


def _clip(call: Call) -> str:
    low, high = (call.layer.number_or_none(key) for key in ("x_min", "x_max"))
    return activations.clip(call.b, call.name, call.x, low, high)


_ALSO_LAYERS = ("Add", "Subtract", "Multiply", "Maximum", "Minimum")
_FUNCTIONS: dict[str, Reader] = {
    "Add": _linear(1),
    "Subtract": _linear(-1),
    "Multiply": _product,
    "Divide": _quotient,
    "TrueDivide": _quotient,
    "Maximum": _compared(GraphBuilder.maximum, 1),
    "Minimum": _compared(GraphBuilder.minimum, -1),
    "Negative": _negative,
    "Absolute": _absolute,
    "Abs": _absolute,
    "Clip": _clip,
    "LeakyRelu": _leaky_relu,
    "Relu": _named("relu"),
    "Relu6": _named("relu6"),
    "HardSigmoid": _named("hard_sigmoid"),
    "HardSilu": _named("hard_silu"),
    "HardTanh": _named("hard_tanh"),
    "Sigmoid": _named("sigmoid"),
}
_TENSORFLOW: dict[str, Reader] = {
    **dict.fromkeys(("math.add", "__operators__.add"), _linear(1)),
    **dict.fromkeys(("math.subtract", "__operators__.sub"), _linear(-1)),
    **dict.fromkeys(("math.multiply", "__operators__.mul"), _product),
    **dict.fromkeys(("math.truediv", "math.divide", "__operators__.truediv"), _quotient),
    "math.maximum": _compared(GraphBuilder.maximum, 1),
    "math.minimum": _compared(GraphBuilder.minimum, -1),
    "math.negative": _negative,
    "math.abs": _absolute,
    "nn.relu": _named("relu"),
    "nn.relu6": _named("relu6"),
}
