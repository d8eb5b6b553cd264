from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from libmpc import fixedpoint
from libmpc.errors import ModelError
from libmpc.graph.encoding import encode_weights
from libmpc.graph.folding import Folded, fold_graph
from libmpc.graph.nodes import Conv2D, Dense, Graph, Input, Relu, Softmax
from libmpc.graph.plan import ConvStep, DenseStep, SumPoolStep, Window
from libmpc.graph.reference import run_reference
from tests.graph import naive
from tests.graph.naive import Sketch
from tests.graph.random_networks import networks


def ops(folded: Folded) -> str:
    return " ".join(step.op for step in folded.plan.steps)


def answers(folded: Folded, x: naive.Floats) -> naive.Floats:
    ring = run_reference(folded.plan, encode_weights(folded), fixedpoint.encode(x))
    return fixedpoint.decode(ring, 32)


def check(sketch: Sketch) -> Folded:
    """The folded network answers exactly like the unfolded one; its weights must be dyadic."""
    folded = fold_graph(sketch.graph)
    x = sketch.inputs(3)
    expected = np.array([naive.evaluate(sketch.graph, one, truncate=True) for one in x])
    assert np.array_equal(answers(folded, x), expected)
    return folded


def test_tutorial_network() -> None:
    folded = fold_graph(naive.tutorial())
    block = "sum_pool conv relu"
    assert ops(folded) == f"input {block} {block} {block} dense output"
    assert [s.size for s in folded.plan.steps if s.op == "relu"] == [1690, 800, 64]
    for index, size, channels in ((1, 28, 1), (4, 13, 10), (7, 5, 32)):
        pool, conv = folded.plan.steps[index : index + 2]
        assert isinstance(pool, SumPoolStep) and isinstance(conv, ConvStep)
        assert pool.window == Window(height=size, width=size, channels=channels, kernel=(2, 2))
        assert conv.window == Window(
            height=size - 1, width=size - 1, channels=channels, kernel=(3, 3), strides=(2, 2)
        )
    # With 4x4 kernels, which pool as well, it would be 188,448.
    assert [s.macs for s in folded.plan.linear_steps.values()] == [15210, 72000, 18432, 640]
    assert folded.plan.output_shape == (10,)
    assert folded.names[:4] == ("input", "layer2", "layer1 + layer2", "layer3")


def test_perceptron() -> None:
    folded = check(Sketch((784,)).dense(50).relu().dense(10))
    assert ops(folded) == "input dense relu dense output"


@pytest.mark.parametrize(
    ("kernel", "strides", "dilation", "padding", "pool", "pool_strides", "image"),
    [
        ((3, 3), (1, 1), (1, 1), (0, 0, 0, 0), (2, 2), (2, 2), (12, 11)),
        ((3, 2), (2, 1), (1, 1), (1, 0, 0, 1), (2, 4), (1, 3), (12, 10)),
        ((1, 1), (2, 3), (1, 1), (0, 0, 0, 0), (2, 2), (1, 1), (11, 9)),
        ((2, 3), (1, 1), (2, 3), (2, 1, 0, 3), (4, 2), (2, 2), (13, 14)),
        ((2, 2), (3, 1), (1, 2), (1, 2, 3, 4), (1, 2), (1, 3), (16, 18)),
    ],
)
def test_pooling_after_a_convolution_is_summed_before_it(
    kernel: tuple[int, int],
    strides: tuple[int, int],
    dilation: tuple[int, int],
    padding: tuple[int, int, int, int],
    pool: tuple[int, int],
    pool_strides: tuple[int, int],
    image: tuple[int, int],
) -> None:
    sketch = Sketch((13, 12, 2)).conv(3, kernel, strides, dilation, padding)
    node = sketch.nodes[1]
    assert isinstance(node, Conv2D)
    folded = check(sketch.pool(pool, pool_strides).relu().flatten().dense(2))
    assert ops(folded) == "input sum_pool conv relu dense output"
    _, sums, conv, *_ = folded.plan.steps
    assert isinstance(sums, SumPoolStep) and isinstance(conv, ConvStep)
    assert sums.window == Window(
        height=13, width=12, channels=2, kernel=pool, dilation=strides, padding=padding
    )
    assert conv.window == Window(
        height=image[0],
        width=image[1],
        channels=2,
        kernel=kernel,
        strides=(strides[0] * pool_strides[0], strides[1] * pool_strides[1]),
        dilation=dilation,
    )
    weights, bias = folded.weights[2]
    expected = node.kernel.reshape(weights.shape) / float(pool[0] * pool[1])
    assert np.array_equal(weights, expected)
    assert np.array_equal(bias, node.bias)


