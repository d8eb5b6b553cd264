"""Fully connected layers."""

from __future__ import annotations

from libmpc.graph.keras.activations import activate
from libmpc.graph.keras.call import Call, Reader
from libmpc.graph.nodes import Shape


def _dense(call: Call) -> str:
    layer = call.layer
    layer.require("quantization_config", None)
    units = layer.integer("units")
    shapes: dict[str, Shape] = {"kernel": (call.shape[-1], units)}
    if layer.flag("use_bias", True):
        shapes["bias"] = (units,)
    found = call.weights(shapes)
    result = call.b.dense(call.name, call.x, found["kernel"], found.get("bias"))
    return activate(call, result, layer.values.get("activation"))


READERS: dict[str, Reader] = {"Dense": _dense}
