"""One node of an ONNX file: its name, its kind, and its attributes, checked when asked for."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from onnx import AttributeProto

from libmpc.errors import ModelError
from libmpc.graph.onnx.tensors import Array, to_array

_LIMIT = 1 << 62
_LONGEST_NAME = 200


def plain(name: str | bytes) -> str:
    """A stranger's name as it may stand in a message; protobuf gives bytes for invalid text."""
    text = name.decode("utf-8", "backslashreplace") if isinstance(name, bytes) else name
    return ascii(text[:_LONGEST_NAME])[1:-1]


@dataclass(frozen=True, eq=False)
class Op:
    """A node as the file has it.

    Attributes:
        name: the node's, or one made of its kind and number; unique in the model.
        kind: the operator, such as ``"Conv"``.
        opset: version of ONNX's operators.
        attributes: by name.
        inputs: names of the values that it reads; ``""`` where an optional one is left out.
        outputs: names of the values that it makes.
        folder: where external data may be, or ``None``.
    """

    name: str
    kind: str
    opset: int
    attributes: Mapping[str, AttributeProto] = field(repr=False)
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    folder: Path | None = field(default=None, repr=False)

    def refuse(self, problem: str) -> ModelError:
        """The error that names this node."""
        return ModelError(f"layer {self.name!r} ({self.kind}): {problem}")

    def allow(self, names: Sequence[str]) -> None:
        """``ModelError`` for an attribute that is none of these: it might change the answer."""
        for name in self.attributes:
            if name not in names:
                raise self.refuse(f"the attribute {name[:80]!a} is not supported")

    def _get(self, name: str, kind: int) -> AttributeProto | None:
        found = self.attributes.get(name)
        if found is not None and found.type != kind:
            raise self.refuse(f"the attribute {name} is of the wrong type")
        return found

    def integer(self, name: str, default: int) -> int:
        found = self._get(name, AttributeProto.INT)
        return default if found is None else self._bounded(name, found.i)

    def flag(self, name: str, default: bool = False) -> bool:
        value = self.integer(name, int(default))
        if value not in (0, 1):
            raise self.refuse(f"{name}={value} is neither 0 nor 1")
        return bool(value)

    def number(self, name: str, default: float) -> float:
        found = self._get(name, AttributeProto.FLOAT)
        value = default if found is None else float(found.f)
        if not math.isfinite(value):
            raise self.refuse(f"{name}={value} is not a finite number")
        return value

    def text(self, name: str, default: str) -> str:
        found = self._get(name, AttributeProto.STRING)
        return default if found is None else plain(found.s)

    def integers(self, name: str) -> tuple[int, ...] | None:
        found = self._get(name, AttributeProto.INTS)
        return None if found is None else tuple(self._bounded(name, i) for i in found.ints)

    def axes(self, name: str, rank: int) -> tuple[int, ...] | None:
        """An attribute that names axes, counted from the front."""
        found = self.integers(name)
        return None if found is None else self.normal(found, rank)

    def tensor(self, name: str) -> Array | None:
        found = self._get(name, AttributeProto.TENSOR)
        return None if found is None else to_array(found.t, self.folder, f"layer {self.name!r}")

    def axis(self, default: int, rank: int) -> int:
        """The attribute ``axis``, counted from the front."""
        return self.normal([self.integer("axis", default)], rank)[0]

    def normal(self, axes: Sequence[int], rank: int) -> tuple[int, ...]:
        """Axes counted from the front; ``ModelError`` where there is none, or one twice."""
        found = tuple(axis + rank if axis < 0 else axis for axis in axes)
        if any(not 0 <= axis < rank for axis in found) or len(set(found)) != len(found):
            raise self.refuse(f"the axes {list(axes)[:8]} do not fit a value with {rank} axes")
        return found

    def _bounded(self, name: str, value: int) -> int:
        if not -_LIMIT <= value <= _LIMIT:
            raise self.refuse(f"the attribute {name} is out of range")
        return int(value)


Fold = Callable[[Op, "list[Array | None]"], "list[Array]"]
