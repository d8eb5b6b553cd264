"""What a layer is called with, from the two forms in which files say it.

Keras 3: ``{"args": [tensor, [tensor, tensor], 0.5], "kwargs": {...}}``, where a tensor is an object
with a ``keras_history``. Keras 2: ``[[name, call, output, kwargs], ...]``, or a single such entry
for a TensorFlow function.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

from libmpc.errors import ModelError
from libmpc.graph.keras.settings import Json, Settings, shown

_CONSTANT = "_CONSTANT_VALUE"  # Keras 2's name for a first argument that is no tensor


@dataclass(frozen=True)
class Reference:
    """The result of a layer's n-th call in the model."""

    layer: str
    call: int


@dataclass(frozen=True)
class Constant:
    """A number, or whatever else a layer is called with that no layer made."""

    value: Json


Argument: TypeAlias = Reference | Constant


@dataclass(frozen=True)
class Arguments:
    """The arguments of one call: by position, lists of tensors unpacked, and by name."""

    positional: tuple[Argument, ...]
    named: dict[str, Argument]

    @property
    def references(self) -> tuple[Reference, ...]:
        """The tensors among them."""
        every = (*self.positional, *self.named.values())
        return tuple(a for a in every if isinstance(a, Reference))

    def moved(self, change: Callable[[Reference], Reference]) -> Arguments:
        """The same call with other references."""

        def one(argument: Argument) -> Argument:
            return change(argument) if isinstance(argument, Reference) else argument

        return Arguments(
            tuple(one(a) for a in self.positional), {k: one(a) for k, a in self.named.items()}
        )


def read_call(layer: Settings, call: Json) -> Arguments:
    """One entry of ``inbound_nodes``.

    Raises:
        ModelError: it has neither form.
    """
    if isinstance(call, dict):
        args, named = call.get("args"), call.get("kwargs", {})
        if not isinstance(args, list) or not isinstance(named, dict):
            raise _unclear(layer)
        return Arguments(
            tuple(a for value in args for a in _unpacked(layer, value)),
            {key: _argument(layer, value) for key, value in named.items()},
        )
    if not isinstance(call, list) or not call:
        raise _unclear(layer)
    entries = [call] if isinstance(call[0], str) else call
    positional: list[Argument] = []
    keywords: dict[str, Argument] = {}
    for entry in entries:
        if not isinstance(entry, list) or len(entry) not in (3, 4):
            raise _unclear(layer)
        if entry[0] == _CONSTANT:
            positional.append(Constant(entry[2]))
        else:
            positional.append(reference(layer, entry[:3]))
        more = entry[3] if len(entry) == 4 else {}
        if not isinstance(more, dict):
            raise _unclear(layer)
        keywords |= {key: _argument(layer, value) for key, value in more.items()}
    return Arguments(tuple(positional), keywords)


def reference(layer: Settings, value: Json) -> Reference:
    """``[name, call, output]``.

    Raises:
        ModelError: it is something else, or not the layer's first output.
    """
    if not isinstance(value, list) or len(value) != 3:
        raise _unclear(layer)
    name, call, output = value
    if not isinstance(name, str) or type(call) is not int or type(output) is not int:
        raise _unclear(layer)
    if output != 0:
        raise layer.refuse(
            f"reads output {output} of {shown(name)}; layers with several outputs are not supported"
        )
    return Reference(name, call)


def _unpacked(layer: Settings, value: Json) -> list[Argument]:
    if isinstance(value, list) and any(_is_tensor(v) for v in value):
        return [_argument(layer, v) for v in value]
    return [_argument(layer, value)]


def _argument(layer: Settings, value: Json) -> Argument:
    if _is_tensor(value):
        config = value.get("config") if isinstance(value, dict) else None
        return reference(layer, config.get("keras_history") if isinstance(config, dict) else None)
    if (
        isinstance(value, list)
        and len(value) == 3
        and isinstance(value[0], str)
        and all(type(v) is int for v in value[1:])
    ):
        return reference(layer, value)
    return Constant(value)


def _is_tensor(value: Json) -> bool:
    return isinstance(value, dict) and value.get("class_name") == "__keras_tensor__"


def _unclear(layer: Settings) -> ModelError:
    return layer.refuse("the file does not say what it reads")
