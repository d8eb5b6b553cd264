"""A whole bundle at once."""

from __future__ import annotations

from collections.abc import Mapping

from libmpc.graph.plan import Plan
from libmpc.prg import Stream
from libmpc.protocol.errors import ProtocolError
from libmpc.protocol.exchange import Payload
from libmpc.protocol.weights import EvaluatorWeights
from libmpc.runtime.bundle import PreparedBundle
from libmpc.runtime.preparer import Prepared, Preparer


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
    preparer = Preparer(plan, weights, batch, stream)
    given = corrections or {}
    if {index: len(correction) for index, correction in given.items()} != preparer.expected:
        raise ProtocolError
    parts: dict[int, Prepared] = {}
    for index in range(len(plan.steps)):
        part = preparer.step(index, given.get(index))
        if part is not None:
            parts[index] = part
    return PreparedBundle(weights.party, batch, plan, parts)
