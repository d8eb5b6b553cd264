"""A prepared bundle: an evaluator's correlated randomness for one run, good for one use."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from libmpc.graph.plan import Plan
from libmpc.prg import MaskReuseError
from libmpc.protocol.relu import PreparedRelu

Ring = NDArray[np.uint64]


@dataclass(frozen=True, eq=False, repr=False)
class Randomness:
    """What is inside, by step.

    Attributes:
        masks: λ_xj of the input.
        linear: all of [z]_j that does not depend on the input, opening mask included.
        relus: tables, arithmetic shares and own masks.
    """

    masks: Mapping[int, Ring]
    linear: Mapping[int, Ring]
    relus: Mapping[int, PreparedRelu]

    def __repr__(self) -> str:
        return f"Randomness(steps={sorted({*self.masks, *self.linear, *self.relus})})"


class PreparedBundle:
    """Holds the randomness until somebody takes it; then it is gone.

    Attributes:
        party: the evaluator, 0 or 1.
        batch: samples in the run.
        plan: what it was prepared for.
        nbytes: memory held until it is taken.
    """

    def __init__(self, party: int, batch: int, plan: Plan, randomness: Randomness) -> None:
        self.party = party
        self.batch = batch
        self.plan = plan
        self.nbytes = (
            sum(mask.nbytes for mask in randomness.masks.values())
            + sum(part.nbytes for part in randomness.linear.values())
            + sum(relu.nbytes for relu in randomness.relus.values())
        )
        self._content = [randomness]

    def __repr__(self) -> str:
        state = "unused" if self._content else "used"
        return f"<PreparedBundle of party {self.party}, batch {self.batch}, {state}>"

    def take(self) -> Randomness:
        """The randomness, once.

        Raises:
            MaskReuseError: it was taken before.
        """
        # SECURITY: a second run under the same masks gives one evaluator the weights. ``pop`` is
        # one step for all threads.
        try:
            return self._content.pop()
        except IndexError:
            raise MaskReuseError("a bundle is good for one run; take a new one") from None
