"""Which layers a model has and who reads whom, from its configuration."""

from __future__ import annotations

from dataclasses import dataclass

from libmpc.errors import ModelError
from libmpc.graph.keras.layers import SUPPORTED
from libmpc.graph.keras.settings import Json, Settings, as_list, as_object, shown
from libmpc.graph.nodes import Shape
from libmpc.graph.plan import MAX_STEPS


@dataclass(frozen=True)
class Topology:
    """The input's name and shape, then every other layer with the name of what it reads."""

    input_name: str
    input_shape: Shape
    layers: tuple[tuple[Settings, str], ...]


def read_topology(model: dict[str, Json]) -> Topology:
    """Walk a model's configuration: Sequential, or a functional model that is one chain.

    Raises:
        ModelError: it is damaged, another kind of model, or branches; names the layer.
    """
    kind = model.get("class_name")
    config = model.get("config")
    if kind == "Sequential":
        if isinstance(config, list):  # Keras before 2.2.3
            config = {"layers": config}
        return _sequential(as_object(config, "the model's configuration"), model)
    if kind in ("Functional", "Model"):
        return _functional(as_object(config, "the model's configuration"))
    raise ModelError(
        f"a model of the kind {shown(kind)} is not supported, only Sequential and Functional"
    )


def _sequential(config: dict[str, Json], model: dict[str, Json]) -> Topology:
    layers = [_settings(entry) for entry in _entries(config)]
    if layers and layers[0].kind == "InputLayer":
        first, rest = layers[0], layers[1:]
        name, shape = first.name, _input_shape(first)
    else:
        name, rest = "input", layers
        first = layers[0] if layers else Settings("input", "InputLayer", {})
        while name in {layer.name for layer in layers}:
            name += "_"
        shape = first.shape(_unnamed_shape(first, config, model))
    sources = [name, *(layer.name for layer in rest)]
    return Topology(name, shape, tuple(zip(rest, sources, strict=False)))


def _unnamed_shape(first: Settings, config: dict[str, Json], model: dict[str, Json]) -> Json:
    build = model.get("build_config")
    for shape in (
        first.values.get("batch_input_shape"),
        first.values.get("batch_shape"),
        config.get("build_input_shape"),
        build.get("input_shape") if isinstance(build, dict) else None,
    ):
        if shape is not None:
            return shape
    raise first.refuse("the model does not say its input shape; begin it with keras.Input(...)")


def _functional(config: dict[str, Json]) -> Topology:
    read_by: dict[str, tuple[Settings, str]] = {}
    inputs: list[Settings] = []
    for entry in _entries(config):
        layer = _settings(entry)
        sources = _sources(layer, as_object(entry, "a layer").get("inbound_nodes"))
        if layer.kind == "InputLayer":
            inputs.append(layer)
        elif sources in read_by:
            raise layer.refuse(
                f"reads {shown(sources)}, which {shown(read_by[sources][0].name)} reads too; "
                "branches are not supported yet"
            )
        else:
            read_by[sources] = (layer, sources)
    if len(inputs) != 1:
        raise ModelError(f"the model has {len(inputs)} inputs; exactly one is supported")
    name, chain = inputs[0].name, []
    while name in read_by:
        found = read_by.pop(name)
        chain.append(found)
        name = found[0].name
    if read_by:
        layer, source = next(iter(read_by.values()))
        raise layer.refuse(f"reads {shown(source)}, which does not come from the model's input")
    outputs = config.get("output_layers")
    if outputs is not None and _history(outputs) != name:
        raise ModelError(
            f"the model's output is not its last layer {shown(name)}; models with several "
            "outputs, or one from the middle, are not supported"
        )
    return Topology(inputs[0].name, _input_shape(inputs[0]), tuple(chain))


def _sources(layer: Settings, inbound: Json) -> str:
    """The one layer that this one reads. Keras 2: [[[name, 0, 0, {}]]]; Keras 3: keras_history."""
    calls = as_list(inbound, f"what layer {shown(layer.name)} reads")
    if layer.kind == "InputLayer":
        return ""
    if len(calls) != 1:
        raise layer.refuse(f"is used {len(calls)} times; shared layers are not supported")
    call = calls[0]
    if isinstance(call, dict):
        arguments = call.get("args")
        if isinstance(arguments, list) and len(arguments) == 1 and isinstance(arguments[0], dict):
            tensor = arguments[0].get("config")
            call = [tensor.get("keras_history")] if isinstance(tensor, dict) else None
    if not isinstance(call, list) or len(call) != 1:
        raise layer.refuse(
            f"this kind of layer, or reading several others, is not supported; supported are "
            f"chains of {SUPPORTED}"
        )
    source = _history(call)
    if source is None:
        raise layer.refuse("the file does not say what it reads")
    return source


def _history(value: Json) -> str | None:
    """The layer in [name, 0, 0, ...] or [[name, 0, 0, ...]]."""
    if isinstance(value, list) and len(value) == 1:
        value = value[0]
    if isinstance(value, list) and len(value) >= 3 and value[1:3] == [0, 0]:
        return value[0] if isinstance(value[0], str) else None
    return None


def _entries(config: dict[str, Json]) -> list[Json]:
    entries = as_list(config.get("layers"), "the model's list of layers")
    if len(entries) > MAX_STEPS:
        raise ModelError(f"the model has more than {MAX_STEPS} layers")
    return entries


def _settings(entry: Json) -> Settings:
    layer = as_object(entry, "a layer's configuration")
    kind = layer.get("class_name")
    values = as_object(layer.get("config"), f"the configuration of a {shown(kind)} layer")
    name = values.get("name", layer.get("name"))
    if not isinstance(kind, str) or not isinstance(name, str) or not 0 < len(name) <= 256:
        raise ModelError("the model's configuration is damaged: a layer without class or name")
    settings = Settings(name, kind, values)
    registered = layer.get("registered_name")
    if registered not in (None, kind):
        raise settings.refuse(
            f"the class {shown(registered)} is the author's own; supported are {SUPPORTED}"
        )
    return settings


def _input_shape(layer: Settings) -> Shape:
    layer.require("sparse", False)
    layer.require("ragged", False)
    shape = layer.values.get("batch_shape", layer.values.get("batch_input_shape"))
    return layer.shape(shape)
