"""An ONNX model as a graph that answers one sample."""

from __future__ import annotations

from pathlib import Path

from onnx import ModelProto, TypeProto, ValueInfoProto

from libmpc.errors import ModelError
from libmpc.graph.builder import GraphBuilder
from libmpc.graph.nodes import Graph, Shape
from libmpc.graph.onnx.container import check_model
from libmpc.graph.onnx.op import plain
from libmpc.graph.onnx.tensors import dtype_of
from libmpc.graph.onnx.values import Secret, Value
from libmpc.graph.onnx.walk import Walk


def import_graph(model: ModelProto, folder: Path | None) -> Graph:
    """The model's graph; see ``libmpc.graph.onnx.read_onnx``.

    Args:
        model: as parsed.
        folder: where external data may be; ``None`` forbids it.

    Raises:
        ModelError: something is damaged or not supported; names the layer.
    """
    check_model(model)
    entry = _only_input(model)
    shape, batch = _input_shape(entry)
    sample = shape[1:] if len(shape) > 1 else shape
    builder = GraphBuilder(sample, plain(entry.name) or "input")
    start = Secret(builder.reshape("batch", builder.input, shape), shape, _is_integer(entry))
    try:
        (value,) = Walk(model, builder, folder).run({entry.name: start})
    except ModelError as error:
        if batch > 1:
            raise ModelError(
                f"{error} (the input's first axis, of size {batch}, was taken for the batch and "
                "set to 1: export the model for a batch of 1 or of any size)"
            ) from None
        raise
    return builder.graph(_finish(builder, value))


def _finish(builder: GraphBuilder, value: Value) -> str:
    """The output without its batch axis, and what is left to the client."""
    if not isinstance(value, Secret):
        raise ModelError("the model's output does not depend on its input")
    shape = builder.shapes[value.name]
    if len(shape) > 1 and shape[0] == 1:
        shape = shape[1:]
    layer, tail = "output", value.tail
    if tail is None:
        return builder.reshape(layer, value.name, shape)
    if -tail.axis > len(shape):
        raise ModelError(f"layer {tail.layer!r} ({tail.kind}) goes along the batch: not supported")
    logits = builder.reshape(layer, value.name, shape)
    return builder.final(tail.layer, logits, tail.kind, tail.axis)


def _only_input(model: ModelProto) -> ValueInfoProto:
    """The input that is no weight; older files list weights among the inputs too."""
    weights = {tensor.name for tensor in model.graph.initializer}
    free = [entry for entry in model.graph.input if entry.name not in weights]
    if len(free) != 1:
        names = ", ".join(ascii(entry.name[:80]) for entry in free[:8])
        raise ModelError(
            f"the model has {len(free)} inputs ({names}); exactly one is supported: join them in "
            "the model, or make those that never change constants"
        )
    if len(model.graph.output) != 1:
        raise ModelError(
            f"the model has {len(model.graph.output)} outputs; exactly one is supported: remove "
            "the others, for example with onnx.utils.extract_model"
        )
    found: ValueInfoProto = free[0]
    return found


def _input_shape(entry: ValueInfoProto) -> tuple[Shape, int]:
    """The input's shape with a batch of 1, and the batch size that the file fixes, or 0."""
    tensor = _tensor_type(entry)
    if not tensor.HasField("shape"):
        raise ModelError(f"the model does not say the shape of its input {entry.name[:80]!a}")
    sizes = [dim.dim_value if dim.HasField("dim_value") else 0 for dim in tensor.shape.dim]
    if not sizes:
        raise ModelError("the model's input is a single number; at least one axis is needed")
    if len(sizes) == 1 and sizes[0] > 0:
        return (sizes[0],), 0
    for axis, size in enumerate(sizes[1:], 1):
        if size < 1:
            raise ModelError(
                f"axis {axis} of the model's input {entry.name[:80]!a} has no fixed size; export "
                "the model with fixed sizes for all axes but the first, the batch"
            )
    return (1, *sizes[1:]), max(sizes[0], 0)


def _is_integer(entry: ValueInfoProto) -> bool:
    kind = dtype_of(_tensor_type(entry).elem_type, "the model's input")
    if kind.kind == "b":
        raise ModelError("the model's input is of type bool; make it float32")
    return kind.kind in "iu"


def _tensor_type(entry: ValueInfoProto) -> TypeProto.Tensor:
    if not entry.type.HasField("tensor_type"):
        raise ModelError(f"the model's input {entry.name[:80]!a} is not a tensor")
    return entry.type.tensor_type
