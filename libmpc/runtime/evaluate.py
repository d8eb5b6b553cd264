"""Party 0 or 1: runs a plan on shares, as a coroutine that talks through one seam."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from libmpc.graph.plan import InputStep, OutputStep, Plan, ReluStep, SumPoolStep
from libmpc.prg import Stream
from libmpc.protocol import input as input_step
from libmpc.protocol import linear, output, relu
from libmpc.protocol.compute import Compute
from libmpc.protocol.exchange import Exchange
from libmpc.protocol.weights import EvaluatorWeights
from libmpc.runtime.bundle import PreparedBundle

Ring = NDArray[np.uint64]
_SECONDS_PER_MAC = 0.4e-9
_SECONDS_PER_POOLED = 2e-9


async def evaluate(
    plan: Plan,
    weights: EvaluatorWeights,
    bundle: PreparedBundle,
    x_share: Ring,
    rerandomise: Stream,
    exchange: Exchange,
    compute: Compute | None = None,
) -> Ring:
    """Run a batch; the bundle is gone afterwards, whatever happens.

    Args:
        plan: what both evaluators run.
        weights: this evaluator's.
        bundle: prepared for this plan, party and batch.
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
        ProtocolError: a message of the other evaluator has the wrong length.
    """
    if x_share.shape != (bundle.batch, *plan.input_shape) or x_share.dtype != np.uint64:
        raise ValueError("the input share does not have the shape of bundle and plan")
    same_plan = bundle.plan is plan or bundle.plan == plan
    if bundle.party != weights.party or not same_plan:
        raise ValueError("the bundle was prepared for another plan or party")
    party = weights.party
    run = compute or Compute()
    randomness = bundle.take()
    values: dict[int, Ring] = {}  # m of masked steps, [z]_j of linear ones; gone when read
    for index, step in enumerate(plan.steps):
        if isinstance(step, InputStep):
            mask = randomness.masks[index]
            values[index] = await input_step.evaluate(index, x_share, mask, exchange)
        elif isinstance(step, SumPoolStep):
            source = values.pop(step.source)
            seconds = source.size * _SECONDS_PER_POOLED
            values[index] = await run.run(seconds, linear.sum_pool, step, source)
        elif isinstance(step, ReluStep):
            share = values.pop(step.source)
            prepared = randomness.relus[index]
            values[index] = await relu.evaluate(index, party, share, prepared, exchange, run)
        elif isinstance(step, OutputStep):
            share = values.pop(step.source)
            values[index] = output.rerandomise(index, party, share, rerandomise)
        else:
            source = values.pop(step.source)
            # The bundle is ours alone from here on, so its array may become the result.
            share = randomness.linear[index]
            factor = weights.steps[index].factor
            seconds = linear.macs(step, bundle.batch) * _SECONDS_PER_MAC
            await run.run(seconds, linear.multiply_add, step, source, factor, share)
            values[index] = share
    return values[len(plan.steps) - 1].reshape(bundle.batch, *plan.output_shape)
