"""Party 0 or 1: runs a plan on shares, as a coroutine that talks through one seam."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

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
    TruncateStep,
    WeightedStep,
)
from libmpc.prg import Stream
from libmpc.protocol import input as input_step
from libmpc.protocol import lift, linear, output, positive, product, rectify, relu, truncate
from libmpc.protocol.compute import Compute
from libmpc.protocol.exchange import Exchange
from libmpc.protocol.positive import PreparedPositive
from libmpc.protocol.product import PreparedProduct
from libmpc.protocol.rectify import PreparedRectify
from libmpc.protocol.relu import PreparedRelu
from libmpc.protocol.weights import EvaluatorWeights
from libmpc.runtime import moves
from libmpc.runtime.bundle import Bundle
from libmpc.runtime.estimates import SECONDS_PER_MAC, SECONDS_PER_VALUE
from libmpc.runtime.preparer import Prepared, PreparedOpening

Ring = NDArray[np.uint64]


async def evaluate(
    plan: Plan,
    weights: EvaluatorWeights,
    bundle: Bundle,
    x_share: Ring,
    rerandomise: Stream,
    exchange: Exchange,
    compute: Compute | None = None,
) -> Ring:
    """Run a batch; the bundle is gone afterwards, whatever happens.

    Args:
        plan: what both evaluators run.
        weights: this evaluator's.
        bundle: made for this plan, party and batch.
        x_share: additive share of the inputs at scale 2^16, (batch, *input_shape).
        rerandomise: the bundle's fresh stream between the two evaluators.
        exchange: the other evaluator.
        compute: where long kernels run; the event loop's executor by default.

    Returns:
        the additive share of the outputs at scale 2^32, (batch, *output_shape), re-randomised and
        below 2^48: ready to be sealed for the client.

    Raises:
        ValueError: share, bundle, weights and plan do not belong together; nothing was used up.
        MaskReuseError: the bundle has been used.
        ProtocolError: a message of the other evaluator, or a correction, has the wrong length.
    """
    if x_share.shape != (bundle.batch, *plan.input_shape) or x_share.dtype != np.uint64:
        raise ValueError("the input share does not have the shape of bundle and plan")
    same_plan = bundle.plan is plan or bundle.plan == plan
    if bundle.party != weights.party or not same_plan:
        raise ValueError("the bundle was prepared for another plan or party")
    evaluator = _Evaluator(
        plan, weights, bundle.batch, x_share, rerandomise, exchange, compute or Compute()
    )
    randomness = bundle.take()
    values: dict[int, Ring] = {}  # m of masked values, [z]_j of additive ones
    try:
        for index, step in enumerate(plan.steps):
            prepared = await randomness.take(index)
            sources = [values[source] for source in step.reads]
            for source in plan.last_reads[index]:
                del values[source]
            values[index] = await evaluator.step(index, sources, prepared)
            # What nobody reads again goes now, and not when the next step has been computed.
            del prepared
            sources.clear()
            randomness.used(index)
    finally:
        await randomness.aclose()
    return values[len(plan.steps) - 1].reshape(bundle.batch, *plan.output_shape)


@dataclass(frozen=True, eq=False, repr=False)
class _Evaluator:
    """One run of one evaluator; see ``evaluate``."""

    plan: Plan
    weights: EvaluatorWeights
    batch: int
    x_share: Ring
    rerandomise: Stream
    exchange: Exchange
    compute: Compute

    async def step(self, index: int, sources: Sequence[Ring], prepared: Prepared | None) -> Ring:
        """One step's value: m where it is masked, [z]_j where it is additive; flat.

        ``prepared`` is this run's alone, so its arrays may become the result.
        """
        step, party = self.plan.steps[index], self.weights.party
        if isinstance(step, MoveStep):
            fill = self.plan.kinds[index] == "masked"
            seconds = moves.seconds(step, self.batch)
            return await self.compute.run(
                seconds, moves.apply, step, self.batch, sources, fill=fill
            )
        talk = (self.exchange, self.compute)
        seconds = self.batch * step.size * SECONDS_PER_VALUE
        match step, prepared:
            case InputStep(), np.ndarray():
                return await input_step.evaluate(index, self.x_share, prepared, *talk)
            case ((DenseStep() | ConvStep() | ScaleStep()), np.ndarray()):
                return await self._multiply(index, step, sources[0], prepared)
            case BiasStep(), None:
                bias = self.weights.steps[index].bias
                return await self.compute.run(seconds, linear.add_bias, step, sources[0], bias)
            case LiftStep(), np.ndarray():
                return await self.compute.run(seconds, lift.evaluate, party, sources[0], prepared)
            case ProductStep(), PreparedProduct():
                a, b = sources
                return await self.compute.run(seconds, product.evaluate, party, a, b, prepared)
            case ((ReluStep() | TruncateStep()), PreparedOpening(gamma, rest)):
                share = sources[0]
                if gamma is not None:
                    await self.compute.run(seconds, _add, gamma, share)
                    share = gamma
                if isinstance(rest, PreparedRelu):
                    return await relu.evaluate(index, party, share, rest, *talk)
                return await truncate.evaluate(index, party, share, rest, *talk)
            case RectifyStep(), PreparedRectify():
                return await rectify.evaluate(index, party, sources[0], prepared, *talk)
            case PositiveStep(), PreparedPositive():
                return await positive.evaluate(index, party, sources[0], prepared, *talk)
            case OutputStep(), np.ndarray():
                _add(prepared, sources[0])
                return output.rerandomise(index, party, prepared, self.rerandomise)
            case _:
                raise AssertionError(f"step {index} has another step's randomness")

    async def _multiply(self, index: int, step: WeightedStep, source: Ring, share: Ring) -> Ring:
        factor = self.weights.steps[index].factor
        seconds = linear.macs(step, self.batch) * SECONDS_PER_MAC
        await self.compute.run(seconds, linear.multiply_add, step, source, factor, share)
        return share


def _add(prepared: Ring, share: Ring) -> None:
    """Into what is prepared: the share may have other readers, to whom no mask belongs."""
    prepared += share
