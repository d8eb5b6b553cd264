"""A Keras file as a graph."""

from __future__ import annotations

import io
import os
from dataclasses import dataclass, field
from pathlib import Path

from libmpc.errors import ModelError
from libmpc.graph.builder import GraphBuilder
from libmpc.graph.keras import hdf5
from libmpc.graph.keras.call import Call, Value
from libmpc.graph.keras.container import MAX_FILE_BYTES, file_kind, member, opened_zip
from libmpc.graph.keras.inbound import Argument, Constant, Reference
from libmpc.graph.keras.layers import read_layer
from libmpc.graph.keras.network import LayerCall, Network
from libmpc.graph.keras.settings import MAX_CONFIG_BYTES, Settings, parse_json, shown
from libmpc.graph.keras.topology import MAX_CALLS, read_topology
from libmpc.graph.keras.weights import Budget, ContainerStore, LegacyStore, WeightStore
from libmpc.graph.nodes import Graph


def read_keras(path: str | os.PathLike[str]) -> Graph:
    """Read a model from ``.h5`` (Keras 2 and 3) or ``.keras``, whatever the file is called.

    The file is a stranger's: nothing in it is executed or unpickled, every size is checked before
    memory is taken for it, and no other file is opened for it.

    Raises:
        ModelError: the file is missing, damaged or no Keras model, or has something that is not
            supported; names the layer.
    """
    path = Path(os.fsdecode(path))
    if file_kind(path) == "hdf5":
        return _read_legacy(path)
    return _read_container(path)


def _read_legacy(path: Path) -> Graph:
    with hdf5.opened(path, ascii(os.fspath(path))) as file:
        config = hdf5.text(file, "model_config", "the model's configuration")
        if config is None:
            raise ModelError(
                f"{os.fspath(path)!a} has no architecture (weights only?): save the whole "
                "model with model.save(...), not save_weights"
            )
        network = read_topology(parse_json(config, "the model's configuration"))
        version = hdf5.text(file, "keras_version", "Keras' version")
        budget = Budget()
        return _Walk(_major(version, 2), budget).graph(network, LegacyStore(file, budget))


def _read_container(path: Path) -> Graph:
    with opened_zip(path) as archive:
        config = member(archive, "config.json", MAX_CONFIG_BYTES)
        network = read_topology(parse_json(config, "config.json"))
        if "model.weights.json" in archive.namelist():
            raise ModelError(
                "weights in several files are not supported; save without max_shard_size"
            )
        version = None
        if "metadata.json" in archive.namelist():
            metadata = member(archive, "metadata.json", MAX_CONFIG_BYTES)
            version = parse_json(metadata, "metadata.json").get("keras_version")
        weights = member(archive, "model.weights.h5", MAX_FILE_BYTES)
    with hdf5.opened(io.BytesIO(weights), "model.weights.h5") as file:
        budget = Budget()
        store = ContainerStore(file, [layer.settings for layer in network.layers], budget)
        return _Walk(_major(version, 3), budget).graph(network, store)


def _major(version: object, default: int) -> int:
    """2 or 3: a few functions changed between them."""
    if not isinstance(version, str) or version[:2] not in ("2.", "3."):
        return default
    return int(version[0])


@dataclass
class _Walk:
    """Calls every layer once for every call in the model, models inside it included."""

    keras: int
    budget: Budget
    finals: dict[str, Settings] = field(default_factory=dict)
    stores: dict[tuple[str, ...], WeightStore] = field(default_factory=dict)
    calls: int = 0

    def graph(self, network: Network, store: WeightStore) -> Graph:
        builder = GraphBuilder(network.input_shape, network.source.name)
        output = self._run(builder, network, builder.input, (), store)
        graph = builder.graph(output)
        for node in graph.nodes:
            for name in node.inputs:
                if name in self.finals:
                    raise self.finals[name].refuse(
                        "softmax and sigmoid are supported at the model's end only, but "
                        f"{shown(node.name)} reads this one; use relu or hard_sigmoid inside"
                    )
        return graph

    def _run(
        self,
        builder: GraphBuilder,
        network: Network,
        source: str,
        scope: tuple[str, ...],
        store: WeightStore,
    ) -> str:
        """The name of the network's output, where ``source`` is its input."""
        values = {network.input: source}
        for call in network.calls:
            self.calls += 1
            if self.calls > MAX_CALLS:
                raise ModelError(f"the model's layers are called more than {MAX_CALLS} times")
            made = self._call(builder, call, values, scope, store)
            inner = call.layer.network
            if inner is None:
                values[call.result] = read_layer(made)
                continue
            within = (*scope, call.layer.settings.name)
            if within not in self.stores:
                layers = [layer.settings for layer in inner.layers]
                self.stores[within] = store.inside(call.layer.settings, layers)
            values[call.result] = self._run(builder, inner, made.x, within, self.stores[within])
        return values[network.output]

    def _call(
        self,
        builder: GraphBuilder,
        call: LayerCall,
        values: dict[Reference, str],
        scope: tuple[str, ...],
        store: WeightStore,
    ) -> Call:
        def argument(given: Argument) -> Value | Constant:
            return Value(values[given]) if isinstance(given, Reference) else given

        settings = call.layer.settings
        return Call(
            settings,
            "/".join((*scope, settings.name)),
            builder,
            store,
            self.budget,
            self.keras,
            tuple(argument(a) for a in call.arguments.positional),
            {key: argument(a) for key, a in call.arguments.named.items()},
            self.finals,
        )
