"""Where a layer's weights are in the file: found by the layer's name, never by position alone."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from libmpc.errors import ModelError
from libmpc.graph.keras import hdf5
from libmpc.graph.keras.network import MODELS
from libmpc.graph.keras.settings import Settings
from libmpc.graph.nodes import Floats, Shape
from libmpc.graph.plan import MAX_WEIGHTS

_MAX_SCOPE = 8


@dataclass
class Budget:
    """How many weights may still be read, so that no file unpacks without end."""

    left: int = MAX_WEIGHTS

    def spend(self, count: int) -> None:
        """``ModelError`` where the model has more than a plan may have."""
        self.left -= count
        if self.left < 0:
            raise ModelError(f"the model has more than {MAX_WEIGHTS} weights")


class WeightStore(Protocol):
    """Finds the weights of a model's layers."""

    def read(
        self, layer: Settings, shapes: Mapping[str, Shape], unread: Sequence[str] = ()
    ) -> dict[str, Floats]:
        """The layer's variables: exactly these, in this order, with exactly these shapes.

        ``unread`` are the names of others that follow, which it may have or not.
        """
        ...

    def inside(self, model: Settings, layers: Sequence[Settings]) -> WeightStore:
        """The weights of a model that is used as a layer."""
        ...


class LegacyStore:
    """``.h5``: a group per layer, named like it, whose ``weight_names`` lead to the arrays.

    Keras 2 writes ``conv2d/kernel:0``, Keras 3 ``sequential/conv2d/kernel``.
    """

    def __init__(self, file: hdf5.Group, budget: Budget) -> None:
        self._root = hdf5.child(file, "model_weights")
        self._budget = budget
        if self._root is None:
            raise ModelError("the file has an architecture but no weights; use model.save(...)")

    def read(
        self, layer: Settings, shapes: Mapping[str, Shape], unread: Sequence[str] = ()
    ) -> dict[str, Floats]:
        group, paths = self._group(layer)
        found = {_parts(path)[-1]: path for path in paths}
        if len(found) != len(paths):
            raise _wrong_variables(layer, shapes, paths)
        return _read_named(layer, shapes, unread, group, found, self._budget)

    def inside(self, model: Settings, layers: Sequence[Settings]) -> WeightStore:
        return _LegacyInside(*self._group(model), layers, self._budget)

    def _group(self, layer: Settings) -> tuple[hdf5.Group, list[str]]:
        group = hdf5.child(self._root, layer.name)
        paths = None if group is None else hdf5.names(group, "weight_names")
        if paths is None:
            raise layer.refuse("the file has no weights for it")
        return group, paths


class _LegacyInside:
    """A model in a model: one group has the weights of all its layers, ``.../conv2d/kernel``.

    What comes before a layer's name is the same for all of them, so that the shortest of several
    paths that end alike is its own, ``a/bn`` and not ``a/conv/bn``; but not where there are models
    inside this one.
    """

    def __init__(
        self, group: hdf5.Group, paths: list[str], layers: Sequence[Settings], budget: Budget
    ) -> None:
        self._group, self._budget = group, budget
        self._unclear = any(layer.kind in MODELS for layer in layers)
        self._scopes: dict[str, dict[str, list[str]]] = {}  # by every end of a scope
        for path in paths:
            scope = _parts(path)[:-1]
            for start in range(max(0, len(scope) - _MAX_SCOPE), len(scope)):
                ends = self._scopes.setdefault("/".join(scope[start:]), {})
                ends.setdefault("/".join(scope), []).append(path)

    def read(
        self, layer: Settings, shapes: Mapping[str, Shape], unread: Sequence[str] = ()
    ) -> dict[str, Floats]:
        scopes = self._scopes.get(layer.name)
        if not scopes:
            raise layer.refuse("the file has no weights for it")
        shortest, *others = sorted(scopes, key=lambda scope: scope.count("/"))
        found = {_parts(path)[-1]: path for path in scopes[shortest]}
        if (others and self._unclear) or len(found) != len(scopes[shortest]):
            raise layer.refuse(
                "the file has weights for several layers of this name; give the layers different "
                "names, or save the model as .keras"
            )
        return _read_named(layer, shapes, unread, self._group, found, self._budget)

    def inside(self, model: Settings, layers: Sequence[Settings]) -> WeightStore:
        return self


