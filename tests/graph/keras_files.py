"""Keras files made by hand, so that every part of them can be wrong."""

from __future__ import annotations

import io
import json
import zipfile
from pathlib import Path
from typing import Any

import h5py  # type: ignore[import-untyped]
import numpy as np

DATA = Path(__file__).parent / "data"
Config = dict[str, Any]


def layer(kind: str, name: str, **values: object) -> Config:
    return {"class_name": kind, "config": {"name": name, **values}}


def dense(name: str, units: int, **values: object) -> Config:
    return layer("Dense", name, units=units, activation="linear", use_bias=True, **values)


def conv(**changes: object) -> Config:
    values: Config = {"filters": 2, "kernel_size": [3, 3], "activation": "linear"}
    return layer("Conv2D", "conv", **(values | changes))


def sequential(*layers: Config, shape: tuple[int, ...] = (4,)) -> Config:
    first = layer("InputLayer", "input_1", batch_input_shape=[None, *shape])
    return {"class_name": "Sequential", "config": {"name": "net", "layers": [first, *layers]}}


def weights_for(config: Config, shape: tuple[int, ...] = (4,)) -> dict[str, dict[str, Any]]:
    """0, 1, 2, ... / 8 as weights of dense layers in a row."""
    found, inputs = {}, shape[-1]
    for entry in config["config"]["layers"]:
        if entry["class_name"] == "Dense":
            name, units = entry["config"]["name"], entry["config"]["units"]
            kernel = np.arange(inputs * units, dtype="f4").reshape(inputs, units) / 8
            found[name] = {"kernel": kernel, "bias": np.arange(units, dtype="f4")}
            inputs = units
    return found


def write_h5(
    path: Path, config: Config | str, weights: dict[str, dict[str, Any]] | None = None
) -> Path:
    """The layout of Keras 2: byte strings, variables with ``:0``."""
    text = config if isinstance(config, str) else json.dumps(config)
    if weights is None:
        weights = {} if isinstance(config, str) else weights_for(config)
    with h5py.File(path, "w") as file:
        file.attrs["model_config"] = np.bytes_(text.encode())
        file.attrs["keras_version"] = np.bytes_(b"2.4.0")
        root = file.create_group("model_weights")
        root.attrs["layer_names"] = [np.bytes_(name.encode()) for name in weights]
        for name, variables in weights.items():
            group = root.create_group(name)
            paths = [f"{name}/{variable}:0" for variable in variables]
            group.attrs["weight_names"] = [np.bytes_(p.encode()) for p in paths]
            for target, value in zip(paths, variables.values(), strict=True):
                group[target] = value
    return path


def write_keras(
    path: Path,
    config: Config | str,
    variables: dict[str, list[Any]],
    names: dict[str, str] | None = None,
    root: str = "layers",
    more: dict[str, bytes] | None = None,
) -> Path:
    """The layout of Keras 3: groups by class and number; ``names`` where a newer one wrote them."""
    buffer = io.BytesIO()
    with h5py.File(buffer, "w") as file:
        for group, values in variables.items():
            made = file.create_group(f"{root}/{group}/vars")
            if names:
                made.attrs["name"] = names[group]
            for i, value in enumerate(values):
                made[str(i)] = value
    with zipfile.ZipFile(path, "w") as archive:
        text = config if isinstance(config, str) else json.dumps(config)
        archive.writestr("metadata.json", "{}")
        archive.writestr("config.json", text)
        archive.writestr("model.weights.h5", buffer.getvalue())
        for name, data in (more or {}).items():
            archive.writestr(name, data)
    return path
