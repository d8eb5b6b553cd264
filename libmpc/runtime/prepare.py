"""An evaluator's work before the input is known."""

from __future__ import annotations

from collections.abc import Mapping

from libmpc.graph.plan import InputStep, OutputStep, Plan, ReluStep, SumPoolStep
from libmpc.prg import Stream
from libmpc.protocol import input as input_step
from libmpc.protocol import linear, output, relu
from libmpc.protocol.errors import ProtocolError
from libmpc.protocol.exchange import Payload
from libmpc.protocol.relu import PreparedRelu
from libmpc.protocol.weights import EvaluatorWeights
from libmpc.runtime.bundle import PreparedBundle, Randomness, Ring
from libmpc.runtime.cost import correction_sizes


def prepare(
    plan: Plan,
    weights: EvaluatorWeights,
    batch: int,
    stream: Stream,
    corrections: Mapping[int, Payload] | None,
) -> PreparedBundle:
    """Turn a bundle's stream, and at party 1 the dealer's corrections, into a prepared bundle.

    Heavy on the processor, without the interpreter lock for most of it: run it in a thread.

    Args:
        plan: what will be run.
        batch: samples in the run.
        stream: the bundle's fresh stream with the dealer.
        corrections: by step index, at party 1; ``None`` at party 0.

    Raises:
        ProtocolError: there are corrections missing or left over, or one has the wrong length.
    """
    party = weights.party
    given = corrections or {}
    expected = correction_sizes(plan, batch) if party == 1 else {}
    if {index: len(correction) for index, correction in given.items()} != expected:
        raise ProtocolError
    masks: dict[int, Ring] = {}
    linears: dict[int, Ring] = {}
    relus: dict[int, PreparedRelu] = {}
    readable: dict[int, Ring] = {}  # λ_xj of a masked step, until it is read
    for index, step in enumerate(plan.steps):
        count = batch * step.size
        if isinstance(step, InputStep):
            masks[index] = readable[index] = input_step.draw_mask(index, count, stream)
        elif isinstance(step, SumPoolStep):
            readable[index] = linear.sum_pool(step, readable.pop(step.source))
        elif isinstance(step, ReluStep):
            relus[index] = relu.prepare(index, party, count, stream, given.get(index))
            readable[index] = relus[index].mask
            linears[step.source] += relu.draw_opening(index, count, stream)
        elif isinstance(step, OutputStep):
            linears[step.source] += output.prepare(index, party, count, stream, given.get(index))
        else:
            own = weights.steps[index]
            linears[index] = linear.prepare(step, readable.pop(step.source), own.masked, own.bias)
    return PreparedBundle(party, batch, plan, Randomness(masks, linears, relus))
