"""Typed access to a layer's configuration, which a stranger may have written."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TypeAlias

from libmpc.errors import ModelError
from libmpc.graph.plan import MAX_DIM

Json: TypeAlias = bool | int | float | str | list["Json"] | dict[str, "Json"] | None

MAX_CONFIG_BYTES = 16 << 20
_SHOWN = 60


@dataclass(frozen=True)
class Settings:
    """One layer: its name, its class, and the values of its configuration by key."""

    name: str
    kind: str
    values: dict[str, Json]

    def refuse(self, problem: str) -> ModelError:
        """The error that names this layer."""
        kind = shown(self.kind).strip("'")
        return ModelError(f"layer {shown(self.name)} ({kind}): {problem}")

    def require(self, key: str, *allowed: Json) -> Json:
        """The value of ``key``, by default the first allowed one; refuses any other."""
        value = self.values.get(key, allowed[0])
        if not any(type(value) in (type(a), *_numbers(a)) and value == a for a in allowed):
            listed = " or ".join(shown(a) for a in allowed)
            raise self.refuse(f"{key}={shown(value)} is not supported, only {listed}")
        return value

    def integer(self, key: str, default: Json = None, least: int = 1) -> int:
        """A whole number, ``least`` or more."""
        value = self.values.get(key, default)
        if type(value) is not int or not least <= value <= MAX_DIM:
            raise self.refuse(
                f"{key}={shown(value)} is not a whole number from {least} to {MAX_DIM}"
            )
        return value

    def integers(
        self, key: str, count: int, default: Json = None, least: int = 1
    ) -> tuple[int, ...]:
        """So many whole numbers; one stands for all of them."""
        value = self.values.get(key, default)
        every = value if isinstance(value, list) else [value] * count
        if len(every) != count:
            names = {1: "a whole number", 2: "a pair of whole numbers"}
            raise self.refuse(f"{key}={shown(value)} is not {names.get(count, f'{count} numbers')}")
        return tuple(
            Settings(self.name, self.kind, {key: v}).integer(key, least=least) for v in every
        )

    def axes(self, key: str, default: Json, rank: int) -> tuple[int, ...]:
        """Axes of a batch of samples of ``rank``, counted without the batch; one or a list."""
        value = self.values.get(key, default)
        found = []
        for axis in value if isinstance(value, list) else [value]:
            if type(axis) is not int or not -rank - 1 <= axis <= rank or axis % (rank + 1) == 0:
                raise self.refuse(
                    f"{key}={shown(value)} does not name axes of its input of {rank} axes "
                    "besides the batch"
                )
            found.append(axis % (rank + 1) - 1)
        return tuple(found)

    def number(self, key: str, default: Json = None) -> float:
        """A finite real number."""
        return self._finite(key, self.values.get(key, default))

    def number_or_none(self, key: str) -> float | None:
        """A finite real number, or nothing."""
        value = self.values.get(key)
        return None if value is None else self._finite(key, value)

    def flag(self, key: str, default: bool) -> bool:
        """True or false."""
        value = self.values.get(key, default)
        if type(value) is not bool:
            raise self.refuse(f"{key}={shown(value)} is neither true nor false")
        return value

    def shape(self, value: Json) -> tuple[int, ...]:
        """A batch shape without its first, open, dimension."""
        if not isinstance(value, list) or len(value) < 2:
            raise self.refuse(f"the input shape {shown(value)} is not (batch, sizes ...)")
        if any(type(dim) is not int for dim in value[1:]):
            raise self.refuse(
                f"the input shape {shown(value)} has a size that is not fixed; build the model "
                "with a full shape, such as keras.Input((28, 28, 1))"
            )
        return tuple(dim for dim in value[1:] if isinstance(dim, int))

    def _finite(self, key: str, value: Json) -> float:
        if isinstance(value, dict):  # a numpy scalar
            value = as_object(value.get("config"), key).get("value")
        if type(value) not in (int, float) or not abs(value) < 1e300:  # type: ignore[arg-type]
            raise self.refuse(f"{key}={shown(value)} is not a finite number")
        return float(value)  # type: ignore[arg-type]


def parse_json(text: str | bytes, what: str) -> dict[str, Json]:
    """A JSON object from a stranger.

    Raises:
        ModelError: it is too long, no JSON, nested too deeply, or no object.
    """
    if len(text) > MAX_CONFIG_BYTES:
        raise ModelError(f"{what} is longer than {MAX_CONFIG_BYTES} bytes")
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        raise ModelError(f"{what} is damaged: not valid JSON") from None
    return as_object(value, what)


def as_object(value: Json, what: str) -> dict[str, Json]:
    """``value`` as an object, or ``ModelError``."""
    if not isinstance(value, dict):
        raise ModelError(f"{what} is damaged: not a JSON object")
    return value


def as_list(value: Json, what: str) -> list[Json]:
    """``value`` as a list, or ``ModelError``."""
    if not isinstance(value, list):
        raise ModelError(f"{what} is damaged: not a list")
    return value


def shown(value: Json) -> str:
    """A stranger's value as it may stand in a message: short and printable."""
    text = ascii(value) if not isinstance(value, (list, dict)) else _compact(value)
    return text if len(text) <= _SHOWN else text[: _SHOWN - 3] + "..."


def _compact(value: Json) -> str:
    try:
        return json.dumps(value)
    except (ValueError, RecursionError):
        return "..."


def _numbers(value: Json) -> tuple[type, ...]:
    return (int, float) if type(value) in (int, float) else ()
