"""Arrays that stand in a configuration: numbers, lists of numbers, and Keras' form of arrays."""

from __future__ import annotations

import numpy as np

from libmpc.graph.keras.settings import Json, Settings, shown
from libmpc.graph.nodes import Floats


def constant(layer: Settings, key: str, value: Json) -> Floats:
    """A float64 array of any shape.

    Raises:
        ModelError: it is no array of finite numbers.
    """
    if isinstance(value, dict) and value.get("class_name") in ("__numpy__", "__tensor__"):
        config = value.get("config")
        value = config.get("value") if isinstance(config, dict) else None
    elif isinstance(value, dict) and value.get("type") == "ndarray":  # Keras 2
        value = value.get("value")
    try:
        if not _numbers(value, 8):
            raise ValueError
        array = np.asarray(value, np.float64)
        if not np.isfinite(array).all():
            raise ValueError
    except (ValueError, OverflowError):
        raise layer.refuse(f"{key}={shown(value)} is not a number or a list of numbers") from None
    return array


def _numbers(value: Json, depth: int) -> bool:
    if isinstance(value, list):
        return depth > 0 and bool(value) and all(_numbers(v, depth - 1) for v in value)
    return type(value) in (int, float)
