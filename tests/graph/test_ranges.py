"""Proven, calibrated or refused."""

from __future__ import annotations

import warnings

import numpy as np
import pytest

from libmpc.errors import InputError, RangeError
from libmpc.graph.builder import GraphBuilder
from libmpc.graph.encoding import encode_weights
from libmpc.graph.lowering import Lowered, lower
from libmpc.graph.model import build_model
from libmpc.graph.nodes import Graph
from libmpc.graph.plan import (
    AddStep,
    BiasStep,
    InputStep,
    LiftStep,
    OutputStep,
    Plan,
    PositiveStep,
    RectifyStep,
    ReluStep,
    Step,
    TruncateStep,
)
from libmpc.graph.ranges import (
    RangeReport,
    RangeWarning,
    Span,
    analyse,
    limits,
    observe,
    prove,
    random_inputs,
)

UNIT = 2.0**-32
ONE = 1 << 16


def one_weight(weight: float, bias: float = 0.0, relu: bool = True) -> Lowered:
    """z = weight * x + bias, into a ReLU or straight out."""
    b = GraphBuilder((1,), "x")
    z = b.dense("heavy", "x", np.array([[weight]]), np.array([bias]))
    if relu:
        z = b.dense("light", b.relu("r", z), np.zeros((1, 1)))
    return lower(b.graph(z))


def status(lowered: Lowered, low: int, high: int, proof: bool = True) -> str:
    plan, weights = lowered.plan, encode_weights(lowered)
    return analyse(plan, lowered.names, weights, (low, high), require_proof=proof).status


def ends_of(kind: type[Step]) -> tuple[int, int]:
    return {
        ReluStep: (-(2**47) + 2**16, 2**47),
        OutputStep: (-(2**47), 2**47 - 1),
        TruncateStep: (-(2**46), 2**46),
        RectifyStep: (-(2**31) + 1, 2**31),
        PositiveStep: (-(2**31) + 1, 2**31),
    }[kind]


@pytest.mark.parametrize("kind", [ReluStep, OutputStep])
def test_both_ends_are_sharp(kind: type[Step]) -> None:
    # z = x·1 + b with b at scale 2^32 gives every integer; x is 0 or the largest it may be.
    low, high = ends_of(kind)
    relu = kind is ReluStep
    top = high - (1 << 46)
    lowered = one_weight(2.0**30, top * UNIT, relu)  # x = 2^-16 adds 2^46
    assert status(lowered, 0, 1) == "proven"
    with pytest.raises(RangeError, match="'heavy': the range is not proven"):
        status(one_weight(2.0**30, (top + 1) * UNIT, relu), 0, 1)
    bottom = low + (1 << 46)
    assert status(one_weight(-(2.0**30), bottom * UNIT, relu), 0, 1) == "proven"
    with pytest.raises(RangeError, match="not proven"):
        status(one_weight(-(2.0**30), (bottom - 1) * UNIT, relu), 0, 1)


@pytest.mark.parametrize("kind", [ReluStep, TruncateStep, RectifyStep, PositiveStep, OutputStep])
@pytest.mark.parametrize("end", [0, 1])
def test_every_readers_limits_are_sharp(kind: type[Step], end: int) -> None:
    limit = ends_of(kind)[end]
    masked = kind in (RectifyStep, PositiveStep)
    base, rest = (limit, 0) if masked else divmod(limit, 2**16)
    steps: list[Step] = [InputStep(shape=(1,))]
    weights = {}
    if not masked:
        steps.append(LiftStep(source=0, shape=(1,)))
        steps.append(BiasStep(source=1, shape=(1,), factor_shape=(1,)))
        weights[2] = (np.zeros(0, np.uint64), np.array([rest], np.int64).view(np.uint64))
    index = len(steps) - 1
    if kind is not OutputStep:
        steps.append(kind(source=index, shape=(1,)))  # type: ignore[call-arg]
        steps.append(PositiveStep(source=index + 1, shape=(1,)))
        steps.append(LiftStep(source=index + 2, shape=(1,)))
    steps.append(OutputStep(source=len(steps) - 1, shape=(1,)))
    plan = Plan(steps=tuple(steps))
    outwards = 1 if end else -1
    proof = prove(plan, weights, (base, base))
    assert proof.failed is None
    assert proof.spans[index] == Span(limit, limit, 16 if masked else 32)
    assert proof.margin == pytest.approx(1, rel=1e-4)
    if masked:
        assert prove(plan, weights, (base + outwards,) * 2).failed == index
    else:
        weights[2] = (weights[2][0], weights[2][1] + np.uint64(outwards % 2**64))
        assert prove(plan, weights, (base, base)).failed == index


