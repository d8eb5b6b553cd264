"""Plans that answer with less than the logits: a model's plan, and a tail in place of its output.

A variant is a function of the model's plan and the output kind alone, so every party derives the
same one; it has a digest of its own.
"""

from __future__ import annotations

from typing import Any

from libmpc.errors import ModelError
from libmpc.graph.plan import (
    AddStep,
    ConcatStep,
    IndexStep,
    LabelsStep,
    MaskStep,
    MatchStep,
    OffsetStep,
    OutputBitsStep,
    OutputStep,
    PickBitsStep,
    PickStep,
    Plan,
    RectifyStep,
    ShiftStep,
    SliceStep,
    Step,
    TailStep,
    TallyStep,
    TopStep,
    TruncateStep,
    label_bits,
)
from libmpc.graph.plan.tail import MAX_TALLY_BITS
from libmpc.outputs import MAX_CANDIDATES, OutputKind

GROUP = 32
"""Candidates that are compared all at once, if not more are needed for the winners asked for."""


def with_output(plan: Plan, kind: OutputKind) -> Plan:
    """The model's plan with another output; for ``logits`` the plan itself.

    Raises:
        ModelError: the model's output does not allow it: it is not a single row of 2 to 4096
            values, or has fewer of them than are asked for, or more than 64 at ``confusion``.
    """
    check_own(plan)
    if kind.name == "logits":
        return plan
    draft = _Draft(plan)
    if kind.name == "scores":
        draft.scores(kind.bits, kind.clip)
    else:
        draft.indices(classes_of(plan), kind.k if kind.name == "topk" else 1)
        if kind.takes_labels:
            draft.compare(kind.name == "confusion")
        else:
            draft.leave()
    return Plan(steps=tuple(draft.steps))


def check_own(plan: Plan) -> None:
    """Whether a plan is a model's own.

    Raises:
        ModelError: it has steps that only a derived plan may have.
    """
    if any(isinstance(step, TailStep) for step in plan.steps):
        raise ModelError("a model's plan ends with its logits; the output is chosen by a query")


def classes_of(plan: Plan) -> int:
    """How many values are compared.

    Raises:
        ModelError: the output is not a single row of 2 to 4096 values.
    """
    classes = plan.output_shape[-1]
    if classes != plan.steps[-1].size or not 2 <= classes <= MAX_CANDIDATES:
        raise ModelError(
            f"the model's output has the shape {plan.output_shape}; labels need one row of 2 to "
            f"{MAX_CANDIDATES} values"
        )
    return classes


class _Draft:
    """The steps so far; ``steps[-1]`` is what the next one reads."""

    def __init__(self, plan: Plan) -> None:
        last = plan.steps[-1]
        assert isinstance(last, OutputStep)
        self.shape = last.shape
        self.steps: list[Step] = list(plan.steps[:-1])
        self.at = last.source
        self.width = 0

    def add(self, step: Step) -> int:
        """Its index."""
        self.steps.append(step)
        self.at = len(self.steps) - 1
        return self.at

    def indices(self, classes: int, keep: int) -> None:
        """Bits of the indices of the ``keep`` largest."""
        if keep > classes:
            raise ModelError(f"the model has {classes} outputs, fewer than the {keep} asked for")
        self.width = label_bits(classes)
        values = self.add(MaskStep(source=self.at, shape=self.shape))
        words = -1  # bits of the candidates' indices, behind the first level
        count, limit = classes, max(GROUP, 4 * keep)
        while True:
            groups = -(-count // limit)
            form: dict[str, Any] = {"candidates": count, "groups": groups, "keep": keep}
            one_hot = self.add(TopStep(source=values, **form))
            if groups > 1:  # the winners meet again
                values = self.add(PickStep(inputs=(one_hot, values), **form))
            if words < 0:
                words = self.add(IndexStep(source=one_hot, **form))
            else:
                pair = (one_hot, words)
                words = self.add(PickBitsStep(inputs=pair, width=self.width, **form))
            if groups == 1:
                return
            count = groups * keep

    def leave(self) -> None:
        """Bits go to the client."""
        numbers = self.steps[self.at].size // self.width
        self.add(OutputBitsStep(source=self.at, numbers=numbers, width=self.width))

    def compare(self, by_class: bool) -> None:
        """The index with the sample's label."""
        index = self.at
        labels = self.add(LabelsStep(width=self.width))
        if by_class:
            self._tally((labels, index))
        else:
            self.add(MatchStep(inputs=(labels, index), width=self.width))
        self.add(OutputStep(source=self.at, shape=self.steps[self.at].output_shape))

    def _tally(self, inputs: tuple[int, int]) -> None:
        classes = next(s.candidates for s in self.steps if isinstance(s, TopStep))
        if label_bits(classes) > MAX_TALLY_BITS:
            raise ModelError(f"a confusion matrix has at most {1 << MAX_TALLY_BITS} classes")
        self.add(TallyStep(inputs=inputs, classes=classes))

    def scores(self, bits: int, clip: tuple[int, int] | None) -> None:
        """Rounded down to 16 fraction bits, then to fewer, then clipped, in units of 2^−bits."""
        shape, count = self.shape, self.steps[self.at].size
        self.add(TruncateStep(source=self.at, shape=shape))
        if bits < 16:
            self.add(ShiftStep(source=self.at, shape=shape, bits=bits))
            self.add(TruncateStep(source=self.at, shape=shape))
        if clip is not None:
            low, high = clip
            rounded = self.at
            over_low = self.add(OffsetStep(source=rounded, shape=(count,), value=-low))
            over_high = self.add(OffsetStep(source=rounded, shape=(count,), value=-high))
            pair = (over_low, over_high)
            self.add(ConcatStep(inputs=pair, shapes=((count,), (count,)), axis=0))
            both = self.add(RectifyStep(source=self.at, shape=(2 * count,)))
            first, second = (
                self.add(
                    SliceStep(
                        source=both,
                        shape=(2 * count,),
                        starts=(start,),
                        sizes=(count,),
                        strides=(1,),
                    )
                )
                for start in (0, count)
            )
            self.add(AddStep(inputs=(first, second), coefficients=(1, -1), shape=(count,)))
            self.add(OffsetStep(source=self.at, shape=shape, value=low))
        self.add(ShiftStep(source=self.at, shape=shape, bits=32 - bits))
        self.add(OutputStep(source=self.at, shape=shape))