def test_a_window_of_one_only_multiplies_the_strides() -> None:
    sketch = Sketch((13, 12, 2)).conv(3, (2, 2), (2, 1), (3, 2), (1, 0, 0, 1))
    folded = check(sketch.pool((1, 1), (2, 3)).relu().flatten().dense(2))
    assert ops(folded) == "input conv relu dense output"
    conv = folded.plan.steps[1]
    assert isinstance(conv, ConvStep)
    assert conv.window == Window(
        height=13,
        width=12,
        channels=2,
        kernel=(2, 2),
        strides=(4, 3),
        dilation=(3, 2),
        padding=(1, 0, 0, 1),
    )


def test_sums_follow_each_other() -> None:
    sketch = Sketch((16, 15, 1)).pool((2, 1)).conv(2, (2, 2), (1, 2), (1, 1), (1, 1, 0, 0))
    folded = check(sketch.pool((2, 2), (1, 1)).conv(2, (1, 2)).pool((1, 2)))
    assert ops(folded) == "input sum_pool sum_pool sum_pool conv output"
    windows = [s.window for s in folded.plan.steps if isinstance(s, SumPoolStep)]
    assert [(w.kernel, w.strides, w.dilation, w.padding) for w in windows] == [
        ((2, 1), (2, 1), (1, 1), (0, 0, 0, 0)),
        ((2, 2), (1, 1), (1, 2), (1, 1, 0, 0)),
        ((1, 2), (1, 1), (1, 2), (0, 0, 0, 0)),
    ]
    conv = folded.plan.steps[4]
    assert isinstance(conv, ConvStep)
    assert (conv.window.kernel, conv.window.strides) == ((2, 4), (1, 4))
    assert folded.names[1:5] == ("layer1", "layer3", "layer5", "layer2 + layer3 + layer4 + layer5")


@pytest.mark.parametrize(
    ("padding", "takes"),
    [
        ((0, 0, 0, 0), "sum_pool"),  # 6x4 sums
        ((1, 0, 1, 0), "sum_pool"),  # 7x5 sums, as many as the image has pixels
        ((1, 0, 1, 1), "pixels"),  # 7x6
        ((1, 1, 0, 0), "sum_pool"),  # 8x4
        ((2, 2, 2, 2), "pixels"),
    ],
)
def test_a_matrix_reads_sums_unless_pixels_are_fewer(
    padding: tuple[int, int, int, int], takes: str
) -> None:
    def sketch() -> Sketch:
        return Sketch((7, 5, 2)).conv(3, (2, 3), padding=padding).pool((2, 2), (1, 1))

    # A dense layer on all pixels, and a padded convolution, which has to become a matrix.
    dense = check(sketch().flatten().dense(2).dense(3))
    conv = check(sketch().conv(2, (2, 2), padding=(1, 0, 0, 0)).pool((2, 1)))
    pooled = takes == "sum_pool"
    for folded in (dense, conv):
        assert ops(folded) == ("input sum_pool dense output" if pooled else "input dense output")
        [step] = folded.plan.linear_steps.values()
        assert isinstance(step, DenseStep)
        sums = 2 * (6 + padding[0] + padding[1]) * (4 + padding[2] + padding[3])
        assert step.inputs == (sums if pooled else 70) == min(sums, 70)


