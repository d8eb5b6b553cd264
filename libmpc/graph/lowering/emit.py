"""The steps so far, and the ways between the two kinds of value."""

from __future__ import annotations

from pydantic import ValidationError

from libmpc.errors import ModelError
from libmpc.graph.lowering.prune import rewired
from libmpc.graph.nodes import Floats, Shape
from libmpc.graph.plan import (
    MAX_STEPS,
    AddStep,
    ConcatStep,
    ExpandStep,
    Kind,
    LiftStep,
    LinearStep,
    PadStep,
    PermuteStep,
    SliceStep,
    Step,
    TruncateStep,
)

_TERMS = 64  # of one add step
_MOVES = (PermuteStep, SliceStep, PadStep, ConcatStep, ExpandStep)


class Emitter:
    """Collects steps; a step without constants that is there already is not made again.

    Attributes:
        steps: in order; some may turn out to be read by nobody (``finish`` drops them).
        names: the layers that each step does.
        weights: float64 constants of linear steps, by index.
    """

    def __init__(self) -> None:
        self.steps: list[Step] = []
        self.names: list[str] = []
        self.weights: dict[int, tuple[Floats, Floats]] = {}
        self._kinds: list[Kind] = []
        self._made: dict[Step, int] = {}

    def put(self, step: Step, name: str) -> int:
        """Append a step without constants, or find it; returns its index."""
        found = self._made.get(step)
        if found is None:
            found = self._made[step] = self._append(step, name)
        return found

    def linear(self, step: LinearStep, name: str, weights: Floats, bias: Floats) -> int:
        """Append a step with constants."""
        index = self._append(step, name)
        self.weights[index] = (weights, bias)
        return index

    def kind(self, index: int) -> Kind:
        """How a step's value is held."""
        return self._kinds[index]

    def shape(self, index: int) -> Shape:
        """The shape of a step's value."""
        return self.steps[index].output_shape

    def additive(self, index: int, name: str) -> int:
        """The same value at scale 2^32."""
        if self.kind(index) == "additive":
            return index
        return self.put(LiftStep(source=index, shape=self.shape(index)), name)

    def masked(self, index: int, name: str) -> int:
        """The same value at scale 2^16, rounded down where it has to be.

        Rounding and moving may change places: what repeats or pads is rounded before it does, and
        what was put together of values that are there at scale 2^16 is put together of these.
        """
        made: dict[int, int] = {}
        for at in sorted(self._redone(index)):
            step = self.steps[at]
            if self.kind(at) == "masked":
                made[at] = at
            elif isinstance(step, LiftStep):
                made[at] = step.source
            elif self._moves(at):
                made[at] = self.put(rewired(step, made), self.names[at])
            else:
                made[at] = self.put(TruncateStep(source=at, shape=self.shape(at)), name)
        return made[index]

    def is_masked(self, index: int) -> bool:
        """Whether ``masked`` needs no message."""
        pending, seen = [index], {index}
        while pending:
            at = pending.pop()
            if self._stands(at):
                continue
            step = self.steps[at]
            if not isinstance(step, _MOVES):
                return False
            pending += set(step.reads) - seen
            seen.update(step.reads)
        return True

    def add(self, inputs: list[int], coefficients: list[int], shape: Shape, name: str) -> int:
        """The sum of values of one kind, each times an integer."""
        while len(inputs) > _TERMS:
            first = self.add(inputs[:_TERMS], coefficients[:_TERMS], shape, name)
            inputs, coefficients = [first, *inputs[_TERMS:]], [1, *coefficients[_TERMS:]]
        if coefficients == [1]:
            return inputs[0]
        step = AddStep(inputs=tuple(inputs), coefficients=tuple(coefficients), shape=shape)
        return self.put(step, name)

    def _stands(self, index: int) -> bool:
        """Whether the value is there at scale 2^16."""
        if self.kind(index) == "masked" or isinstance(self.steps[index], LiftStep):
            return True
        return TruncateStep(source=index, shape=self.shape(index)) in self._made

    def _redone(self, index: int) -> set[int]:
        """The moves that are done again on rounded values, and what they begin with."""
        found, pending = {index}, [index]
        while pending:
            at = pending.pop()
            if self._moves(at):
                pending += set(self.steps[at].reads) - found
                found.update(self.steps[at].reads)
        return found

    def _moves(self, index: int) -> bool:
        """Whether rounding is to be done before this step and not after it."""
        step = self.steps[index]
        if self._stands(index):
            return False
        if isinstance(step, (PermuteStep, PadStep, ExpandStep)):
            return True
        if isinstance(step, ConcatStep):
            return any(self.is_masked(source) for source in set(step.reads))
        return isinstance(step, SliceStep) and self.is_masked(step.source)

    def _append(self, step: Step, name: str) -> int:
        if len(self.steps) >= MAX_STEPS:
            raise ModelError(
                f"layer {name!r}: the model becomes more than {MAX_STEPS} steps; make it smaller"
            )
        self.steps.append(step)
        self.names.append(name)
        self._kinds.append(step.makes or self._kinds[step.reads[0]])
        return len(self.steps) - 1


def plan_error(error: ValidationError, name: str = "") -> ModelError:
    """What pydantic found, in the owner's words."""
    first = error.errors(include_input=False, include_url=False)[0]
    where = f"layer {name!r}: " if name else ""
    return ModelError(f"{where}the model is beyond what a plan may have: {first['msg']}")
