"""Plans that answer with less than the logits: derived alike by everybody, and right."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from libmpc import answers, fixedpoint, outputs
from libmpc.errors import InputError, ModelError, RangeError
from libmpc.graph.plan import (
    AddStep,
    DenseStep,
    InputStep,
    LabelsStep,
    MaskStep,
    MatchStep,
    OutputBitsStep,
    OutputStep,
    PermuteStep,
    Plan,
    TopStep,
)
from libmpc.graph.ranges.analysis import RangeReport
from libmpc.graph.ranges.outputs import check_output, fits
from libmpc.graph.ranges.span import Span
from libmpc.graph.reference import run_reference
from libmpc.graph.tail import check_own, with_output
from libmpc.runtime import Simulation

PLAIN = ("logits", "label", "topk:1", "topk:2", "scores:16", "scores:5", "scores:0")
LABEL_OF_TEN = "458ce594d2b2afb4bf3e6780b0bc6446208679983144b61e3ded179b71dc39d0"
CLIPPED = ("scores:16:-4.0:4.25", "scores:3:-1.5:2.0", "scores:0:-1.0:1.0")


def dense(classes: int, inputs: int = 3) -> Plan:
    return Plan(
        steps=(
            InputStep(shape=(inputs,)),
            DenseStep(source=0, inputs=inputs, outputs=classes),
            OutputStep(source=1, shape=(classes,)),
        )
    )


def exactly(
    logits: np.ndarray,
) -> tuple[Plan, dict[int, tuple[np.ndarray, np.ndarray]], np.ndarray]:
    """A network, weights and inputs whose logits, integers at scale 2^32, are these (batch, n)."""
    batch, classes = logits.shape
    plan = dense(classes, 2 * batch)
    # The input picks a row of a high and of a low part: 2^16·high + low.
    weights = np.concatenate((logits >> 16, logits & 0xFFFF)).view(np.uint64)
    x = np.zeros((batch, 2 * batch), np.uint64)
    x[np.arange(batch), np.arange(batch)] = 2**16
    x[np.arange(batch), batch + np.arange(batch)] = 1
    return plan, {1: (weights, np.zeros(classes, np.uint64))}, x


def some_logits(seed: int, batch: int, classes: int) -> np.ndarray:
    """Of all magnitudes within ±2^46, with many ties."""
    rng = np.random.default_rng(seed)
    values = rng.integers(-(2**46), 2**46, (batch, classes)) >> rng.integers(0, 46, (batch, 1))
    return np.where(rng.random(values.shape) < 0.3, values[:, :1], values)


@settings(max_examples=60, deadline=None)
@given(st.integers(2, 70), st.integers(0, 2**32), st.sampled_from((*PLAIN, *CLIPPED)))
def test_the_reference_means_what_numpy_means(classes: int, seed: int, text: str) -> None:
    logits = some_logits(seed, 4, classes)
    plan, weights, x = exactly(logits)
    kind = outputs.parse(text)
    found = run_reference(with_output(plan, kind), weights, x)
    wanted = answers.plain(kind, np.ldexp(logits.astype(np.float64), -32))
    assert np.array_equal(answers.combine(kind, found, np.zeros_like(found)), wanted)


@pytest.mark.parametrize("classes", [2, 10, 33, 64])
def test_counts_are_those_of_numpy(classes: int) -> None:
    logits = some_logits(classes, 50, classes)
    plan, weights, x = exactly(logits)
    labels = np.random.default_rng(1).integers(0, classes, 50)
    labels[:20] = logits[:20].argmax(axis=1)
    digits = answers.label_digits(labels, classes)
    hits = run_reference(with_output(plan, outputs.parse("count")), weights, x, digits)
    assert hits.sum() == (logits.argmax(axis=1) == labels).sum() >= 20
    cells = run_reference(with_output(plan, outputs.parse("confusion")), weights, x, digits)
    wanted = np.zeros((classes, classes), np.int64)
    np.add.at(wanted, (labels, logits.argmax(axis=1)), 1)
    assert np.array_equal(cells.sum(axis=0), wanted)
    with pytest.raises(InputError, match="labels"):
        run_reference(with_output(plan, outputs.parse("count")), weights, x)


@pytest.mark.parametrize("classes", [1000, 4096])
def test_many_classes(classes: int) -> None:
    logits = some_logits(classes, 3, classes)
    logits[0] = 0
    logits[1, [700, 701, 999]] = 2**46 - 1
    plan, weights, x = exactly(logits)
    for text in ("label", "topk:5", "topk:16"):
        kind = outputs.parse(text)
        found = run_reference(with_output(plan, kind), weights, x)
        wanted = answers.plain(kind, logits.astype(np.float64))
        assert np.array_equal(answers.combine(kind, found, np.zeros_like(found)), wanted)


def test_a_variant_has_a_digest_of_its_own() -> None:
    plan = dense(10)
    texts = (*PLAIN, *CLIPPED, "count", "confusion")
    variants = {text: with_output(plan, outputs.parse(text)) for text in texts}
    assert variants["logits"] is plan
    assert variants["topk:1"] == variants["label"]  # the same question
    assert len({variant.digest for variant in variants.values()}) == len(texts) - 1
    for text, variant in variants.items():
        assert with_output(dense(10), outputs.parse(text)).digest == variant.digest
        assert Plan.from_json(variant.to_json()) == variant
        # Weights belong to the same steps.
        assert variant.linear_steps == plan.linear_steps
    # The same at every party of every build: another digest is another protocol.
    assert variants["label"].digest.hex() == LABEL_OF_TEN


def test_a_model_cannot_bring_a_tail_of_its_own() -> None:
    plan = with_output(dense(10), outputs.parse("label"))
    with pytest.raises(ModelError, match="ends with its logits"):
        check_own(plan)
    with pytest.raises(ModelError, match="ends with its logits"):
        with_output(plan, outputs.parse("label"))
    check_own(dense(10))


def test_outputs_that_have_no_labels() -> None:
    square = Plan(
        steps=(
            InputStep(shape=(2, 3)),
            DenseStep(source=0, rows=2, inputs=3, outputs=3),
            OutputStep(source=1, shape=(2, 3)),
        )
    )
    for plan in (square, dense(1), dense(4097)):
        with pytest.raises(ModelError, match="labels need one row"):
            with_output(plan, outputs.parse("label"))
        with_output(plan, outputs.parse("scores:4:-1.0:1.0"))
    with pytest.raises(ModelError, match="fewer than the 3"):
        with_output(dense(2), outputs.parse("topk:3"))
    with pytest.raises(ModelError, match="at most 64"):
        with_output(dense(65), outputs.parse("confusion"))


def test_the_kinds_of_values_are_checked() -> None:
    first = (InputStep(shape=(4,)), DenseStep(source=0, inputs=4, outputs=4))
    masked = (*first, MaskStep(source=1, shape=(4,)))
    bits = (*masked, TopStep(source=2, candidates=4))
    labels = (*bits, LabelsStep(width=4))

    def leave(source: int) -> OutputBitsStep:
        return OutputBitsStep(source=source, numbers=4, width=1)

    match = MatchStep(inputs=(3, 4), width=4)
    wrong = [
        (*first, TopStep(source=1, candidates=4), leave(2)),
        (*masked, leave(2)),
        (*bits, OutputStep(source=3, shape=(4,))),
        (*bits, AddStep(inputs=(3, 3), coefficients=(1, 1), shape=(4,)), leave(4)),
        (*bits, PermuteStep(source=3, shape=(4,), order=(0,)), leave(4)),
        (*labels, match, leave(5)),
        (*labels, LabelsStep(width=4), match, MatchStep(inputs=(3, 5), width=4), leave(6)),
    ]
    for steps in wrong:
        with pytest.raises(ValidationError):
            Plan(steps=steps)
    Plan(steps=(*bits, leave(3)))
    Plan(steps=(*labels, match, OutputStep(source=5, shape=(1,))))


@pytest.mark.parametrize(
    "form", [(4, 5, 1), (4, 2, 3), (65, 1, 1), (4097, 128, 1), (0, 1, 1), (4, 1, 65)]
)
def test_groups_that_do_not_fit(form: tuple[int, int, int]) -> None:
    candidates, groups, keep = form
    with pytest.raises(ValidationError):
        TopStep(source=0, candidates=candidates, groups=groups, keep=keep)


def report(low: float, high: float) -> RangeReport:
    return RangeReport("proven", 1.0, 0, {1: Span(low, high)})


def test_the_range_of_logits_decides() -> None:
    label, scores, logits = (outputs.parse(t) for t in ("label", "scores:8", "logits"))
    plan = dense(10)
    check_output(plan, report(-(2.0**46), 2.0**46 - 1), label)
    check_output(plan, report(-(2.0**46), 2.0**46), scores)
    check_output(plan, RangeReport("proven", 1.0, 0, {}), logits)
    check_output(plan, report(0.0, 2.0**47 - 1), label)
    for span, kind in (
        ((-(2.0**46), 2.0**46), label),
        ((-(2.0**46) - 1, 0.0), scores),
        ((0.0, 2.0**46 + 1), scores),
    ):
        with pytest.raises(RangeError, match="must lie within -16384 to 16384"):
            check_output(plan, report(*span), kind)
        assert not fits(Span(*span), kind)


def test_the_range_is_sharp() -> None:
    """One more between two logits, and the index is another one."""
    label = outputs.parse("label")
    for top, right in ((2**46 - 1, True), (2**46, False)):
        logits = np.array([[top, -(2**46)]])
        plan, weights, x = exactly(logits)
        found = Simulation(with_output(plan, label), weights).query(x)
        assert (answers.combine(label, found, np.zeros_like(found)) == 0) == right
        assert fits(Span(-(2.0**46), float(top)), label) == right


def simulate(
    plan: Plan, weights: dict[int, tuple[np.ndarray, np.ndarray]], x: np.ndarray
) -> np.ndarray:
    from libmpc.runtime import Simulation

    return Simulation(plan, weights).query(x)


def test_decoded_logits_are_what_a_query_returns() -> None:
    logits = some_logits(0, 5, 7)
    plan, weights, x = exactly(logits)
    assert np.array_equal(
        fixedpoint.decode(run_reference(plan, weights, x), 32), np.ldexp(logits.astype(float), -32)
    )
