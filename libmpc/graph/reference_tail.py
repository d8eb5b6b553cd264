"""The plaintext reference of the steps behind the logits. Naive on purpose, as ``reference``."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from libmpc.errors import InputError
from libmpc.graph.plan import (
    IndexStep,
    LabelsStep,
    MaskStep,
    MatchStep,
    OffsetStep,
    OutputBitsStep,
    PickBitsStep,
    PickStep,
    ShiftStep,
    TailStep,
    TallyStep,
    TopStep,
)
from libmpc.graph.plan.groups import Groups

Ring = NDArray[np.uint64]


def run_tail(step: TailStep, sources: list[Ring], labels: Ring | None) -> Ring:
    """One step's values, (batch, …); ``labels`` has each sample's bits, (batch, width)."""
    match step:
        case MaskStep() | OutputBitsStep():
            return sources[0]
        case TopStep():
            return one_hot(step.form, sources[0])
        case IndexStep():
            places = np.arange(step.output_shape[1])
            digits = np.arange(step.candidates)[:, np.newaxis] >> places & 1
            return _chosen(step.form, sources[0], digits.astype(np.uint64)[np.newaxis])
        case PickStep():
            return _chosen(step.form, sources[0], _flat(sources[1])[:, :, np.newaxis])[:, :, 0]
        case PickBitsStep():
            words = sources[1].reshape(len(sources[1]), step.candidates, step.width)
            return _chosen(step.form, sources[0], words)
        case LabelsStep():
            if labels is None:
                raise InputError("this plan takes labels as a second input")
            return labels
        case MatchStep():
            a, b = (_flat(source) for source in sources)
            equal: Ring = (a == b).all(axis=1, keepdims=True).astype(np.uint64)
            return equal
        case TallyStep():
            weights = np.uint64(1) << np.arange(step.width, dtype=np.uint64)
            rows, columns = (_flat(source) @ weights for source in sources)
            cells = np.zeros((len(rows), step.classes, step.classes), np.uint64)
            inside = (rows < step.classes) & (columns < step.classes)
            samples = np.flatnonzero(inside)
            cells[samples, rows[inside], columns[inside]] = 1
            return cells
        case OffsetStep():
            return sources[0] + np.uint64(step.value % 2**64)
        case ShiftStep():
            return sources[0] << np.uint64(step.bits)


def one_hot(form: Groups, values: Ring) -> Ring:
    """Rows of a bit for each candidate, group by group, rank by rank: (batch, keep · candidates).

    numpy's stable sort of what would be decoded: the lowest index first where values are equal.
    """
    signed = (_flat(values) << np.uint64(16)).view(np.int64) >> 16
    rows = []
    start = 0
    for size in form.sizes:
        order = np.argsort(-signed[:, start : start + size], axis=1, kind="stable")
        rows += [order[:, rank, np.newaxis] == np.arange(size) for rank in range(form.keep)]
        start += size
    return np.concatenate(rows, axis=1).astype(np.uint64)


def _chosen(form: Groups, bits: Ring, values: Ring) -> Ring:
    """The values (batch, candidates, m) that one-hot rows point at, (batch, winners, m)."""
    bits = _flat(bits)
    chosen = np.zeros((len(bits), form.groups * form.keep, values.shape[2]), np.uint64)
    for place, (winner, candidate) in enumerate(zip(form.winners, form.places, strict=True)):
        chosen[:, winner] += bits[:, place, np.newaxis] * values[:, candidate]
    return chosen


def _flat(values: Ring) -> Ring:
    return values.reshape(len(values), -1)
