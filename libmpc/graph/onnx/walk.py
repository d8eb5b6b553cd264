"""Walks an ONNX graph along its edges: constants are computed at once, the rest becomes nodes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from onnx import AttributeProto, FunctionProto, GraphProto, ModelProto, NodeProto
from onnx.defs import SchemaError, get_schema

from libmpc.errors import ModelError
from libmpc.graph.builder import GraphBuilder
from libmpc.graph.onnx.container import MAX_NODES, STANDARD_DOMAINS, check_model
from libmpc.graph.onnx.folding import FOLDED, Folder
from libmpc.graph.onnx.layer import Layer
from libmpc.graph.onnx.op import Op, plain
from libmpc.graph.onnx.operators import READERS, Reader, why_not
from libmpc.graph.onnx.tensors import to_array
from libmpc.graph.onnx.values import Secret, Tail, Value

_MAX_DEPTH = 16


class Walk:
    """The import of one model into a graph under construction.

    Args:
        model: as parsed.
        builder: of the graph; the caller has put the input there.
        folder: where external data may be; ``None`` forbids it.

    Raises:
        ModelError: the model as a whole is not supported.
    """

    def __init__(self, model: ModelProto, builder: GraphBuilder, folder: Path | None) -> None:
        check_model(model)
        self._builder = builder
        self._folder = folder
        self._constants = Folder()
        self._functions = {(f.domain, f.name): f for f in model.functions}
        self._opset = _opset(model.opset_import)
        self._graph: GraphProto = model.graph
        self._names: set[str] = set()
        self._count = 0

    def run(self, inputs: Mapping[str, Value], wanted: Sequence[str] | None = None) -> list[Value]:
        """The values of the graph's outputs.

        Args:
            inputs: every input by name.
            wanted: names of other values to compute instead.

        Raises:
            ModelError: something is damaged or not supported; names the layer.
        """
        values: dict[str, Value] = {}
        for tensor in self._graph.initializer:
            if tensor.name in values:
                raise ModelError(f"two initializers have the name {tensor.name[:80]!a}")
            if tensor.name not in inputs:
                what = f"the initializer {tensor.name[:80]!a}"
                values[tensor.name] = to_array(tensor, self._folder, what)
        values.update(inputs)
        outputs = [entry.name for entry in self._graph.output] if wanted is None else wanted
        self._nodes(self._graph.node, values, outputs, self._opset, {}, 0)
        return [values[name] for name in outputs]

    def _nodes(
        self,
        nodes: Iterable[NodeProto],
        values: dict[str, Value],
        wanted: Sequence[str],
        opset: int,
        bound: Mapping[str, AttributeProto],
        depth: int,
    ) -> None:
        """Compute the wanted values, and of the others those that they need."""
        makers: dict[str, NodeProto] = {}
        for node in nodes:
            for name in node.output:
                if name and (name in makers or name in values):
                    raise ModelError(f"the value {name[:80]!a} is made twice")
                makers[name] = node
        for node in _in_order(makers, values, wanted):
            self._node(node, values, opset, bound, depth)

    def _node(
        self,
        node: NodeProto,
        values: dict[str, Value],
        opset: int,
        bound: Mapping[str, AttributeProto],
        depth: int,
    ) -> None:
        self._count += 1
        if self._count > MAX_NODES:
            raise ModelError(f"the model has more than {MAX_NODES} nodes, functions written out")
        op = self._op(node, opset, bound)
        inputs = [values[name] if name else None for name in op.inputs]
        function = self._functions.get((node.domain, node.op_type))
        if function is not None:
            made = self._call(op, function, inputs, depth)
        elif node.domain not in STANDARD_DOMAINS:
            raise op.refuse(
                f"an operator of {node.domain[:80]!a} is not one of ONNX's own; export the model "
                "without runtime-specific optimisations"
            )
        else:
            made = self._operator(op, inputs)
        if len(made) < len(op.outputs):
            raise op.refuse(f"makes {len(made)} values, the model wants {len(op.outputs)}")
        values.update((name, value) for name, value in zip(op.outputs, made, strict=False) if name)

    def _operator(self, op: Op, inputs: list[Value | None]) -> list[Value]:
        reader = READERS.get(op.kind)
        if reader is None and op.kind not in FOLDED:
            raise op.refuse(why_not(op.kind))
        _check_arity(op)
        if all(not isinstance(value, Secret) for value in inputs):
            folded = self._constants.fold(op, [v for v in inputs if not isinstance(v, Secret)])
            return [*folded]
        if reader is None:
            raise op.refuse(why_not(op.kind))
        for value in inputs:
            if isinstance(value, Secret) and value.tail and not _may_follow(reader, value.tail):
                raise op.refuse(
                    f"reads what layer {value.tail.layer!r} makes; {value.tail.kind} is left to "
                    "the client, so nothing can come after it: remove it from the model, or "
                    "end the model there"
                )
        op.allow(reader.attributes)
        return reader.read(Layer(op, self._builder), inputs)

    def _op(self, node: NodeProto, opset: int, bound: Mapping[str, AttributeProto]) -> Op:
        kind = plain(node.op_type)
        name = plain(node.name) or kind
        if name in self._names:
            name = f"{name}#{self._count}"
        self._names.add(name)
        attributes = {}
        for attribute in node.attribute:
            found: AttributeProto | None = attribute
            if attribute.ref_attr_name:
                found = bound.get(attribute.ref_attr_name)
            if found is not None:
                attributes[attribute.name] = found
        outputs = list(node.output)
        while outputs and not outputs[-1]:
            outputs.pop()
        return Op(name, kind, opset, attributes, tuple(node.input), tuple(outputs), self._folder)

    def _call(
        self, op: Op, function: FunctionProto, inputs: list[Value | None], depth: int
    ) -> list[Value]:
        """A function of the model's own, written out."""
        if depth >= _MAX_DEPTH:
            raise op.refuse(f"functions are nested deeper than {_MAX_DEPTH}")
        if len(inputs) > len(function.input) or len(op.outputs) > len(function.output):
            raise op.refuse("its inputs or outputs do not fit the function")
        if any(value is None for value in inputs) or len(inputs) < len(function.input):
            raise op.refuse("functions with optional inputs are not supported")
        values = {
            name: value
            for name, value in zip(function.input, inputs, strict=True)
            if value is not None
        }
        bound = {a.name: a for a in function.attribute_proto} | dict(op.attributes)
        wanted = function.output[: len(op.outputs)]
        opset = _opset(function.opset_import) or self._opset
        self._nodes(function.node, values, wanted, opset, bound, depth + 1)
        return [values[name] for name in wanted]


