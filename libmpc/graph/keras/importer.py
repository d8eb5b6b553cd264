"""A Keras file as a graph."""

from __future__ import annotations

import io
import os
from pathlib import Path

from libmpc.errors import ModelError
from libmpc.graph.keras import hdf5
from libmpc.graph.keras.container import MAX_FILE_BYTES, file_kind, member, opened_zip
from libmpc.graph.keras.layers import read_layer
from libmpc.graph.keras.settings import MAX_CONFIG_BYTES, parse_json
from libmpc.graph.keras.topology import Topology, read_topology
from libmpc.graph.keras.weights import ContainerStore, LegacyStore, WeightStore
from libmpc.graph.nodes import Graph, Input, Node, check_shape


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
        topology = read_topology(parse_json(config, "the model's configuration"))
        return _build(topology, LegacyStore(file))


def _read_container(path: Path) -> Graph:
    with opened_zip(path) as archive:
        config = member(archive, "config.json", MAX_CONFIG_BYTES)
        topology = read_topology(parse_json(config, "config.json"))
        if "model.weights.json" in archive.namelist():
            raise ModelError(
                "weights in several files are not supported; save without max_shard_size"
            )
        weights = member(archive, "model.weights.h5", MAX_FILE_BYTES)
    with hdf5.opened(io.BytesIO(weights), "model.weights.h5") as file:
        return _build(topology, ContainerStore(file, (layer for layer, _ in topology.layers)))


def _build(topology: Topology, store: WeightStore) -> Graph:
    first = Input(topology.input_name, (), topology.input_shape)
    check_shape(first.shape, first)
    found: list[Node] = [first]
    last = {first.name: first.name}  # a layer's last node, which the next one reads
    shape = first.shape
    for layer, source in topology.layers:
        for node in read_layer(layer, last[source], shape, store):
            shape = node.output_shape(shape)
            check_shape(shape, node)
            found.append(node)
        last[layer.name] = found[-1].name
    return Graph(tuple(found))
