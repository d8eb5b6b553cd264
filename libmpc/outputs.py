"""What an answer is made of: logits, or less than that.

An output kind is written as a short text, which is the same wherever it is bound or compared:

    logits                          all of them, at scale 2^32
    label                           the index of the largest; the lowest where several are
    topk:3                          the indices of the three largest, in order
    scores:8  scores:8:-4.0:4.0     logits rounded down to 8 fraction bits, and clipped
    count                           whether the index is the sample's label, to be summed
    confusion                       the same, by label and index
    count:100  confusion:100        an owner's policy: over 100 samples or more
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, replace
from typing import Literal

from libmpc.errors import InputError

MAX_K = 16
MAX_CANDIDATES = 4096
MAX_FRACTION_BITS = 16
CLIP_LIMIT = 1 << 30  # in units of the last fraction bit
MAX_SAMPLES = 1 << 25
"""Of an evaluation."""
Name = Literal["logits", "label", "topk", "scores", "count", "confusion"]
_TEXT = re.compile(r"topk:([0-9]{1,2})|scores:([0-9]{1,2})(:.{1,99})?")
_COUNTED = re.compile(r"(count|confusion):([0-9]{1,8})")
_BARE: dict[str, Name] = {
    "logits": "logits",
    "label": "label",
    "count": "count",
    "confusion": "confusion",
}


@dataclass(frozen=True)
class OutputKind:
    """One kind; make it with ``parse``, so that equal kinds have equal texts.

    Attributes:
        name: what it is.
        k: of ``topk``, how many.
        bits: of ``scores``, fraction bits that are left.
        clip: of ``scores``, the least and the largest score in units of 2^−bits, if there are any.
        at_least: of ``count`` and ``confusion`` as an owner's policy, how many samples must be
            counted together; what is asked for has 1.
    """

    name: Name = "logits"
    k: int = 1
    bits: int = MAX_FRACTION_BITS
    clip: tuple[int, int] | None = None
    at_least: int = 1

    def __str__(self) -> str:
        if self.name == "topk":
            return f"topk:{self.k}"
        if self.name != "scores":
            return self.name if self.at_least == 1 else f"{self.name}:{self.at_least}"
        ends = "" if self.clip is None else ":".join(["", *(repr(e) for e in self.clip_range)])
        return f"scores:{self.bits}{ends}"

    @property
    def clip_range(self) -> tuple[float, ...]:
        """The least and the largest score, if there are any."""
        return tuple(math.ldexp(end, -self.bits) for end in self.clip or ())

    @property
    def answer(self) -> OutputKind:
        """What is asked for where this is the policy."""
        return replace(self, at_least=1)

    @property
    def takes_labels(self) -> bool:
        """Whether labels are a second input."""
        return self.name in ("count", "confusion")

    @property
    def in_bits(self) -> bool:
        """Whether the shares are those of bits, which add up by XOR."""
        return self.name in ("label", "topk")


LOGITS = OutputKind()


def parse(text: str) -> OutputKind:
    """The kind that a text stands for.

    Raises:
        InputError: it is no output kind, or not written in the one way that is allowed.
    """
    kind = _parse(text)
    if kind is None or str(kind) != text:
        raise InputError(
            "an output is 'logits', 'label', 'topk:K', 'scores:BITS', 'scores:BITS:LOW:HIGH', "
            "'count' or 'confusion', and as a policy 'count:SAMPLES' or 'confusion:SAMPLES'"
        )
    return kind


def top(k: int) -> OutputKind:
    """The indices of the k largest.

    Raises:
        InputError: k is not from 1 to 16.
    """
    return parse(f"topk:{k}")


def scores(bits: int, clip: tuple[float, float] | None = None) -> OutputKind:
    """Logits rounded down to so many fraction bits, and clipped to a range.

    Raises:
        InputError: not from 0 to 16 bits, or the ends are not in order, not multiples of 2^−bits,
            or 2^30 of them or more away from 0.
    """
    ends = "" if clip is None else "".join(f":{float(end)!r}" for end in clip)
    return parse(f"scores:{bits}{ends}")


def allows(policy: OutputKind, kind: OutputKind) -> bool:
    """Whether an owner who allows ``policy`` allows ``kind``, which then tells nothing more.

    Logits tell everything else; but clipping is left to owners, so that a model has few variants.
    A label tells whether it is the one that somebody has in mind. Rounded scores do not tell which
    of two equal ones was larger, so nothing else is made where an owner allows only those. How
    many samples are counted together is not looked at; it is no part of what is asked for.
    """
    if kind.at_least != 1:
        return False
    if policy.answer == kind:
        return True
    if policy.name == "logits":
        return kind.clip is None
    if policy.name in ("label", "topk"):
        return kind.takes_labels or kind.name == "label" or _fewer(policy, kind)
    return policy.name == "confusion" and kind.name == "count"


def answer_shape(kind: OutputKind, logits: tuple[int, ...]) -> tuple[int, ...]:
    """One sample's shape of the shares that leave, for a model whose logits have this shape.

    Raises:
        InputError: the model has no such answers.
    """
    if kind.name in ("logits", "scores"):
        return logits
    classes = logits[-1]
    if math.prod(logits) != classes or not 2 <= classes <= MAX_CANDIDATES:
        raise InputError(
            f"the model's output has the shape {logits}; labels need one row of 2 to "
            f"{MAX_CANDIDATES} values"
        )
    if kind.k > classes:
        raise InputError(f"the model has {classes} outputs, fewer than the {kind.k} asked for")
    if kind.in_bits:
        return (kind.k, label_width(classes))
    return (1,) if kind.name == "count" else (classes, classes)


def label_width(classes: int) -> int:
    """Binary digits of a label of so many classes; at least one."""
    return max(1, (classes - 1).bit_length())


def _fewer(policy: OutputKind, kind: OutputKind) -> bool:
    return kind.name == "topk" and kind.k <= policy.k


def _parse(text: str) -> OutputKind | None:
    if text in _BARE:
        return OutputKind(_BARE[text])
    if (counted := _COUNTED.fullmatch(text)) is not None:
        least = int(counted[2])
        # ":1" is written without it, and so refused by ``parse``.
        return OutputKind(_BARE[counted[1]], at_least=least) if 1 <= least <= MAX_SAMPLES else None
    match = _TEXT.fullmatch(text)
    if match is None:
        return None
    k, bits, ends = match.groups()
    if k is not None:
        return OutputKind("topk", k=int(k)) if 1 <= int(k) <= MAX_K else None
    if int(bits) > MAX_FRACTION_BITS:
        return None
    if ends is None:
        return OutputKind("scores", bits=int(bits))
    clip = _clip(ends[1:].split(":"), int(bits))
    return None if clip is None else OutputKind("scores", bits=int(bits), clip=clip)


def _clip(ends: list[str], bits: int) -> tuple[int, int] | None:
    try:
        low, high = (math.ldexp(float(end), bits) for end in ends)
    except (ValueError, OverflowError):
        return None
    if not (-CLIP_LIMIT < low <= high < CLIP_LIMIT and low.is_integer() and high.is_integer()):
        return None
    return int(low), int(high)
