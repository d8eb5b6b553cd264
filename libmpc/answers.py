"""Answers as arrays: what two shares make, and what numpy would have made of the logits."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from libmpc import fixedpoint
from libmpc.errors import InputError
from libmpc.outputs import OutputKind, label_width

Answer = NDArray[np.float64] | NDArray[np.int64]


def combine(kind: OutputKind, first: NDArray[np.uint64], second: NDArray[np.uint64]) -> Answer:
    """The answer that two shares (batch, …) make: of ``logits`` and ``scores`` float64 in the
    logits' shape, of ``label`` int64 (batch,), of ``topk`` int64 (batch, k), of the others int64
    (batch, …).
    """
    if kind.in_bits:
        return labels_of(kind, first ^ second)
    return value_of(kind, first + second)


def labels_of(kind: OutputKind, bits: NDArray[np.uint64]) -> NDArray[np.int64]:
    """The indices that bits (batch, k, width), lowest first, stand for."""
    weights = np.int64(1) << np.arange(bits.shape[2], dtype=np.int64)
    found: NDArray[np.int64] = (bits & np.uint64(1)).astype(np.int64) @ weights
    return found[:, 0] if kind.name == "label" else found


def value_of(kind: OutputKind, ring: NDArray[np.uint64]) -> Answer:
    """Real numbers, or integers where something is counted."""
    if kind.takes_labels:
        return fixedpoint.to_signed(ring)
    return fixedpoint.decode(ring, fixedpoint.PRODUCT_BITS)


def plain(kind: OutputKind, logits: NDArray[np.float64]) -> Answer:
    """What numpy makes of logits (batch, classes): the meaning of a kind that takes no labels."""
    if kind.name == "label":
        best: NDArray[np.int64] = np.argmax(logits, axis=1)
        return best
    if kind.name == "topk":
        order: NDArray[np.int64] = np.argsort(-logits, axis=1, kind="stable")
        return order[:, : kind.k]
    if kind.name == "scores":
        units = np.floor(np.ldexp(logits, kind.bits))
        if kind.clip is not None:
            units = units.clip(*kind.clip)
        rounded: NDArray[np.float64] = np.ldexp(units, -kind.bits)
        return rounded
    if kind.name == "logits":
        return logits
    raise InputError(f"{kind} needs labels")


def check_labels(labels: object, classes: int) -> NDArray[np.integer]:
    """Labels from 0 to ``classes`` − 1 as an array, (batch,).

    Raises:
        InputError: not a vector of whole numbers in that range.
    """
    array = np.asarray(labels)
    if array.ndim != 1 or array.dtype.kind not in "iu":
        raise InputError("labels are one whole number for each sample")
    if array.size and (array.min() < 0 or array.max() >= classes):
        raise InputError(f"labels of this model go from 0 to {classes - 1}")
    return array


def label_digits(labels: object, classes: int) -> NDArray[np.uint64]:
    """The bits of labels, lowest first, (batch, width).

    Raises:
        InputError: as ``check_labels``.
    """
    array = check_labels(labels, classes).astype(np.uint64)
    places = np.arange(label_width(classes), dtype=np.uint64)
    digits: NDArray[np.uint64] = array[:, np.newaxis] >> places & np.uint64(1)
    return digits