def test_a_matrix_takes_in_all_sums_or_none() -> None:
    def sketch(second: tuple[int, int]) -> Sketch:
        pad = Sketch((6, 6, 1)).conv(2, (2, 2), padding=(1, 1, 1, 1)).pool((2, 2), (1, 1))
        return pad.conv(1, (1, 1)).pool(second, (1, 1)).flatten().dense(2)

    # 6x6 pixels, 7x7 sums, then 7x6 or 6x6 sums of sums.
    assert ops(check(sketch((1, 2)))) == "input dense output"
    assert ops(check(sketch((2, 2)))) == "input sum_pool sum_pool dense output"
    # What comes before the run's first convolution stays.
    first = Sketch((6, 12, 1)).pool((1, 2)).conv(2, (2, 2), padding=(1, 1, 1, 1)).pool((2, 2))
    assert ops(check(first.flatten().dense(2))) == "input sum_pool dense output"


def test_sums_beyond_what_a_plan_may_have() -> None:
    node = Conv2D("wide", ("input",), np.ones((1, 1, 1, 1)), np.zeros(1), (2**21, 1), (1, 1))
    tall = Sketch((1, 4, 1)).add(node)
    with pytest.raises(ModelError, match="layer 'layer2': the model is beyond"):
        fold_graph(tall.pool((1, 2)).graph)


def test_pooling_after_relu_is_summed_first() -> None:
    folded = check(Sketch((8, 8, 2)).conv(3).relu().pool().pool((1, 2)).flatten().dense(2))
    assert ops(folded) == "input conv relu sum_pool sum_pool dense output"
    # 2·2 and 1·2 go into the next layer's weights, not into its bias.
    [weights, bias] = folded.weights[5]
    dense = folded_source(folded, "layer6")
    assert np.array_equal(weights, dense.weights / 8.0)
    assert np.array_equal(bias, dense.bias)


def folded_source(folded: Folded, name: str) -> Dense:
    sketch = Sketch((8, 8, 2)).conv(3).relu().pool().pool((1, 2)).flatten().dense(2)
    [node] = [n for n in sketch.nodes if n.name == name]
    assert isinstance(node, Dense)
    return node


def test_runs_of_linear_layers_become_one() -> None:
    assert ops(check(Sketch((6,)).dense(4).dense(5).dense(2))) == "input dense output"
    assert ops(check(Sketch((3, 4)).dense(4).dense(2).flatten().dense(3).relu())) == (
        "input dense relu dense output"
    )
    image = (7, 6, 2)
    assert ops(check(Sketch(image).conv(2).conv(3, (2, 2), (2, 1)))) == "input conv output"
    assert ops(check(Sketch(image).conv(2, padding=(1, 1, 1, 1)).dense(3))) == "input conv output"
    assert ops(check(Sketch(image).conv(2, strides=(2, 2)).flatten().dense(3))) == (
        "input dense output"
    )
    assert ops(check(Sketch(image).conv(2, dilation=(2, 1)).conv(2, (2, 2), dilation=(1, 2)))) == (
        "input conv output"
    )


def test_a_padded_convolution_inside_a_run_becomes_a_matrix() -> None:
    # Its zeros are zeros of the first one's output, which no single convolution has.
    sketch = Sketch((5, 4, 2)).conv(2, (2, 2), padding=(0, 1, 1, 0)).conv(2, padding=(1, 1, 1, 1))
    assert ops(check(sketch)) == "input dense output"
    sketch.pool().dense(3)
    assert ops(check(sketch)) == "input dense output"
    assert ops(check(sketch.flatten().dense(2).relu())) == "input dense relu dense output"


def test_ends_get_an_identity() -> None:
    folded = check(Sketch((4, 3, 2)).relu().conv(2).relu())
    assert ops(folded) == "input dense relu conv relu dense output"
    [first, *_, last] = [s for s in folded.plan.steps if isinstance(s, DenseStep)]
    assert (first.rows, first.weight_shape) == (24, (1, 1))
    assert last.rows == folded.plan.steps[-1].size
    folded = check(Sketch((6, 4, 1)).conv(2).relu().pool((2, 2)))
    assert ops(folded) == "input conv relu sum_pool dense output"
    assert folded.weights[4][0] == 0.25
    assert folded.plan.output_shape == (2, 1, 2)
    assert ops(check(Sketch((4, 4, 1)).pool())) == "input sum_pool dense output"
    assert ops(check(Sketch((4,)).identity())) == "input dense output"


