"""One call of a layer, as the readers of layers see it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TypeAlias

from libmpc.errors import ModelError
from libmpc.graph.builder import GraphBuilder
from libmpc.graph.keras.inbound import Constant
from libmpc.graph.keras.settings import Settings
from libmpc.graph.keras.weights import Budget, WeightStore
from libmpc.graph.nodes import FinalActivation, Floats, Shape


@dataclass(frozen=True)
class Value:
    """A value of the graph under construction, by the name of the node that makes it."""

    name: str


@dataclass(frozen=True)
class Call:
    """A layer, what it is called with, where its weights are, and what makes nodes of it.

    Attributes:
        layer: its configuration.
        name: what its nodes' names begin with: the names of the models around it, and its own.
        b: the graph under construction.
        store: where its weights are.
        budget: how many constants the model may still have.
        keras: the version that saved the model: 2 or 3.
        positional, named: the arguments.
        finals: the layer of every activation that is left to the client, by its node's name.
    """

    layer: Settings
    name: str
    b: GraphBuilder
    store: WeightStore
    budget: Budget
    keras: int
    positional: tuple[Value | Constant, ...]
    named: Mapping[str, Value | Constant]
    finals: dict[str, Settings]

    @property
    def xs(self) -> list[str]:
        """The names of the values that it reads; nothing else may be among the arguments."""
        values = [a.name for a in self.positional if isinstance(a, Value)]
        others = [key for key, a in self.named.items() if a not in _HARMLESS.get(key, ())]
        if others or not values or len(values) < len(self.positional):
            which = f"with {others[0]!a}" if others else "with a constant, or with nothing"
            raise self.refuse(
                f"is called {which}, which is not supported; call it with other layers' results"
            )
        return values

    @property
    def x(self) -> str:
        """The name of the one value that it reads."""
        values = self.xs
        if len(values) != 1:
            raise self.refuse(f"reads {len(values)} values, not one")
        return values[0]

    @property
    def shape(self) -> Shape:
        """The shape of the one value that it reads."""
        return self.b.shapes[self.x]

    def refuse(self, problem: str) -> ModelError:
        """The error that names this layer."""
        return self.layer.refuse(problem)

    def weights(self, shapes: Mapping[str, Shape], unread: Sequence[str] = ()) -> dict[str, Floats]:
        """See ``WeightStore.read``."""
        return self.store.read(self.layer, shapes, unread)

    def part(self, layer: Settings, x: str) -> Call:
        """The same call of another layer: one that stands in this one's configuration."""
        return replace(self, layer=layer, positional=(Value(x),), named={})

    def final(self, x: str, kind: FinalActivation, axis: int = -1) -> str:
        """An activation that the client applies; only as the model's end, see the importer."""
        name = self.b.final(self.name, x, kind, axis)
        self.finals[name] = self.layer
        return name


Reader: TypeAlias = Callable[[Call], str]
"""Adds a layer's nodes; returns the name of its result."""

_HARMLESS = {
    "training": (Constant(None), Constant(False)),
    "mask": (Constant(None),),
    "name": (Constant(None),),
}
