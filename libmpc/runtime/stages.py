"""What an evaluator does at each step of a plan; what no run changes is worked out beforehand."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from libmpc.graph.plan import (
    BiasStep,
    ConvStep,
    DenseStep,
    InputStep,
    LiftStep,
    MoveStep,
    OutputStep,
    Plan,
    PositiveStep,
    ProductStep,
    RectifyStep,
    ReluStep,
    ScaleStep,
    TailStep,
    TruncateStep,
    WeightedStep,
)
from libmpc.protocol import input as input_step
from libmpc.protocol import lift, linear, output, positive, product, rectify, relu, truncate
from libmpc.protocol.positive import PreparedPositive
from libmpc.protocol.product import PreparedProduct
from libmpc.protocol.rectify import PreparedRectify
from libmpc.protocol.relu import PreparedRelu
from libmpc.protocol.weights import EvaluatorWeights
from libmpc.ring.matmul import Matrix
from libmpc.runtime import moves
from libmpc.runtime.estimates import SECONDS_PER_MAC, SECONDS_PER_VALUE
from libmpc.runtime.preparer import Prepared, PreparedOpening
from libmpc.runtime.running import Running, Stage
from libmpc.runtime.tail_stages import tail_stage

Ring = NDArray[np.uint64]


def stage(plan: Plan, index: int, weights: EvaluatorWeights, batch: int) -> Stage:
    """One step of a plan at the evaluator to whom the weights belong."""
    step, party = plan.steps[index], weights.party
    seconds = batch * step.size * SECONDS_PER_VALUE
    match step:
        case InputStep():
            return _input(index)
        case DenseStep() | ConvStep() | ScaleStep():
            return _weighted(step, weights.steps[index].factor, batch)
        case BiasStep():
            return _bias(step, weights.steps[index].bias, seconds)
        case LiftStep():
            return _lift(party, seconds)
        case ProductStep():
            return _product(party, seconds)
        case ReluStep() | TruncateStep():
            return _opening(index, party, seconds)
        case RectifyStep():
            return _rectify(index, party)
        case PositiveStep():
            return _positive(index, party)
        case OutputStep():
            return _output(index, party)
        case _ if isinstance(step, TailStep):
            return tail_stage(index, step, party, batch)
        case _:
            return _move(step, batch, fill=plan.kinds[index] == "masked")


def _input(index: int) -> Stage:
    async def run(run: Running, sources: Sequence[Ring], mask: Prepared | None) -> Ring:
        assert isinstance(mask, np.ndarray)
        return await input_step.evaluate(index, run.x_share, mask, run.exchange, run.compute)

    return run


def _weighted(step: WeightedStep, factor: Matrix, batch: int) -> Stage:
    seconds = linear.macs(step, batch) * SECONDS_PER_MAC

    async def run(run: Running, sources: Sequence[Ring], share: Prepared | None) -> Ring:
        assert isinstance(share, np.ndarray)
        await run.compute.run(seconds, linear.multiply_add, step, sources[0], factor, share)
        return share

    return run


def _bias(step: BiasStep, bias: Ring, seconds: float) -> Stage:
    async def run(run: Running, sources: Sequence[Ring], prepared: Prepared | None) -> Ring:
        return await run.compute.run(seconds, linear.add_bias, step, sources[0], bias)

    return run


def _lift(party: int, seconds: float) -> Stage:
    async def run(run: Running, sources: Sequence[Ring], share: Prepared | None) -> Ring:
        assert isinstance(share, np.ndarray)
        return await run.compute.run(seconds, lift.evaluate, party, sources[0], share)

    return run


def _product(party: int, seconds: float) -> Stage:
    async def run(run: Running, sources: Sequence[Ring], prepared: Prepared | None) -> Ring:
        assert isinstance(prepared, PreparedProduct)
        a, b = sources
        return await run.compute.run(seconds, product.evaluate, party, a, b, prepared)

    return run


def _opening(index: int, party: int, seconds: float) -> Stage:
    async def run(run: Running, sources: Sequence[Ring], prepared: Prepared | None) -> Ring:
        assert isinstance(prepared, PreparedOpening)
        share, gamma, rest = sources[0], prepared.gamma, prepared.rest
        if gamma is not None:
            await run.compute.run(seconds, _add, gamma, share)
            share = gamma
        talk = (run.exchange, run.compute)
        if isinstance(rest, PreparedRelu):
            return await relu.evaluate(index, party, share, rest, *talk)
        return await truncate.evaluate(index, party, share, rest, *talk)

    return run


def _rectify(index: int, party: int) -> Stage:
    async def run(run: Running, sources: Sequence[Ring], prepared: Prepared | None) -> Ring:
        assert isinstance(prepared, PreparedRectify)
        return await rectify.evaluate(index, party, sources[0], prepared, run.exchange, run.compute)

    return run


def _positive(index: int, party: int) -> Stage:
    async def run(run: Running, sources: Sequence[Ring], prepared: Prepared | None) -> Ring:
        assert isinstance(prepared, PreparedPositive)
        return await positive.evaluate(
            index, party, sources[0], prepared, run.exchange, run.compute
        )

    return run


def _output(index: int, party: int) -> Stage:
    async def run(run: Running, sources: Sequence[Ring], share: Prepared | None) -> Ring:
        assert isinstance(share, np.ndarray)
        _add(share, sources[0])
        return output.rerandomise(index, party, share, run.rerandomise)

    return run


def _move(step: MoveStep, batch: int, *, fill: bool) -> Stage:
    seconds = moves.seconds(step, batch)

    async def run(run: Running, sources: Sequence[Ring], prepared: Prepared | None) -> Ring:
        return await run.compute.run(seconds, moves.apply, step, batch, sources, fill=fill)

    return run


def _add(prepared: Ring, share: Ring) -> None:
    """Into what is prepared: the share may have other readers, to whom no mask belongs."""
    prepared += share
