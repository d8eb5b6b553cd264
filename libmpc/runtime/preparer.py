"""An evaluator's work before the input is known, one step at a time."""

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
    OutputStep,
    Plan,
    PositiveStep,
    ProductStep,
    RectifyStep,
    ReluStep,
    ScaleStep,
    TailStep,
    TruncateStep,
)
from libmpc.prg import Stream
from libmpc.protocol import input as input_step
from libmpc.protocol import (
    lift,
    linear,
    opening,
    output,
    positive,
    product,
    rectify,
    relu,
    truncate,
)
from libmpc.protocol.errors import ProtocolError
from libmpc.protocol.exchange import Payload
from libmpc.protocol.positive import PreparedPositive
from libmpc.protocol.product import PreparedProduct
from libmpc.protocol.rectify import PreparedRectify
from libmpc.protocol.relu import PreparedRelu
from libmpc.protocol.truncate import PreparedTruncate
from libmpc.protocol.weights import EvaluatorWeights
from libmpc.runtime import moves
from libmpc.runtime.cost import correction_sizes
from libmpc.runtime.openings import early_openings
from libmpc.runtime.tail_prepare import PreparedTail, prepare_tail

Ring = NDArray[np.uint64]


@dataclass(frozen=True, eq=False, repr=False)
class PreparedOpening:
    """For a step that opens its source.

    Attributes:
        gamma: γ_j, (n,); ``None`` where a linear step's prepared share has it already.
        rest: what follows the opening.
    """

    gamma: Ring | None
    rest: PreparedRelu | PreparedTruncate

    def __repr__(self) -> str:
        return f"PreparedOpening({self.rest!r})"

    @property
    def nbytes(self) -> int:
        """Memory held."""
        return self.rest.nbytes + (0 if self.gamma is None else self.gamma.nbytes)


Prepared = (
    Ring | PreparedOpening | PreparedRectify | PreparedPositive | PreparedProduct | PreparedTail
)
"""One step's randomness. An array is λ_xj of an input, all of [z]_j that does not depend on the
input at a linear step or lift, and γ_j at the output."""


class Preparer:
    """Turns a bundle's stream, and at party 1 the dealer's corrections, into what a run needs.

    Heavy on the processor, without the interpreter lock for most of it: call ``step`` in a
    thread, though never in two at once.

    Args:
        plan: what will be run.
        weights: the evaluator's.
        batch: samples in the run.
        stream: the bundle's fresh stream with the dealer.
    """

    def __init__(self, plan: Plan, weights: EvaluatorWeights, batch: int, stream: Stream) -> None:
        self.plan = plan
        self.party = weights.party
        self.batch = batch
        self.expected = correction_sizes(plan, batch) if self.party == 1 else {}
        """Bytes of the corrections to be passed, by step."""
        self._weights = weights
        self._stream = stream
        self._early = early_openings(plan)
        self._masks: dict[int, Ring] = {}  # λ_j of masked values that are still to be read
        self._next = 0

    def __repr__(self) -> str:
        return f"<Preparer of party {self.party}, batch {self.batch}, at step {self._next}>"

    def step(self, index: int, correction: Payload | None = None) -> Prepared | None:
        """One step's randomness, ``None`` where it needs none; steps come in order.

        Raises:
            ProtocolError: a correction is missing or left over, or has the wrong length.
            ValueError: this is not the next step.
        """
        if index != self._next:
            raise ValueError(f"step {self._next} is to be prepared next, not {index}")
        if (None if correction is None else len(correction)) != self.expected.get(index):
            raise ProtocolError
        self._next += 1
        sources = [self._masks[s] for s in self.plan.reads[index] if s in self._masks]
        for source in self.plan.last_reads[index]:
            self._masks.pop(source, None)
        return self._prepare(index, sources, correction)

    def _prepare(
        self, index: int, masks: Sequence[Ring], correction: Payload | None
    ) -> Prepared | None:
        step = self.plan.steps[index]
        party, stream, count = self.party, self._stream, self.batch * self.plan.sizes[index]
        match step:
            case InputStep():
                mask = input_step.draw_mask(index, count, stream)
                self._masks[index] = mask
                return mask
            case DenseStep() | ConvStep() | ScaleStep():
                own = self._weights.steps[index]
                return self._opened(index, linear.prepare(step, masks[0], own.masked, own.bias))
            case LiftStep():
                return self._opened(index, lift.prepare(masks[0]))
            case ProductStep():
                return product.prepare(*masks)
            case ReluStep():
                relus = relu.prepare(index, party, count, stream, correction)
                self._masks[index] = relus.mask
                return PreparedOpening(self._late_gamma(index, count), relus)
            case TruncateStep():
                cut = truncate.prepare(index, party, count, stream, correction)
                self._masks[index] = cut.mask
                return PreparedOpening(self._late_gamma(index, count), cut)
            case RectifyStep():
                rectified = rectify.prepare(index, party, masks[0], stream, correction)
                self._masks[index] = rectified.mask
                return rectified
            case PositiveStep():
                compared = positive.prepare(index, party, count, stream, correction)
                self._masks[index] = compared.mask
                return compared
            case OutputStep():
                return output.prepare(index, party, count, stream, correction)
            case BiasStep():
                return None
            case _ if isinstance(step, TailStep):
                part, lam = prepare_tail(index, step, party, self.batch, masks, stream, correction)
                if lam is not None:
                    self._masks[index] = lam
                return part
            case _:
                if self.plan.kinds[index] == "masked":
                    self._masks[index] = moves.apply(step, self.batch, masks, fill=False)
                return None

    def _opened(self, index: int, share: Ring) -> Ring:
        """A linear step's prepared share, with γ_j of the step that opens it, if there is one."""
        reader = self._early.get(index)
        if reader is not None:
            share += opening.draw(reader, share.size, self._stream)
        return share

    def _late_gamma(self, index: int, count: int) -> Ring | None:
        """γ_j of a step whose source cannot have it beforehand."""
        if index in self._early.values():
            return None
        return opening.draw(index, count, self._stream)
