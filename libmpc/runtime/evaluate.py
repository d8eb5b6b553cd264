"""Party 0 or 1: runs a plan on shares, as a coroutine that talks through one seam."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from libmpc.graph.plan import Plan
from libmpc.prg import Stream
from libmpc.protocol.compute import Compute
from libmpc.protocol.exchange import Exchange
from libmpc.protocol.weights import EvaluatorWeights
from libmpc.runtime.bundle import Bundle
from libmpc.runtime.running import Running
from libmpc.runtime.stages import stage

Ring = NDArray[np.uint64]


class Program:
    """A plan made ready for one evaluator's runs of one batch size; any number of them at a time.

    Args:
        plan: what both evaluators run.
        weights: this evaluator's.
        batch: samples in a run.
    """

    def __init__(self, plan: Plan, weights: EvaluatorWeights, batch: int) -> None:
        self.plan = plan
        self.party = weights.party
        self.batch = batch
        self._input_shape = (batch, *plan.input_shape)
        self._output_shape = (batch, *plan.output_shape)
        width = plan.label_width
        self._label_shape = None if width is None else (batch, width)
        self._stages = [
            (index, step.reads, plan.last_reads[index], stage(plan, index, weights, batch))
            for index, step in enumerate(plan.steps)
        ]

    def __repr__(self) -> str:
        return f"<Program of party {self.party}, batch {self.batch}, {len(self._stages)} steps>"

    async def run(
        self,
        bundle: Bundle,
        x_share: Ring,
        rerandomise: Stream,
        exchange: Exchange,
        compute: Compute,
        labels: Ring | None = None,
    ) -> Ring:
        """Run a batch: see ``evaluate``."""
        _check(bundle, self.plan, self.party, self.batch)
        if x_share.shape != self._input_shape or x_share.dtype != np.uint64:
            raise ValueError("the input share does not have the shape of bundle and plan")
        if (None if labels is None else labels.shape) != self._label_shape:
            raise ValueError("the share of the labels does not have the shape of bundle and plan")
        running = Running(x_share, rerandomise, exchange, compute, labels)
        randomness = bundle.take()
        values: dict[int, Ring] = {}  # m of masked values, [z]_j of additive ones
        try:
            for index, reads, last_reads, run in self._stages:
                prepared = await randomness.take(index)
                sources = [values[source] for source in reads]
                for source in last_reads:
                    del values[source]
                values[index] = await run(running, sources, prepared)
                # What nobody reads again goes now, and not when the next step has been computed.
                del prepared
                sources.clear()
                randomness.used(index)
        finally:
            await randomness.aclose()
        return values[len(self._stages) - 1].reshape(self._output_shape)


async def evaluate(
    plan: Plan,
    weights: EvaluatorWeights,
    bundle: Bundle,
    x_share: Ring,
    rerandomise: Stream,
    exchange: Exchange,
    compute: Compute | None = None,
    labels: Ring | None = None,
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
        labels: XOR share of the labels' bits, (batch, label_width), where the plan takes labels.

    Returns:
        the additive share of the outputs at scale 2^32, (batch, *output_shape), re-randomised and
        below 2^48: ready to be sealed for the client. Of a plan that ends in bits, their XOR
        shares, 0 or 1 each; of one that counts, additive shares of integers.

    Raises:
        ValueError: share, bundle, weights and plan do not belong together; nothing was used up.
        MaskReuseError: the bundle has been used.
        ProtocolError: a message of the other evaluator, or a correction, has the wrong length.
    """
    _check(bundle, plan, weights.party, bundle.batch)
    program = Program(plan, weights, bundle.batch)
    return await program.run(bundle, x_share, rerandomise, exchange, compute or Compute(), labels)


def _check(bundle: Bundle, plan: Plan, party: int, batch: int) -> None:
    same_plan = bundle.plan is plan or bundle.plan == plan
    if (bundle.party, bundle.batch) != (party, batch) or not same_plan:
        raise ValueError("the bundle was prepared for another plan, party or batch")
