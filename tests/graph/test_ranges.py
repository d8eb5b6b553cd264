from __future__ import annotations

import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from libmpc import fixedpoint
from libmpc.errors import InputError, RangeError
from libmpc.graph import intervals
from libmpc.graph.encoding import encode_weights
from libmpc.graph.folding import Folded, fold_graph
from libmpc.graph.intervals import Span, interval_bounds, limits
from libmpc.graph.model import build_model
from libmpc.graph.nodes import Conv2D, Dense, Graph, Input, Relu
from libmpc.graph.plan import (
    ConvStep,
    DenseStep,
    InputStep,
    OutputStep,
    Plan,
    ReluStep,
    SumPoolStep,
    Window,
)
from libmpc.graph.ranges import RangeWarning, analyse, observe, random_inputs
from tests.graph.naive import Sketch, tutorial

UNIT = 2.0**-32
ONE = 1 << 16


def one_weight(weight: float, bias: float = 0.0, relu: bool = True) -> Folded:
    """z = weight * x + bias, into a ReLU or straight out."""
    first = Dense("heavy", ("x",), np.array([[weight]]), np.array([bias]))
    nodes = (Input("x", (), (1,)), first, Relu("r", ("heavy",)))
    if not relu:
        return fold_graph(Graph(nodes[:2]))
    last = Dense("light", ("r",), np.zeros((1, 1)), np.zeros(1))
    return fold_graph(Graph((*nodes, last)))


def status(folded: Folded, low: int, high: int, proof: bool = True) -> str:
    plan, weights = folded.plan, encode_weights(folded)
    return analyse(plan, folded.names, weights, (low, high), require_proof=proof).status


@pytest.mark.parametrize(
    ("relu", "low", "high"),
    [(True, -(2**47) + 2**16, 2**47), (False, -(2**47), 2**47 - 1)],
)
def test_both_ends_are_sharp(relu: bool, low: int, high: int) -> None:
    # z = x·1 + b with b at scale 2^32 gives every integer; x is 0 or the largest it may be.
    top = high - (1 << 46)
    folded = one_weight(2.0**30, top * UNIT, relu)  # x = 2^-16 adds 2^46
    assert status(folded, 0, 1) == "proven"
    with pytest.raises(RangeError, match="'heavy': the range is not proven"):
        status(one_weight(2.0**30, (top + 1) * UNIT, relu), 0, 1)
    bottom = low + (1 << 46)
    assert status(one_weight(-(2.0**30), bottom * UNIT, relu), 0, 1) == "proven"
    with pytest.raises(RangeError, match="not proven"):
        status(one_weight(-(2.0**30), (bottom - 1) * UNIT, relu), 0, 1)


def test_samples_must_stay_a_factor_of_sixteen_below() -> None:
    # Correlated inputs: u - v of the same x cancels, which intervals cannot see.
    def cancelling(size: float, bias: float) -> Folded:
        both = Dense("both", ("x",), np.array([[1.0, 1.0]]), np.array([0.0, bias]))
        minus = Dense("minus", ("r",), np.array([[size], [-size]]), np.zeros(1))
        nodes = (Input("x", (), (1,)), both, Relu("r", ("both",)), minus)
        return fold_graph(Graph(nodes))

    with pytest.warns(RangeWarning, match="'minus' is not proven.*factor of 16 "):
        assert status(cancelling(2.0**16, 2.0**-5), 0, ONE, proof=False) == "calibrated"
    with pytest.raises(RangeError, match="'minus'.*factor of 16.*±2048.*scale"):
        status(cancelling(2.0**16, 2.0**-5 + 2.0**-16), 0, ONE, proof=False)
    with pytest.raises(RangeError, match="'minus'.*not proven.*or do without the proof"):
        status(cancelling(2.0**16, 0.0), 0, ONE, proof=True)