def _may_follow(reader: Reader, tail: Tail) -> bool:
    return reader.after_tail or (reader.reshapes and tail.kind != "argmax")


def _opset(entries: Iterable[object]) -> int:
    versions = {getattr(e, "domain", ""): int(getattr(e, "version", 0)) for e in entries}
    return versions.get("", versions.get("ai.onnx", 0))


def _in_order(
    makers: Mapping[str, NodeProto], values: Mapping[str, Value], wanted: Sequence[str]
) -> list[NodeProto]:
    """The nodes that the wanted values need, each after those that it reads."""
    order: list[NodeProto] = []
    done: set[str] = set(values)
    open_: set[int] = set()
    stack = [(name, False) for name in reversed(wanted)]
    if "" in wanted:
        raise ModelError("an output of the model, or of a function in it, has no name")
    while stack:
        name, entered = stack.pop()
        if entered:
            node = makers[name]
            if name not in done:
                order.append(node)
                done.update(output for output in node.output if output)
            open_.discard(id(node))
            continue
        if name in done or not name:
            continue
        node_ = makers.get(name)
        if node_ is None:
            raise ModelError(f"the value {name[:80]!a} is read but never made")
        if id(node_) in open_:
            raise ModelError(f"the value {name[:80]!a} depends on itself")
        open_.add(id(node_))
        stack.append((name, True))
        stack.extend((read, False) for read in reversed(node_.input))
    return order


def _check_arity(op: Op) -> None:
    """``ModelError`` for a node that reads more or fewer values than ONNX says of its kind."""
    try:
        schema = get_schema(op.kind, op.opset)
    except SchemaError:
        raise op.refuse(f"is no operator of opset {op.opset}") from None
    if not schema.min_input <= len(op.inputs) <= schema.max_input:
        raise op.refuse(f"reads {len(op.inputs)} values, which {op.kind} cannot")