def test_no_ops_go() -> None:
    sketch = Sketch((4,)).identity().dense(3).relu().identity().relu().flatten().relu().dense(2)
    assert ops(check(sketch)) == "input dense relu dense output"


def test_softmax_only_at_the_end() -> None:
    sketch = Sketch((4,)).dense(3)
    assert not fold_graph(sketch.graph).softmax
    sketch.add(Softmax("probabilities", (sketch.nodes[-1].name,))).identity()
    assert fold_graph(sketch.graph).softmax
    with pytest.raises(ModelError, match="'probabilities'.*last layer"):
        fold_graph(sketch.dense(2).graph)


def test_only_chains() -> None:
    with pytest.raises(ModelError, match="'b'.*one chain"):
        fold_graph(Graph((Input("x", (), (2,)), Relu("a", ("x",)), Relu("b", ("x",)))))
    with pytest.raises(ModelError, match="no layers"):
        fold_graph(Graph((Input("x", (), (2,)),)))
    with pytest.raises(ModelError, match="same name"):
        Graph((Input("x", (), (2,)), Relu("x", ("x",))))
    with pytest.raises(ModelError, match="not a layer before it"):
        Graph((Input("x", (), (2,)), Relu("a", ("b",))))


def test_too_large_to_fold() -> None:
    # 2^48 weights: refused before any memory is taken for them.
    sketch = Sketch((512, 512, 64)).conv(64, padding=(1, 1, 1, 1)).conv(4, padding=(1, 1, 1, 1))
    with pytest.raises(ModelError, match="'layer1' \\+ 'layer2' have no ReLU between.*add a ReLU"):
        fold_graph(sketch.graph)


def test_the_divisor_divides() -> None:
    # Multiplying by 1/9 would give other bits.
    sketch = Sketch((9, 9, 2), bits=40).conv(4, (1, 1)).pool((3, 3))
    node = sketch.nodes[1]
    assert isinstance(node, Conv2D)
    weights = fold_graph(sketch.graph).weights[2][0]
    kernel = node.kernel.reshape(2, 4)
    assert np.array_equal(weights, kernel / 9.0)
    assert not np.array_equal(weights, kernel * (1 / 9.0))


def test_repr_has_no_weights() -> None:
    sketch = Sketch((2,)).dense(1)
    node = sketch.nodes[1]
    assert isinstance(node, Dense)
    node.weights[...] = 0.734375
    for item in (sketch.graph, fold_graph(sketch.graph)):
        assert "0.73" not in repr(item) and "array" not in repr(item)


@settings(max_examples=150, deadline=None)
@given(networks())
def test_random_networks_are_exact(sketch: Sketch) -> None:
    check(sketch)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32), st.booleans())
def test_random_weights_stay_within_the_fixed_point_bound(seed: int, pool_first: bool) -> None:
    sketch = Sketch((9, 8, 2), seed, bits=40)
    if pool_first:
        sketch.pool((3, 3), (2, 1))
    sketch.conv(3, (2, 2)).pool((3, 2), (1, 1)).relu().pool((1, 3)).flatten().dense(4)
    sketch.relu().dense(3).dense(2)
    folded = fold_graph(sketch.graph)
    x = sketch.inputs(3, bits=30)
    exact = np.array([naive.evaluate(sketch.graph, one, truncate=False) for one in x])
    assert np.abs(answers(folded, x) - exact).max() <= error_bound(folded)


def error_bound(folded: Folded) -> float:
    """How far fixed point may be from the float network, for inputs within ±1."""
    size, error = 1.0, 2.0**-17
    for index, step in enumerate(folded.plan.steps):
        if isinstance(step, SumPoolStep):
            size, error = (v * np.prod(step.window.kernel) for v in (size, error))
        elif isinstance(step, (ConvStep, DenseStep)):
            weights, bias = folded.weights[index]
            gain, taps = np.abs(weights).sum(0).max(), len(weights)
            error = gain * error + taps * 2.0**-17 * (size + error) + 2.0**-33
            size = gain * size + np.abs(bias).max()
        elif step.op == "relu":
            error += 2.0**-16
    return float(error)