def test_refused_where_samples_leave_the_range() -> None:
    with pytest.raises(RangeError, match=r"'heavy': its values reach 0 to 65536 on samples"):
        status(one_weight(65536.0), 0, ONE, proof=False)
    # Far beyond what float64 holds exactly.
    with pytest.raises(RangeError, match="'heavy'"):
        status(one_weight(2.0**30), -(2**46), 2**46, proof=False)
    with pytest.raises(RangeError, match="'heavy'"):
        status(one_weight(2.0**30), -(2**46), 2**46)


def test_no_proof_beyond_what_float64_holds() -> None:
    # The two products cancel, but each is beyond 2^53: a sum like this may have been rounded.
    node = Dense("d", ("x",), np.array([[2.0**20], [-(2.0**20)]]), np.zeros(1))
    folded = fold_graph(Graph((Input("x", (), (2,)), node)))
    assert status(folded, 1 << 10, 1 << 10) == "proven"
    with pytest.raises(RangeError, match="not proven"):
        status(folded, 1 << 18, 1 << 18)


def test_given_samples_decide() -> None:
    node = Dense("sum", ("x",), np.full((3, 1), 20000.0), np.zeros(1))
    graph = Graph((Input("x", (), (3,)), node))
    with pytest.raises(RangeError, match="'sum'"):
        build_model(graph, (0, 1))
    with pytest.warns(RangeWarning, match="on 2 samples is a factor of 16.4"):
        model = build_model(graph, (0, 1), calibration=[[0.1, 0, 0], [0, 0, 0]])
    assert (model.range.status, model.range.samples) == ("calibrated", 2)
    assert model.range.margin == pytest.approx(16.384, rel=1e-3)
    with pytest.raises(RangeError, match="'sum'"):
        build_model(graph, (0, 1), calibration=[[1, 0, 0]])
    with pytest.raises(InputError):
        build_model(graph, (0, 1), calibration=[[2, 0, 0]])


def test_tutorial_network_is_proven() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model = build_model(tutorial(), (0, 1), require_proof=True)
    assert model.range.status == "proven"
    assert model.range.margin > 16


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32), st.integers(-300000, 300000), st.integers(0, 300000))
def test_bounds_hold(seed: int, low: int, width: int) -> None:
    sketch = Sketch((6, 5, 2), seed, bits=20).conv(3, (2, 2), padding=(1, 0, 1, 0)).relu()
    sketch.pool((2, 2), (1, 2)).conv(2, (2, 1)).pool((1, 2), (1, 1)).relu().flatten().dense(
        3
    ).relu().dense(2)
    folded = fold_graph(sketch.graph)
    weights = encode_weights(folded)
    bounds = interval_bounds(folded.plan, weights, (low, low + width))
    seen = observe(folded.plan, weights, random_inputs(folded.plan, (low, low + width)))
    assert list(bounds) == list(seen)
    for index, span in bounds.items():
        assert span.low <= seen[index].low <= seen[index].high <= span.high


def test_bounds_of_one_layer_are_attained() -> None:
    folded = fold_graph(Sketch((4, 4, 2), 9).conv(3).graph)
    weights = encode_weights(folded)
    [span] = interval_bounds(folded.plan, weights, (-3, 5)).values()
    w, b = (fixedpoint.to_signed(a) for a in weights[1])
    # Every weight takes the end of the input's range that suits it.
    assert span.high == (np.where(w > 0, 5 * w, -3 * w).sum(0) + b).max()
    assert span.low == (np.where(w > 0, -3 * w, 5 * w).sum(0) + b).min()


def test_bounds_of_sums_that_overlap_are_attained() -> None:
    # Neighbouring sums have pixels in common, so not every sum can take its own worst end.
    folded = fold_graph(Sketch((6, 5, 2), 9).conv(3, (2, 3)).pool((2, 2), (1, 1)).graph)
    weights = encode_weights(folded)
    [span] = interval_bounds(folded.plan, weights, (-3, 5)).values()
    signed, b = (fixedpoint.to_signed(a) for a in weights[2])
    w = np.zeros((3, 4, 2, 3), np.int64)
    for y, x in np.ndindex(2, 2):
        w[y : y + 2, x : x + 3] += signed.reshape(2, 3, 2, 3)
    flat = w.reshape(-1, 3)
    assert span.high == (np.where(flat > 0, 5 * flat, -3 * flat).sum(0) + b).max()
    assert span.low == (np.where(flat > 0, -3 * flat, 5 * flat).sum(0) + b).min()


