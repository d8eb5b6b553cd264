"""Bundles: an evaluator's correlated randomness for one run, good for one use."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from libmpc.graph.plan import Plan
from libmpc.prg import MaskReuseError
from libmpc.runtime.preparer import Prepared


class Randomness(Protocol):
    """What is inside a bundle, handed out step by step, in order."""

    async def take(self, step: int) -> Prepared | None:
        """One step's randomness, once; waits until it is there. ``None``: the step needs none."""
        ...

    def used(self, step: int) -> None:
        """The step has been computed, so what it took is gone."""
        ...

    async def aclose(self) -> None:
        """Drop what is left."""
        ...


class Bundle(Protocol):
    """What ``evaluate`` runs on.

    Attributes:
        party: the evaluator, 0 or 1.
        batch: samples in the run.
        plan: what it was made for.
    """

    party: int
    batch: int
    plan: Plan

    def take(self) -> Randomness:
        """The content, once; ``MaskReuseError`` after that."""
        ...


class Once:
    """The content of a bundle, which can be taken once."""

    def __init__(self, content: Randomness) -> None:
        self._content = [content]

    def __bool__(self) -> bool:
        return bool(self._content)

    def take(self) -> Randomness:
        """The content.

        Raises:
            MaskReuseError: it was taken before.
        """
        # SECURITY: a second run under the same masks gives one evaluator the weights. ``pop`` is
        # one step for all threads.
        try:
            return self._content.pop()
        except IndexError:
            raise MaskReuseError("a bundle is good for one run; take a new one") from None


class PreparedBundle:
    """Holds all of a run's randomness until somebody takes it; then it is gone.

    Attributes:
        nbytes: memory held until it is taken.
    """

    def __init__(self, party: int, batch: int, plan: Plan, parts: Mapping[int, Prepared]) -> None:
        self.party = party
        self.batch = batch
        self.plan = plan
        self.nbytes = sum(part.nbytes for part in parts.values())
        self._once = Once(_Ready(dict(parts)))

    def __repr__(self) -> str:
        state = "unused" if self._once else "used"
        return f"<PreparedBundle of party {self.party}, batch {self.batch}, {state}>"

    def take(self) -> Randomness:
        """The randomness, once.

        Raises:
            MaskReuseError: it was taken before.
        """
        return self._once.take()


class _Ready:
    """All of it is there; every part goes as soon as it has been used."""

    def __init__(self, parts: dict[int, Prepared]) -> None:
        self._parts = parts

    def __repr__(self) -> str:
        return f"Randomness(steps={sorted(self._parts)})"

    async def take(self, step: int) -> Prepared | None:
        return self._parts.pop(step, None)

    def used(self, step: int) -> None:
        pass

    async def aclose(self) -> None:
        self._parts.clear()
