"""Which layers a model has and who reads whom, from its configuration."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

from libmpc.errors import ModelError
from libmpc.graph.keras.inbound import Arguments, Reference, read_call, reference
from libmpc.graph.keras.network import MODELS, Layer, LayerCall, Network, ordered
from libmpc.graph.keras.settings import Json, Settings, as_list, as_object, shown

MAX_LAYERS = 4096
MAX_CALLS = 1 << 16
MAX_DEPTH = 16


def read_topology(model: dict[str, Json]) -> Network:
    """Walk a model's configuration: Sequential or functional, models inside it included.

    Raises:
        ModelError: it is damaged, another kind of model, has several inputs or outputs, or a loop;
            names the layer.
    """
    network = _network(model, MAX_DEPTH)
    if network is None:
        raise ModelError(
            f"a model of the kind {shown(model.get('class_name'))} is not supported, only "
            "Sequential and Functional; build the same layers with keras.Sequential or "
            "keras.Model(inputs, outputs)"
        )
    return network


def _network(model: dict[str, Json], depth: int) -> Network | None:
    """The model in an entry; ``None`` where it is an ordinary layer."""
    kind, config = model.get("class_name"), model.get("config")
    if kind not in MODELS:
        return None
    if depth == 0:
        raise ModelError(f"the model has models inside models, more than {MAX_DEPTH} deep")
    if isinstance(config, list):  # Sequential before Keras 2.2.3
        config = {"layers": config}
    values = as_object(config, "the model's configuration")
    entries = as_list(values.get("layers"), "the model's list of layers")
    if len(entries) > MAX_LAYERS:
        raise ModelError(f"the model has more than {MAX_LAYERS} layers")
    layers = tuple(_layer(as_object(e, "a layer's configuration"), depth) for e in entries)
    seen: set[str] = set()
    for layer in layers:
        if layer.settings.name in seen:
            raise layer.settings.refuse("another layer has the same name")
        seen.add(layer.settings.name)
    if kind == "Sequential":
        return _sequential(values, model, layers)
    return _functional(values, [e for e in entries if isinstance(e, dict)], layers)


def _layer(entry: dict[str, Json], depth: int) -> Layer:
    kind, config = entry.get("class_name"), entry.get("config")
    if isinstance(config, list):
        config = {"layers": config}
    values = as_object(config, f"the configuration of a {shown(kind)} layer")
    name = entry.get("name", values.get("name"))
    if not isinstance(kind, str) or not isinstance(name, str) or not 0 < len(name) <= 256:
        raise ModelError("the model's configuration is damaged: a layer without class or name")
    settings = Settings(name, kind, values)
    registered = entry.get("registered_name")
    if registered not in (None, kind):
        raise settings.refuse(
            f"the class {shown(registered)} is the author's own, and its code is not in the file; "
            "use Keras' own layers"
        )
    return Layer(settings, _network(entry, depth - 1))


def _sequential(
    config: dict[str, Json], model: dict[str, Json], layers: tuple[Layer, ...]
) -> Network:
    if layers and layers[0].settings.kind == "InputLayer":
        first, rest = layers[0].settings, layers[1:]
        shape = _batch_shape(first)
    else:
        name = "input"
        while name in {layer.settings.name for layer in layers}:
            name += "_"
        first, rest = Settings(name, "InputLayer", {}), layers
        shape = _unnamed_shape(layers, config, model)
    sources = [Reference(first.name, 0), *(Reference(layer.settings.name, 0) for layer in rest)]
    calls = (
        LayerCall(layer, 0, Arguments((source,), {}))
        for layer, source in zip(rest, sources, strict=False)
    )
    return Network(first, layers, tuple(calls), sources[-1], shape)


def _unnamed_shape(
    layers: tuple[Layer, ...], config: dict[str, Json], model: dict[str, Json]
) -> Json:
    """The input shape of a model that does not begin with an input layer."""
    build = model.get("build_config")
    found = [_batch_shape(layers[0].settings)] if layers else []
    if layers and layers[0].network is not None:
        found.append(layers[0].network.batch_shape)
    found.append(config.get("build_input_shape"))
    found.append(build.get("input_shape") if isinstance(build, dict) else None)
    return next((shape for shape in found if shape is not None), None)


def _functional(
    config: dict[str, Json], entries: list[dict[str, Json]], layers: tuple[Layer, ...]
) -> Network:
    listed = [
        as_list(entry.get("inbound_nodes"), f"what layer {shown(layer.settings.name)} reads")
        for layer, entry in zip(layers, entries, strict=True)
    ]
    sources = [layer.settings for layer in layers if layer.settings.kind == "InputLayer"]
    _require_one(
        "input",
        [source.name for source in sources],
        "pass one array, and take it apart in the model, by Cropping1D, Reshape or Permute",
    )
    if sum(map(len, listed)) > MAX_CALLS:
        raise ModelError(f"the model's layers are called more than {MAX_CALLS} times")
    keras_3 = any(isinstance(call, dict) for inbound in listed for call in inbound)
    from_0 = partial(_counted_from_0, _first_numbers(layers, keras_3))
    calls = []
    for layer, inbound in zip(layers, listed, strict=True):
        if layer.settings.kind != "InputLayer":
            for number, call in enumerate(inbound):
                found = read_call(layer.settings, call)
                found = found if isinstance(call, dict) else found.moved(from_0)
                calls.append(LayerCall(layer, number, found))
    first = sources[0]
    outputs = list(_leaves(config.get("output_layers")))
    _require_one(
        "output",
        [str(leaf[0]) for leaf in outputs],
        "save a model with the one you want, keras.Model(model.inputs, model.outputs[0])",
    )
    output = from_0(reference(first, outputs[0]))
    if output not in {call.result for call in calls} | {Reference(first.name, 0)}:
        raise ModelError(f"the model's output {shown(outputs[0])} is none of its layers")
    in_order = ordered(Reference(first.name, 0), calls)
    return Network(first, layers, in_order, output, _batch_shape(first))


def _first_numbers(layers: tuple[Layer, ...], keras_3: bool) -> dict[str, int]:
    """The number that Keras 2's references, and ``output_layers``, give a layer's first call.

    A model is called once when it is made; that call has the number 0 and is not listed. Keras 3
    does not number it where it is Sequential, nor Keras 2 where such a model has no input layer.
    """
    numbers = {}
    for layer in layers:
        inner = layer.network
        if inner is not None and layer.settings.kind == "Sequential":
            begins = bool(inner.layers) and inner.layers[0].settings.kind == "InputLayer"
            numbers[layer.settings.name] = int(begins and not keras_3)
        elif inner is not None:
            numbers[layer.settings.name] = 1
    return numbers


def _counted_from_0(numbers: dict[str, int], read: Reference) -> Reference:
    return Reference(read.layer, read.call - numbers.get(read.layer, 0))


def _leaves(value: Json) -> Iterator[list[Json]]:
    """The ``[name, call, output]`` in a list or an object of such, or in one alone."""
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, list) and value and isinstance(value[0], str):
        yield value
    elif isinstance(value, list):
        for part in value:
            yield from _leaves(part)


def _require_one(what: str, names: list[str], advice: str) -> None:
    if len(names) != 1:
        listed = f" ({', '.join(shown(name) for name in names[:4])})" if names else ""
        raise ModelError(
            f"the model has {len(names)} {what}s{listed}; exactly one is supported: {advice}"
        )


def _batch_shape(layer: Settings) -> Json:
    return layer.values.get("batch_shape", layer.values.get("batch_input_shape"))
