"""A model as its file describes it: layers, and the order in which they are called."""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from dataclasses import dataclass

from libmpc.errors import ModelError
from libmpc.graph.keras.inbound import Arguments, Reference
from libmpc.graph.keras.settings import Json, Settings, shown
from libmpc.graph.nodes import Shape

MODELS = ("Sequential", "Functional", "Model")
"""The classes that are models, and may be used as layers."""


@dataclass(frozen=True)
class Layer:
    """A layer, or a model that is used as one."""

    settings: Settings
    network: Network | None = None


@dataclass(frozen=True)
class LayerCall:
    """The n-th call of a layer in its model."""

    layer: Layer
    number: int
    arguments: Arguments

    @property
    def result(self) -> Reference:
        """How others refer to what this makes."""
        return Reference(self.layer.settings.name, self.number)


@dataclass(frozen=True)
class Network:
    """A model: its layers as the file lists them, and their calls, each after what it reads."""

    source: Settings
    layers: tuple[Layer, ...]
    calls: tuple[LayerCall, ...]
    output: Reference
    batch_shape: Json

    @property
    def input(self) -> Reference:
        """How layers refer to the model's input."""
        return Reference(self.source.name, 0)

    @property
    def input_shape(self) -> Shape:
        """One sample's; ``ModelError`` where it is not fixed."""
        self.source.require("sparse", False)
        self.source.require("ragged", False)
        if self.batch_shape is None:
            raise self.source.refuse(
                "the model does not say its input shape; begin it with keras.Input(...)"
            )
        return self.source.shape(self.batch_shape)


def ordered(source: Reference, calls: Sequence[LayerCall]) -> tuple[LayerCall, ...]:
    """The calls, each after those whose results it reads, else as listed (Kahn's algorithm).

    Raises:
        ModelError: one of them reads what nobody makes, or there is a loop; names the layer.
    """
    places = {call.result: place for place, call in enumerate(calls)}
    readers: list[list[int]] = [[] for _ in calls]
    missing = [0] * len(calls)
    for place, call in enumerate(calls):
        for read in call.arguments.references:
            if read == source:
                continue
            if read not in places:
                raise _unreachable(call, read)
            readers[places[read]].append(place)
            missing[place] += 1
    ready = [place for place, count in enumerate(missing) if count == 0]
    found: list[LayerCall] = []
    while ready:
        call = calls[place := heapq.heappop(ready)]
        found.append(call)
        for reader in readers[place]:
            missing[reader] -= 1
            if missing[reader] == 0:
                heapq.heappush(ready, reader)
    if len(found) < len(calls):
        stuck = next(call for call, count in zip(calls, missing, strict=True) if count)
        raise _unreachable(stuck, next(r for r in stuck.arguments.references if r != source))
    return tuple(found)


def _unreachable(call: LayerCall, read: Reference) -> ModelError:
    return call.layer.settings.refuse(
        f"reads {shown(read.layer)}, which does not come from the model's input"
    )