class ContainerStore:
    """``.keras``: ``layers/<class>_<n>/vars/<i>``, where the ``vars`` have the layer's name.

    The n-th layer of a class has the number n (none for the first). Older versions of Keras 3
    leave the layer's name out, and the number decides, as it does in Keras itself.
    """

    def __init__(self, group: hdf5.Group, layers: Sequence[Settings], budget: Budget) -> None:
        self._budget = budget
        root = hdf5.child(group, "layers")
        if root is None:  # TensorFlow 2.12 and 2.13
            root = hdf5.child(group, "_layer_checkpoint_dependencies")
        if root is None:
            raise ModelError("model.weights.h5 has no layers; save the model again")
        self._groups: dict[str, hdf5.Group] = {}
        for member in hdf5.members(root):
            variables = hdf5.child(root, f"{member}/vars")
            name = None if variables is None else hdf5.text(variables, "name", "a layer's name")
            if name is not None and name in self._groups:
                raise ModelError(f"model.weights.h5 has two layers named {name!a}")
            if name is not None:
                self._groups[name] = hdf5.child(root, member)
        if not self._groups:
            numbers: Counter[str] = Counter()
            for layer in layers:
                kind = _snake_case(layer.kind)
                number = numbers[kind]
                numbers[kind] += 1
                self._groups[layer.name] = hdf5.child(root, f"{kind}_{number}" if number else kind)

    def read(
        self, layer: Settings, shapes: Mapping[str, Shape], unread: Sequence[str] = ()
    ) -> dict[str, Floats]:
        variables = hdf5.child(self._group(layer), "vars")
        found = hdf5.members(variables)
        every = [*shapes, *unread]
        if {str(i) for i in range(len(shapes))} - set(found) or len(found) > len(every):
            raise _wrong_variables(layer, shapes, found)
        by_name = {name: str(i) for i, name in enumerate(every) if str(i) in found}
        return _read_named(layer, shapes, unread, variables, by_name, self._budget)

    def inside(self, model: Settings, layers: Sequence[Settings]) -> WeightStore:
        return ContainerStore(self._group(model), layers, self._budget)

    def _group(self, layer: Settings) -> hdf5.Group:
        group = self._groups.get(layer.name)
        if group is None:
            raise layer.refuse("the file has no weights for it")
        return group


def _read_named(
    layer: Settings,
    shapes: Mapping[str, Shape],
    unread: Sequence[str],
    group: hdf5.Group,
    found: dict[str, str],
    budget: Budget,
) -> dict[str, Floats]:
    if set(shapes) - set(found) or set(found) - {*shapes, *unread}:
        raise _wrong_variables(layer, shapes, list(found.values()))
    arrays = {}
    for name, shape in shapes.items():
        what = str(layer.refuse(f"its {name}"))
        budget.spend(math.prod(shape))
        arrays[name] = hdf5.array(hdf5.child(group, found[name]), shape, what)
    return arrays


def _parts(path: str) -> list[str]:
    """Of ``scope/layer/variable:0``."""
    return re.sub(r":\d+$", "", path).split("/")


def _wrong_variables(layer: Settings, shapes: Mapping[str, Shape], found: list[str]) -> ModelError:
    return layer.refuse(
        f"should have {' and '.join(shapes)}, the file has {len(found)} arrays for it: "
        f"{found[:4]!a}"
    )


def _snake_case(name: str) -> str:
    name = re.sub(r"\W+", "", name)
    name = re.sub("(.)([A-Z][a-z]+)", r"\1_\2", name)
    return re.sub("([a-z])([A-Z])", r"\1_\2", name).lower()