def test_a_value_with_several_readers_has_all_their_limits() -> None:
    steps = (
        InputStep(shape=(1,)),
        LiftStep(source=0, shape=(1,)),
        TruncateStep(source=1, shape=(1,)),
        ReluStep(source=1, shape=(1,)),
        RectifyStep(source=2, shape=(1,)),
        RectifyStep(source=3, shape=(1,)),
    )
    last = (
        AddStep(inputs=(4, 5), coefficients=(1, 1), shape=(1,)),
        LiftStep(source=6, shape=(1,)),
        OutputStep(source=7, shape=(1,)),
    )
    found = limits(Plan(steps=(*steps, *last)))
    masked = Span(-(2.0**31) + 1, 2.0**31, 16)
    assert found == {
        1: Span(-(2.0**46), 2.0**46),
        2: masked,
        3: masked,
        7: Span(-(2.0**47), 2.0**47 - 1),
    }


def cancelling(size: float, bias: float) -> Lowered:
    """u·(x + bias) - u·x, which intervals cannot see."""
    b = GraphBuilder((1,), "x")
    both = b.dense("both", "x", np.array([[1.0, 1.0]]), np.array([bias, 0.0]))
    return lower(b.graph(b.dense("minus", b.relu("r", both), np.array([[size], [-size]]))))


def by_intervals(lowered: Lowered, proof: bool = False) -> str:
    plan, weights = lowered.plan, encode_weights(lowered)
    options = {"require_proof": proof, "time_limit": 0.0}
    return analyse(plan, lowered.names, weights, (0, ONE), **options).status  # type: ignore[arg-type]


def test_samples_must_stay_a_factor_of_sixteen_below() -> None:
    with pytest.warns(RangeWarning, match="'minus' is not proven.*factor of 16 below"):
        assert by_intervals(cancelling(2.0**16, 2.0**-5 - 2.0**-16)) == "calibrated"
    with pytest.raises(RangeError, match="'minus'.*factor of 16.*2048.*typical inputs"):
        by_intervals(cancelling(2.0**16, 2.0**-5))
    with pytest.raises(RangeError, match="'minus'.*not proven.*or do without the proof"):
        by_intervals(cancelling(2.0**16, 0.0), proof=True)
    # Linear relaxation does see it.
    assert status(cancelling(2.0**16, 2.0**-5), 0, ONE) == "proven"


def test_refused_where_samples_leave_the_range() -> None:
    with pytest.raises(RangeError, match=r"'heavy': its values reach 0 to 65536 on random samples"):
        status(one_weight(65536.0), 0, ONE, proof=False)
    # Far beyond what float64 holds exactly.
    with pytest.raises(RangeError, match="'heavy'"):
        status(one_weight(2.0**30), -(2**46), 2**46, proof=False)
    with pytest.raises(RangeError, match="'heavy'"):
        status(one_weight(2.0**30), -(2**46), 2**46)


def test_sums_beyond_what_float64_holds_are_widened() -> None:
    # The two products cancel, but each is beyond 2^53: a sum like this may have been rounded.
    b = GraphBuilder((2,), "x")
    lowered = lower(b.graph(b.dense("d", "x", np.array([[2.0**20], [-(2.0**20)]]))))
    weights = encode_weights(lowered)
    exact = prove(lowered.plan, weights, (1 << 10, 1 << 10)).spans
    assert list(exact.values()) == [Span(0, 0)]
    [span] = prove(lowered.plan, weights, (1 << 18, 1 << 18)).spans.values()
    assert -(2**10) < span.low < 0 < span.high < 2**10


def test_given_samples_decide() -> None:
    b = GraphBuilder((3,), "x")
    graph = b.graph(b.dense("sum", "x", np.full((3, 1), 20000.0)))
    with pytest.raises(RangeError, match="'sum'.*give typical inputs"):
        build_model(graph, (0, 1))
    with pytest.warns(RangeWarning, match="on 2 given samples.*'sum'.* is a factor of 16.4"):
        model = build_model(graph, (0, 1), calibration=[[0.1, 0, 0], [0, 0, 0]])
    assert (model.range.status, model.range.samples) == ("calibrated", 2)
    assert model.range.margin == pytest.approx(16.384, rel=1e-3)
    with pytest.raises(RangeError, match="'sum'.*the given samples"):
        build_model(graph, (0, 1), calibration=[[1, 0, 0]])
    with pytest.raises(InputError):
        build_model(graph, (0, 1), calibration=[[2, 0, 0]])


def test_the_warning_points_at_the_caller() -> None:
    b = GraphBuilder((3,), "x")
    graph = b.graph(b.dense("sum", "x", np.full((3, 1), 20000.0)))
    with pytest.warns(RangeWarning) as caught:
        build_model(graph, (0, 1), calibration=[[0.1, 0, 0]])
    assert caught[0].filename == __file__


