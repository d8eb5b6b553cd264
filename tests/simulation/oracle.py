"""What must be true of answers and models, whatever happens: known from what was asked and
acknowledged, not from the code under test."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray


class Violation(Exception):
    """A promise was broken."""


@dataclass(frozen=True)
class Stored:
    """A model under a name."""

    model: str  # digest, hex
    serving: bool
    limit: int | None


#: how a name may be: a model, or none
Condition = Stored | None


@dataclass(eq=False)
class Order:
    """Something an owner has asked for, as the change that it makes; ``None``: not possible."""

    what: str
    model: str
    change: Callable[[Condition], Condition | str]
    before: frozenset[Condition] = frozenset()


NOT_POSSIBLE = "not possible"


@dataclass(eq=False)
class Watch:
    """All conditions that a name may have had while something was going on."""

    seen: set[Condition]


class Name:
    """One model name: the conditions that it may be in, given what was acknowledged and what not.

    An order that failed may still be carried out, then or later: by a gateway that goes on, by
    parties that tell each other, by somebody who plays a signed push again. One that was
    acknowledged has been carried out by all three, so nothing from before it is possible any more.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.possible: set[Condition] = {None}
        self._loose: list[Order] = []  # not acknowledged
        self._watches: set[Watch] = set()

    def begin(self, order: Order) -> None:
        """An order is on its way."""
        order.before = frozenset(self.possible)
        self._loose.append(order)
        self._spread()

    def acknowledged(self, order: Order) -> None:
        """It has been carried out by all three."""
        self._loose.remove(order)
        # A command that all three have obeyed makes all older ones for its model void.
        if order.what != "push":
            self._loose = [o for o in self._loose if o.what == "push" or o.model != order.model]
        after = {order.change(condition) for condition in order.before}
        self.possible = {c for c in after if not isinstance(c, str)}
        if not self.possible:
            raise Violation(f"{order.what} of {self.name} was acknowledged and cannot have been")
        self._spread()

    def _spread(self) -> None:
        while True:
            reached = {o.change(c) for o in self._loose for c in self.possible}
            new = {c for c in reached if not isinstance(c, str)} - self.possible
            self.possible |= new
            for watch in self._watches:
                watch.seen |= self.possible
            if not new:
                return

    def watch(self) -> Watch:
        watch = Watch(set(self.possible))
        self._watches.add(watch)
        return watch

    def done(self, watch: Watch) -> set[Condition]:
        self._watches.discard(watch)
        return watch.seen


@dataclass
class Oracle:
    """All names, and which network is behind which digest."""

    names: dict[str, Name] = field(default_factory=dict)
    variants: dict[str, int] = field(default_factory=dict)  # by digest

    def name(self, name: str) -> Name:
        return self.names.setdefault(name, Name(name))

    # ---- orders

    def push(
        self, name: str, model: str, replaces: str | None, serve: bool, limit: int | None
    ) -> Order:
        def change(condition: Condition) -> Condition | str:
            now = condition.model if condition is not None else None
            if model == now:
                return condition
            return Stored(model, serve, limit) if now == replaces else NOT_POSSIBLE

        order = Order("push", model, change)
        self.name(name).begin(order)
        return order

    def command(self, name: str, model: str, action: str, limit: int | None) -> Order:
        def change(condition: Condition) -> Condition | str:
            if condition is None or condition.model != model:
                # What is gone already, replaced perhaps, is deleted with nothing done.
                return condition if action == "delete" else NOT_POSSIBLE
            if action == "delete":
                return None
            serving = action == "serve"
            return Stored(model, serving, limit if serving else condition.limit)

        order = Order(action, model, change)
        self.name(name).begin(order)
        return order

    # ---- answers

    def check_answer(
        self,
        seen: set[Condition],
        answer: NDArray[np.float64],
        references: list[NDArray[np.float64]],
    ) -> None:
        """An answer must be that of a model which may have been served meanwhile."""
        fitting = [
            c
            for c in seen
            if c is not None
            and c.serving
            and np.array_equal(references[self.variants[c.model]], answer)
        ]
        if fitting:
            return
        which = [v for v, reference in enumerate(references) if np.array_equal(reference, answer)]
        if which:
            raise Violation(f"an answer of network {which[0]}, which is not served: {seen}")
        raise Violation("a wrong answer")
