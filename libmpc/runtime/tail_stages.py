"""What an evaluator does at the steps behind the logits."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

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
from libmpc.protocol import lift, lookup, mask, output_bits, pick, pick_bits, top
from libmpc.protocol.lookup import PreparedLookup
from libmpc.protocol.mask import PreparedMask
from libmpc.protocol.pick import PreparedPick
from libmpc.protocol.pick_bits import PreparedPickBits
from libmpc.protocol.top import PreparedTop
from libmpc.runtime.preparer import Prepared
from libmpc.runtime.running import Running, Stage

Ring = NDArray[np.uint64]


def tail_stage(index: int, step: TailStep, party: int, batch: int) -> Stage:
    """One step behind the logits."""
    match step:
        case MaskStep():
            return _mask(index)
        case TopStep():
            return _top(index, step, party)
        case PickStep():
            return _pick(index, step, party)
        case PickBitsStep():
            return _pick_bits(index, step, party)
        case MatchStep() | TallyStep():
            return _lookup(index, step, batch)
        case ShiftStep():
            return _shift(step, party)
        case _:
            return _local(index, step)


def _mask(index: int) -> Stage:
    async def run(run: Running, sources: Sequence[Ring], prepared: Prepared | None) -> Ring:
        assert isinstance(prepared, PreparedMask)
        return await mask.evaluate(index, sources[0], prepared, run.exchange, run.compute)

    return run


def _top(index: int, step: TopStep, party: int) -> Stage:
    form = step.form

    async def run(run: Running, sources: Sequence[Ring], prepared: Prepared | None) -> Ring:
        assert isinstance(prepared, PreparedTop)
        talk = (run.exchange, run.compute)
        return await top.evaluate(index, party, form, sources[0], prepared, *talk)

    return run


def _pick(index: int, step: PickStep, party: int) -> Stage:
    form = step.form

    async def run(run: Running, sources: Sequence[Ring], prepared: Prepared | None) -> Ring:
        assert isinstance(prepared, PreparedPick)
        one_hot, m = sources
        talk = (run.exchange, run.compute)
        return await pick.evaluate(index, party, form, one_hot, m, prepared, *talk)

    return run


def _pick_bits(index: int, step: PickBitsStep, party: int) -> Stage:
    form = step.form

    async def run(run: Running, sources: Sequence[Ring], prepared: Prepared | None) -> Ring:
        assert isinstance(prepared, PreparedPickBits)
        one_hot, words = sources
        return await pick_bits.evaluate(index, party, form, one_hot, words, prepared, run.exchange)

    return run


def _lookup(index: int, step: MatchStep | TallyStep, batch: int) -> Stage:
    at = places(step) if isinstance(step, TallyStep) else [0]

    async def run(run: Running, sources: Sequence[Ring], prepared: Prepared | None) -> Ring:
        assert isinstance(prepared, PreparedLookup)
        first, second = sources
        if isinstance(step, TallyStep):
            columns = second.reshape(batch, -1)
            number = np.concatenate((columns, first.reshape(batch, -1)), axis=1)
        else:
            number = first ^ second
        return await lookup.evaluate(index, number, at, prepared, run.exchange)

    return run


def _shift(step: ShiftStep, party: int) -> Stage:
    async def run(run: Running, sources: Sequence[Ring], share: Prepared | None) -> Ring:
        assert isinstance(share, np.ndarray)
        return lift.evaluate(party, sources[0], share, step.bits)

    return run


def _local(index: int, step: TailStep) -> Stage:
    async def run(run: Running, sources: Sequence[Ring], prepared: Prepared | None) -> Ring:
        match step:
            case IndexStep():
                return numbers_of(step, sources[0])
            case LabelsStep():
                assert run.labels is not None
                return run.labels.reshape(-1) & np.uint64(1)
            case OffsetStep():
                return sources[0] + np.uint64(step.value % 2**64)
            case OutputBitsStep():
                return output_bits.rerandomise(index, sources[0], run.rerandomise)
            case _:
                raise AssertionError(f"step {index} is not local")

    return run


def places(step: TallyStep) -> list[int]:
    """The number of every row and column."""
    return [a << step.width | b for a in range(step.classes) for b in range(step.classes)]


def numbers_of(step: IndexStep, one_hot: Ring) -> Ring:
    """The bits of the winners' numbers, from one-hot bits or from XOR shares of them; flat."""
    form, width = step.form, step.output_shape[1]
    weights = form.places[:, np.newaxis].astype(np.uint64) >> np.arange(width, dtype=np.uint64)
    terms = one_hot.reshape(-1, form.places.size, 1) & weights & np.uint64(1)
    chosen: Ring = np.bitwise_xor.reduceat(terms, form.starts, axis=1)
    return chosen.reshape(-1)
