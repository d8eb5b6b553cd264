"""What a reader of one operator works with: the node of the file, and verbs that build the graph.

Every verb takes secrets in ONNX's shapes and returns one.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from libmpc.graph.builder import GraphBuilder
from libmpc.graph.nodes import Floats, Shape
from libmpc.graph.onnx.op import Op
from libmpc.graph.onnx.tensors import Array
from libmpc.graph.onnx.values import Secret, Tail, Value

MAX_PIECES = 256


class Layer:
    """One node under import.

    Args:
        op: the node.
        builder: of the graph.
    """

    def __init__(self, op: Op, builder: GraphBuilder) -> None:
        self.op = op
        self.b = builder
        self.refuse = op.refuse

    # ---- what it reads

    def secret(self, value: Value | None, what: str = "its input") -> Secret:
        """A value that depends on the client's input."""
        if not isinstance(value, Secret):
            raise self.refuse(
                f"{what} must depend on the model's input, it is a constant or missing"
            )
        return value

    def real(self, value: Value | None, what: str = "its input") -> Secret:
        """A secret that is not an integer in ONNX's eyes."""
        found = self.secret(value, what)
        if found.integer:
            raise self.refuse(f"{what} is of an integer type; cast it to float32 first")
        return found

    def constant(self, value: Value | None, what: str) -> Array:
        """A value that does not depend on the client's input."""
        if value is None:
            raise self.refuse(f"{what} is missing")
        if isinstance(value, Secret):
            raise self.refuse(
                f"{what} depends on the model's input; it must be a constant, that is, an "
                "initializer or computed from initializers and shapes"
            )
        return value

    def floats(self, value: Value | None, what: str) -> Floats:
        """A constant of finite real numbers, as float64."""
        found = self.constant(value, what)
        if found.dtype.kind in "OSUc":
            raise self.refuse(f"{what} is not made of real numbers")
        with np.errstate(invalid="ignore"):
            wide: Floats = found.astype(np.float64)
        if not np.isfinite(wide).all():
            raise self.refuse(f"{what} has values that are NaN or infinite")
        return wide

    def integers(self, value: Value | None, what: str) -> tuple[int, ...]:
        """A short constant list of integers."""
        found = self.constant(value, what)
        if found.dtype.kind not in "iu" or found.ndim > 1 or found.size > 1 << 16:
            raise self.refuse(f"{what} is not a list of integers")
        return tuple(int(i) for i in found.ravel())

    def scalar(self, value: Value | None, what: str) -> float:
        """A constant single number; it may be infinite."""
        found = self.constant(value, what)
        if found.size != 1 or found.dtype.kind in "OSUc":
            raise self.refuse(f"{what} is not a single number")
        return float(found.astype(np.float64).ravel()[0])

    # ---- verbs

    def made(self, name: str, like: Secret, shape: Shape | None = None) -> Secret:
        """The secret that a node of the graph makes."""
        found = self.b.shapes[name] if shape is None else shape
        return replace(like, name=name, shape=found)

    def reshape(self, x: Secret, shape: Sequence[int]) -> Secret:
        if math.prod(shape) != math.prod(x.shape):
            raise self.refuse(f"{x.shape} cannot become {tuple(shape)[:16]}")
        target = tuple(shape)
        made = self.made(self.b.reshape(self.op.name, x.name, target or (1,)), x, target)
        return replace(made, tail=self._moved_tail(x, target)) if x.tail else made

    def _moved_tail(self, x: Secret, target: Shape) -> Tail:
        """What is left to the client, if it may as well come after the reshaping."""
        tail, old = x.tail, x.shape
        assert tail is not None
        if tail.kind == "sigmoid":
            return tail
        inner = math.prod(old[len(old) + tail.axis + 1 :])
        for axis in range(-len(target), 0):
            same = target[axis] == old[tail.axis]
            if same and math.prod(target[len(target) + axis + 1 :]) == inner:
                return replace(tail, axis=axis)
        raise self.refuse(
            f"reshapes what layer {tail.layer!r} makes; {tail.kind} is left to the client, so "
            "it must come last: remove it from the model, or end the model there"
        )

    def transpose(self, x: Secret, order: Sequence[int]) -> Secret:
        if len(x.shape) < 2:
            return x
        return self.made(self.b.transpose(self.op.name, x.name, order), x)

    def slice(
        self, x: Secret, starts: Sequence[int], sizes: Sequence[int], strides: Sequence[int]
    ) -> Secret:
        return self.made(self.b.slice(self.op.name, x.name, starts, sizes, strides), x)

    def cut(self, x: Secret, axis: int, start: int, size: int, stride: int = 1) -> Secret:
        """``size`` places along one axis."""
        starts, strides = [0] * len(x.shape), [1] * len(x.shape)
        sizes = list(x.shape)
        starts[axis], sizes[axis], strides[axis] = start, size, stride
        return self.slice(x, starts, sizes, strides)

    def concat(self, xs: Sequence[Secret], axis: int) -> Secret:
        return self.made(self.b.concat(self.op.name, [x.name for x in xs], axis), xs[0])

    def expand(self, x: Secret, shape: Shape) -> Secret:
        """Repeat by numpy's rules into exactly this shape."""
        if x.shape == shape:
            return x
        return self.made(self.b.expand(self.op.name, x.name, shape or (1,)), x, shape)

    def repeat(self, x: Secret, axis: int, times: int, *, each: bool) -> Secret:
        """The axis ``times`` over, or each of its places ``times`` in a row."""
        if times == 1:
            return x
        before, size = x.shape[:axis], x.shape[axis]
        outer, inner = math.prod(before), math.prod(x.shape[axis + 1 :])
        rows, parts = (outer * size, inner) if each else (outer, size * inner)
        flat = self.reshape(x, (rows, 1, parts))
        many = self.expand(flat, (rows, times, parts))
        return self.reshape(many, (*before, size * times, *x.shape[axis + 1 :]))

    def gather(self, x: Secret, axis: int, places: Sequence[int]) -> Secret:
        """The places along an axis, in that order, each maybe many times."""
        wanted = np.asarray(places, np.int64)
        size = x.shape[axis]
        times = len(wanted) // size
        if len(wanted) == size * times and times > 1:
            for each, made in ((True, np.repeat), (False, np.tile)):
                if np.array_equal(wanted, made(np.arange(size), times)):
                    return self.repeat(x, axis, times, each=each)
        runs = _runs(wanted.tolist())
        if len(runs) > MAX_PIECES:
            raise self.refuse(
                f"takes its input apart into {len(runs)} pieces, at most {MAX_PIECES} are possible"
            )
        parts = []
        for start, count, stride in runs:
            if stride:
                parts.append(self.cut(x, axis, start, count, stride))
            else:
                parts.append(self.repeat(self.cut(x, axis, start, 1), axis, count, each=True))
        return self.concat(parts, axis)

    def scale(self, x: Secret, factor: object = 1.0, offset: object = 0.0) -> Secret:
        """x·factor + offset; constants that repeat into x's shape."""
        constants = (np.asarray(c, np.float64) for c in (factor, offset))
        return self.made(self.b.scale(self.op.name, x.name, *constants), x, x.shape)

    def add(self, xs: Sequence[Secret], signs: Sequence[int] = ()) -> Secret:
        name = self.b.sum_of(self.op.name, [x.name for x in xs], signs)
        return self.made(name, xs[0], xs[0].shape)

    def known(self, values: Floats, witness: Secret) -> Secret:
        """A constant as a value of the graph, which has none: nothing of ``witness``, plus it."""
        one = self.cut(self.reshape(witness, (math.prod(witness.shape),)), 0, 0, 1)
        return self.scale(self.expand(one, values.shape), 0.0, values)


def _runs(places: list[int]) -> list[tuple[int, int, int]]:
    """Start, length and stride of the arithmetic progressions that places are made of."""
    runs: list[tuple[int, int, int]] = []
    at = 0
    while at < len(places):
        count, stride = 1, 1
        if at + 1 < len(places):
            stride = places[at + 1] - places[at]
            while (
                at + count < len(places) and places[at + count] - places[at + count - 1] == stride
            ):
                count += 1
        runs.append((places[at], count, stride if count > 1 else 1))
        at += count
    return runs
