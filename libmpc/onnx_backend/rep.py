"""A prepared model: built, shared and run when its inputs are there."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from onnx import ModelProto
from onnx.backend.base import BackendRep

from libmpc.errors import ModelError
from libmpc.graph.builder import GraphBuilder
from libmpc.graph.nodes import Floats
from libmpc.graph.onnx.tensors import Array, dtype_of
from libmpc.graph.onnx.values import Secret, Value
from libmpc.graph.onnx.walk import Walk
from libmpc.onnx_backend.binding import constant_names
from libmpc.onnx_backend.client import finish, typed, without_endings
from libmpc.onnx_backend.engine import Engine


class Rep(BackendRep):
    """A model and what runs its graph.

    Args:
        model: of an opset that is supported.
        engine: runs a graph on one sample.
    """

    def __init__(self, model: ModelProto, engine: Engine) -> None:
        self._model, self._endings = without_endings(model)
        self._engine = engine

    def run(self, inputs: Any, **kwargs: Any) -> tuple[Any, ...]:
        """One run.

        Args:
            inputs: arrays in the order of the model's inputs, or by name.
            kwargs: not used.

        Returns:
            one array for each output.

        Raises:
            ModelError: the model has something that is not supported; names the layer.
            RangeError: values come too near the limits of fixed point.
            InputError: an input is NaN, infinite or too large.
        """
        given = self._by_name(inputs)
        constants = constant_names(self._model.graph.node)
        secrets = {n: a for n, a in given.items() if n not in constants and a.size}
        total = sum(array.size for array in secrets.values())
        builder = GraphBuilder((max(total, 1),), "inputs")
        values: dict[str, Value] = {n: a for n, a in given.items() if n not in secrets}
        start = 0
        for name, array in secrets.items():
            _real(name, array)
            part = builder.slice(name, builder.input, [start], [array.size], [1])
            part = builder.reshape(name, part, array.shape or (1,))
            values[name] = Secret(part, array.shape, array.dtype.kind in "iu")
            start += array.size
        wanted = [entry.name for entry in self._model.graph.output]
        sources = [self._endings[n].node.input[0] if n in self._endings else n for n in wanted]
        made = Walk(self._model, builder, None).run(values, sources)
        flat = [np.ravel(array).astype(np.float64) for array in secrets.values()]
        found = self._compute(builder, made, np.concatenate(flat) if flat else np.zeros(1))
        return tuple(
            self._finished(name, value, array, given)
            for name, value, array in zip(wanted, made, found, strict=True)
        )

    def _compute(self, builder: GraphBuilder, made: Sequence[Value], x: Floats) -> list[Array]:
        """Every output: constants as they are, the others from one run of one graph."""
        secrets = [value for value in made if isinstance(value, Secret)]
        if not secrets:
            return [value for value in made if not isinstance(value, Secret)]
        shapes = [builder.shapes[value.name] for value in secrets]
        parts = [
            builder.reshape("outputs", value.name, (math.prod(shape),))
            for value, shape in zip(secrets, shapes, strict=True)
        ]
        joined = builder.concat("outputs", parts, 0)
        logits = self._engine(builder.graph(joined), x[np.newaxis])[0]
        ends = np.cumsum([math.prod(shape) for shape in shapes])
        pieces = iter(zip(np.split(logits, ends[:-1]), shapes, strict=True))
        found: list[Array] = []
        for value in made:
            if isinstance(value, Secret):
                piece, shape = next(pieces)
                tailed = value.tail is not None
                found.append(piece.reshape(shape if tailed else value.shape))
            else:
                found.append(value)
        return found

    def _finished(self, name: str, value: Value, array: Array, given: Mapping[str, Array]) -> Array:
        entry = next(e for e in self._model.graph.output if e.name == name)
        kind = dtype_of(entry.type.tensor_type.elem_type, f"the output {name!a}")
        ending = self._endings.get(name)
        if isinstance(value, Secret):
            array = finish(array, value.tail).reshape(value.shape)
        if ending is None:
            return typed(array, kind) if isinstance(value, Secret) else array
        like = None
        if len(ending.node.input) > 1:
            like = given.get(ending.node.input[1])
            if like is None:
                raise ModelError("CastLike at the end takes its type from an input only")
        if isinstance(value, Secret):
            array = typed(array, np.dtype(np.int64 if value.integer else np.float32))
        return ending.convert(array, like)

    def _by_name(self, inputs: Any) -> dict[str, Array]:
        weights = {tensor.name for tensor in self._model.graph.initializer}
        entries = list(self._model.graph.input)
        if isinstance(inputs, Mapping):
            return {name: np.asarray(value) for name, value in inputs.items()}
        arrays = list(inputs) if isinstance(inputs, (list, tuple)) else [inputs]
        free = [e.name for e in entries if e.name not in weights]
        names = free if len(arrays) <= len(free) else [e.name for e in entries]
        if len(arrays) != len(names):
            raise ModelError(f"the model has {len(free)} inputs, {len(arrays)} arrays were given")
        return {name: np.asarray(value) for name, value in zip(names, arrays, strict=True)}


def _real(name: str, array: Array) -> None:
    if array.dtype.kind in "OSUc" or array.dtype.kind == "b":
        raise ModelError(f"the input {name[:80]!a} is not made of numbers")