def test_padding_is_zero_and_not_the_range() -> None:
    b = GraphBuilder((1, 1, 1), "x")
    lowered = lower(b.graph(b.conv("c", "x", np.ones((1, 2, 1, 1)), padding=(0, 0, 1, 0))))
    [span] = prove(lowered.plan, encode_weights(lowered), (3, 5)).spans.values()
    assert span == Span(3.0 * 2**16, 5.0 * 2**16)


def residual(blocks: int, size: int, channels: int) -> Graph:
    """A small ResNet with He-initialised random weights."""
    rng = np.random.default_rng(0)
    b = GraphBuilder((size, size, 3), "x")

    def conv(layer: str, x: str) -> str:
        inputs = b.shapes[x][-1]
        kernel = rng.normal(0, np.sqrt(2 / (9 * inputs)), (3, 3, inputs, channels))
        return b.conv(layer, x, kernel, rng.normal(0, 0.1, channels), padding=(1, 1, 1, 1))

    x = b.relu("relu", conv("stem", "x"))
    for block in range(blocks):
        y = b.relu(f"relu_{block}", conv(f"first_{block}", x))
        x = b.relu(f"out_{block}", b.sum_of(f"add_{block}", [x, conv(f"second_{block}", y)]))
    mean = b.mean_over("mean", x, (0, 1))
    return b.graph(b.dense("logits", mean, rng.normal(0, 0.3, (channels, 10))))


def analysed(lowered: Lowered, **options: object) -> RangeReport:
    weights = encode_weights(lowered)
    return analyse(lowered.plan, lowered.names, weights, (0, ONE), **options)  # type: ignore[arg-type]


def test_a_residual_network_is_proven_by_linear_relaxation() -> None:
    lowered = lower(residual(3, 8, 8))
    with pytest.raises(RangeError, match=r"'out_2.*\(the proof ran out of time\).*more than 0 s"):
        analysed(lowered, require_proof=True, time_limit=0.0)  # intervals alone
    report = analysed(lowered, require_proof=True)
    assert report.status == "proven"
    assert report.margin > 1
    with pytest.warns(RangeWarning, match="is not proven, only calibrated.*random samples"):
        seen = analysed(lowered, time_limit=0.0)
    assert seen.status == "calibrated"
    assert list(seen.spans) == list(report.spans)
    for index, span in report.spans.items():
        assert seen.spans[index].inside(span)


def test_progress_is_told() -> None:
    lowered = lower(residual(3, 8, 8))
    told: list[tuple[str, int, int]] = []
    with pytest.warns(RangeWarning):
        analysed(lowered, time_limit=0.0, progress=lambda *what: told.append(what))
    stages = list(dict.fromkeys(stage for stage, _, _ in told))
    assert stages == ["proving", "calibrating"]
    for stage in stages:
        counts = [done for name, done, _ in told if name == stage]
        assert counts == sorted(counts)
    count = len(random_inputs(lowered.plan, (0, ONE)))
    assert told[-1] == ("calibrating", count, count)


def test_chunks_of_samples_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    lowered = lower(residual(1, 6, 4))
    weights = encode_weights(lowered)
    samples = random_inputs(lowered.plan, (0, ONE))[:7]
    once = observe(lowered.plan, weights, samples)
    monkeypatch.setattr("libmpc.graph.ranges.calibration._CHUNK", 3 * 6 * 6 * 4)
    assert observe(lowered.plan, weights, samples) == once


def test_models_too_large_for_relaxation_are_calibrated(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("libmpc.graph.ranges.proof._KEPT", 100)
    with pytest.raises(RangeError, match="too large for more than interval bounds"):
        analysed(lower(residual(3, 8, 8)), require_proof=True)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert analysed(lower(residual(1, 8, 8))).status == "proven"


@pytest.mark.parametrize(
    ("weight", "bias", "match"),
    [
        (2.0**31, 0.0, "weight of layer 'heavy'.*2\\^31"),
        (2.0**31 - 2.0**-18, 0.0, "weight of layer 'heavy'"),
        (0.0, 2.0**15, "bias of layer 'heavy'.*2\\^15"),
        (float("nan"), 0.0, "weight of layer 'heavy' is NaN"),
        (0.0, float("inf"), "bias of layer 'heavy'.*infinite"),
        (1e308, 0.0, "weight of layer 'heavy'"),
    ],
)
def test_weights_that_do_not_fit(weight: float, bias: float, match: str) -> None:
    with pytest.raises(RangeError, match=match):
        encode_weights(one_weight(weight, bias))
    encode_weights(one_weight(2.0**31 - 2.0**-16, 2.0**15 - 2.0**-32))