def row(*values: float) -> np.ndarray[tuple[int, ...], np.dtype[np.float64]]:
    return np.array(values).reshape(1, -1, 1, 1)


def sums_then(
    linear: Dense | Conv2D,
    width: int,
    kernel: int = 2,
    strides: int = 1,
    dilation: int = 1,
    inputs: tuple[int, int] = (0, 1),
) -> Span:
    """The span of a layer that reads sums over windows of a row of pixels."""
    window = Window(
        height=1,
        width=width,
        channels=1,
        kernel=(1, kernel),
        strides=(1, strides),
        dilation=(1, dilation),
    )
    count = window.output_size[1]
    step: DenseStep | ConvStep
    if isinstance(linear, Dense):
        [taken, outputs], matrix = linear.weights.shape, linear.weights
        step = DenseStep(source=1, rows=count // taken, inputs=taken, outputs=outputs)
    else:
        taps = linear.kernel.shape[1]
        image = Window(height=1, width=count, channels=1, kernel=(1, taps), padding=linear.padding)
        step, matrix = ConvStep(source=1, window=image, filters=1), linear.kernel.reshape(-1, 1)
    pool = SumPoolStep(source=0, window=window)
    output = OutputStep(source=2, shape=step.output_shape)
    plan = Plan(steps=(InputStep(shape=(1, width, 1)), pool, step, output))
    weights = {2: (matrix.astype(np.int64).view(np.uint64), np.zeros(1, np.uint64))}
    [span] = interval_bounds(plan, weights, inputs).values()
    return span


def test_which_steps_are_taken_together_with_their_sums(monkeypatch: pytest.MonkeyPatch) -> None:
    difference = Conv2D("d", ("x",), row(1, -1), np.zeros(1))
    matrix = Dense("d", ("x",), np.array([[1.0], [-1.0]]), np.zeros(1))
    for linear in (difference, matrix):
        # (a + b) - (b + c) lies within ±1, though each sum lies within 0 and 2
        assert sums_then(linear, 3) == Span(-1, 1)
        # (a + b) - (c + d) does not
        assert sums_then(linear, 4, strides=2) == Span(-2, 2)
        # (a + c) - (b + d)
        assert sums_then(linear, 4, dilation=2) == Span(-2, 2)
        # (a + b + c) - (c + d + e)
        assert sums_then(linear, 5, kernel=3, strides=2) == Span(-2, 2)
    # (a + c) - (c + e)
    assert sums_then(difference, 5, dilation=2, strides=2) == Span(-1, 1)
    padded = Conv2D("d", ("x",), row(1, -1), np.zeros(1), padding=(0, 0, 0, 1))
    assert sums_then(padded, 3) == Span(-2, 2)  # at the edge, where b + c is alone
    assert sums_then(matrix, 5) == Span(-2, 2)  # two rows: not one matrix
    monkeypatch.setattr(intervals, "MAX_FOLDED", 3)
    assert sums_then(difference, 3) == sums_then(matrix, 3) == Span(-1, 1)
    monkeypatch.setattr(intervals, "MAX_FOLDED", 2)
    assert sums_then(difference, 3) == sums_then(matrix, 3) == Span(-2, 2)


def test_sums_of_sums_are_taken_together() -> None:
    # With s = (a + b + c, b + c + d, c + d + e): (s0 + s1) - (s1 + s2) = a + b - d - e.
    windows = [
        Window(height=1, width=width, channels=1, kernel=(1, kernel))
        for width, kernel in ((5, 3), (3, 2), (2, 2))
    ]
    steps = (
        InputStep(shape=(1, 5, 1)),
        SumPoolStep(source=0, window=windows[0]),
        SumPoolStep(source=1, window=windows[1]),
        ConvStep(source=2, window=windows[2], filters=1),
        OutputStep(source=3, shape=(1, 1, 1)),
    )
    matrix = np.array([[1], [-1]]).view(np.uint64)
    weights = {3: (matrix, np.zeros(1, np.uint64))}
    assert interval_bounds(Plan(steps=steps), weights, (0, 1)) == {3: Span(-2, 2)}


def test_windows_that_do_not_overlap_cost_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("unpool", "widen"):
        monkeypatch.setattr(intervals, name, None)
    matrix = Dense("d", ("x",), np.array([[1.0], [-1.0]]), np.zeros(1))
    assert sums_then(matrix, 4, strides=2) == Span(-2, 2)
    assert sums_then(Conv2D("d", ("x",), row(1, -1), np.zeros(1)), 7, strides=4, kernel=3) == (
        Span(-3, 3)
    )


def test_sums_are_taken_together_with_their_own_reader_only() -> None:
    sketch = Sketch((5, 4, 1)).pool((2, 2), (1, 1)).conv(1, (2, 2), padding=(1, 0, 0, 0)).relu()
    folded = fold_graph(sketch.flatten().dense(2).graph)
    weights = encode_weights(folded)
    bounds = interval_bounds(folded.plan, weights, (0, ONE))
    seen = observe(folded.plan, weights, random_inputs(folded.plan, (0, ONE)))
    assert list(bounds) == list(seen) == [2, 4]
    for index, span in bounds.items():
        assert span.low <= seen[index].low <= seen[index].high <= span.high


def test_sums_of_weights_are_exact_or_no_proof() -> None:
    # Together with its sums the step has weights a, 0, -a; on the way the zero was a - a.
    difference = Conv2D("d", ("x",), row(2.0**36, -(2.0**36)), np.zeros(1))
    below, at = (1 << 14) - 1, 1 << 14
    assert sums_then(difference, 3, inputs=(below, below)) == Span(0, 0)
    assert sums_then(difference, 3, inputs=(at, at)) == Span(-(2.0**53), 2.0**53)
    assert sums_then(difference, 3, inputs=(-below, below)) == Span(
        -below * 2.0**37, below * 2.0**37
    )
    assert sums_then(difference, 3, inputs=(-at, at)) == Span(-(2.0**53), 2.0**53)


def test_padding_is_zero_and_not_the_range() -> None:
    kernel = np.ones((1, 2, 1, 1))
    padded = Conv2D("c", ("x",), kernel, np.zeros(1), padding=(0, 0, 1, 0))
    folded = fold_graph(Graph((Input("x", (), (1, 1, 1)), padded)))
    [span] = interval_bounds(folded.plan, encode_weights(folded), (3, 5)).values()
    assert span == Span(3.0 * 2**16, 5.0 * 2**16)


def test_the_warning_points_at_the_caller() -> None:
    node = Dense("sum", ("x",), np.full((3, 1), 20000.0), np.zeros(1))
    graph = Graph((Input("x", (), (3,)), node))
    with pytest.warns(RangeWarning) as caught:
        build_model(graph, (0, 1), calibration=[[0.1, 0, 0]])
    assert caught[0].filename == __file__


def test_limits_depend_on_the_reader() -> None:
    plan = fold_graph(Sketch((3,)).dense(2).relu().dense(1).graph).plan
    assert isinstance(plan.steps[2], ReluStep)
    assert limits(plan, 1) == Span(-(2.0**47) + 65536, 2.0**47)
    assert limits(plan, 3) == Span(-(2.0**47), 2.0**47 - 1)


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


def test_weights_that_overflow_while_they_are_folded() -> None:
    kernel = np.full((2, 2, 1, 1), 1.7e308)
    graph = Graph(
        (
            Input("x", (), (4, 4, 1)),
            Conv2D("big", ("x",), kernel, np.zeros(1)),
            Conv2D("bigger", ("big",), kernel, np.zeros(1)),
        )
    )
    with pytest.raises(RangeError, match=r"'big \+ bigger' is NaN or infinite"):
        encode_weights(fold_graph(graph))
