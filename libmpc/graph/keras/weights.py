"""Where a layer's weights are in the file: found by the layer's name, never by position alone."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Protocol

from libmpc.errors import ModelError
from libmpc.graph.keras import hdf5
from libmpc.graph.keras.settings import Settings
from libmpc.graph.nodes import Floats, Shape


class WeightStore(Protocol):
    """Finds the weights of a layer."""

    def read(self, layer: Settings, shapes: Mapping[str, Shape]) -> dict[str, Floats]:
        """The layer's variables: exactly these, in this order, with exactly these shapes."""
        ...


class LegacyStore:
    """``.h5``: a group per layer, named like it, whose ``weight_names`` lead to the arrays.

    Keras 2 writes ``conv2d/kernel:0``, Keras 3 ``sequential/conv2d/kernel``.
    """

    def __init__(self, file: hdf5.Group) -> None:
        self._root = hdf5.child(file, "model_weights")
        if self._root is None:
            raise ModelError("the file has an architecture but no weights; use model.save(...)")

    def read(self, layer: Settings, shapes: Mapping[str, Shape]) -> dict[str, Floats]:
        group = hdf5.child(self._root, layer.name)
        paths = None if group is None else hdf5.names(group, "weight_names")
        if paths is None:
            raise layer.refuse("the file has no weights for it")
        by_name = {re.sub(r":\d+$", "", path.rsplit("/", 1)[-1]): path for path in paths}
        if len(by_name) != len(paths) or set(by_name) != set(shapes):
            raise _wrong_variables(layer, shapes, paths)
        return {
            name: _read(layer, name, hdf5.child(group, by_name[name]), shape)
            for name, shape in shapes.items()
        }


class ContainerStore:
    """``.keras``: ``layers/<class>_<n>/vars/<i>``, where the ``vars`` have the layer's name.

    The n-th layer of a class has the number n (none for the first). Older versions of Keras 3
    leave the layer's name out, and the number decides, as it does in Keras itself.
    """

    def __init__(self, file: hdf5.Group, layers: Iterable[Settings]) -> None:
        root = hdf5.child(file, "layers")
        if root is None:  # TensorFlow 2.12 and 2.13
            root = hdf5.child(file, "_layer_checkpoint_dependencies")
        if root is None:
            raise ModelError("model.weights.h5 has no layers; save the model again")
        self._vars: dict[str, hdf5.Group] = {}
        for member in hdf5.members(root):
            variables = hdf5.child(root, f"{member}/vars")
            name = None if variables is None else hdf5.text(variables, "name", "a layer's name")
            if name is not None and name in self._vars:
                raise ModelError(f"model.weights.h5 has two layers named {name!a}")
            if name is not None:
                self._vars[name] = variables
        if not self._vars:
            numbers: Counter[str] = Counter()
            for layer in layers:
                kind = _snake_case(layer.kind)
                number = numbers[kind]
                numbers[kind] += 1
                group = f"{kind}_{number}" if number else kind
                self._vars[layer.name] = hdf5.child(root, f"{group}/vars")

    def read(self, layer: Settings, shapes: Mapping[str, Shape]) -> dict[str, Floats]:
        group = self._vars.get(layer.name)
        if group is None:
            raise layer.refuse("the file has no weights for it")
        found = hdf5.members(group)
        if set(found) != {str(i) for i in range(len(shapes))}:
            raise _wrong_variables(layer, shapes, found)
        return {
            name: _read(layer, name, hdf5.child(group, str(i)), shape)
            for i, (name, shape) in enumerate(shapes.items())
        }


def _read(layer: Settings, name: str, dataset: hdf5.Group, shape: Shape) -> Floats:
    return hdf5.array(dataset, shape, str(layer.refuse(f"its {name}")))


def _wrong_variables(layer: Settings, shapes: Mapping[str, Shape], found: list[str]) -> ModelError:
    return layer.refuse(
        f"should have {' and '.join(shapes)}, the file has {len(found)} arrays for it: "
        f"{found[:4]!a}"
    )


def _snake_case(name: str) -> str:
    name = re.sub(r"\W+", "", name)
    name = re.sub("(.)([A-Z][a-z]+)", r"\1_\2", name)
    return re.sub("([a-z])([A-Z])", r"\1_\2", name).lower()
