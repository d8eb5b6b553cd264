"""Chains of layers: what is folded into what, and that the answers stay the same."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from libmpc import fixedpoint
from libmpc.errors import ModelError
from libmpc.graph import nodes
from libmpc.graph.encoding import encode_weights
from libmpc.graph.floating import run_float
from libmpc.graph.lowering import Lowered, lower
from libmpc.graph.nodes import Graph
from libmpc.graph.plan import ConvStep, DenseStep, SumPoolStep, Window
from libmpc.graph.reference import run_reference
from tests.graph import naive
from tests.graph.lowering.plan_float import error_bounds
from tests.graph.naive import Sketch
from tests.graph.random_networks import networks


def ops(lowered: Lowered) -> str:
    return " ".join(step.op for step in lowered.plan.steps)


def answers(lowered: Lowered, x: naive.Floats) -> naive.Floats:
    ring = run_reference(lowered.plan, encode_weights(lowered), fixedpoint.encode(x))
    return fixedpoint.decode(ring, 32)


def check(sketch: Sketch) -> Lowered:
    """The folded network answers exactly like the unfolded one; its weights must be dyadic."""
    lowered = lower(sketch.graph)
    x = sketch.inputs(3)
    expected = np.array([naive.evaluate(sketch.graph, one, truncate=True) for one in x])
    assert np.array_equal(answers(lowered, x), expected)
    return lowered


def test_tutorial_network() -> None:
    lowered = lower(naive.tutorial())
    block = "sum_pool conv relu"
    assert ops(lowered) == f"input {block} {block} {block} dense output"
    assert [s.size for s in lowered.plan.steps if s.op == "relu"] == [1690, 800, 64]
    for index, size, channels in ((1, 28, 1), (4, 13, 10), (7, 5, 32)):
        pool, conv = lowered.plan.steps[index : index + 2]
        assert isinstance(pool, SumPoolStep) and isinstance(conv, ConvStep)
        assert pool.window == Window(height=size, width=size, channels=channels, kernel=(2, 2))
        assert conv.window == Window(
            height=size - 1, width=size - 1, channels=channels, kernel=(3, 3), strides=(2, 2)
        )
    # With 4x4 kernels, which pool as well, it would be 188,448.
    assert [s.macs for s in lowered.plan.linear_steps.values()] == [15210, 72000, 18432, 640]
    assert lowered.plan.output_shape == (10,)
    assert lowered.names[:4] == ("input", "layer2", "layer1 + layer2", "layer3")


def test_perceptron() -> None:
    lowered = check(Sketch((784,)).dense(50).relu().dense(10))
    assert ops(lowered) == "input dense relu dense output"


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
    node = sketch.graph.nodes[1]
    assert isinstance(node, nodes.Conv)
    lowered = check(sketch.pool(pool, pool_strides).relu().flatten().dense(2))
    assert ops(lowered) == "input sum_pool conv relu dense output"
    _, sums, conv, *_ = lowered.plan.steps
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
    weights, bias = lowered.weights[2]
    expected = node.kernel.reshape(weights.shape) * (1.0 / (pool[0] * pool[1]))
    assert np.array_equal(weights, expected)
    assert np.array_equal(bias, node.bias)


def test_a_window_of_one_only_multiplies_the_strides() -> None:
    sketch = Sketch((13, 12, 2)).conv(3, (2, 2), (2, 1), (3, 2), (1, 0, 0, 1))
    lowered = check(sketch.pool((1, 1), (2, 3)).relu().flatten().dense(2))
    assert ops(lowered) == "input conv relu dense output"
    conv = lowered.plan.steps[1]
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
    lowered = check(sketch.pool((2, 2), (1, 1)).conv(2, (1, 2)).pool((1, 2)))
    assert ops(lowered) == "input sum_pool sum_pool sum_pool conv output"
    windows = [s.window for s in lowered.plan.steps if isinstance(s, SumPoolStep)]
    assert [(w.kernel, w.strides, w.dilation, w.padding) for w in windows] == [
        ((2, 1), (2, 1), (1, 1), (0, 0, 0, 0)),
        ((2, 2), (1, 1), (1, 2), (1, 1, 0, 0)),
        ((1, 2), (1, 1), (1, 2), (0, 0, 0, 0)),
    ]
    conv = lowered.plan.steps[4]
    assert isinstance(conv, ConvStep)
    assert (conv.window.kernel, conv.window.strides) == ((2, 4), (1, 4))
    everything = "layer1 + layer2 + layer3 + layer4 + layer5"
    assert lowered.names[1:5] == ("layer1", "layer3", "layer5", everything)


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
    for lowered in (dense, conv):
        [step] = [s for s in lowered.plan.linear_steps.values() if isinstance(s, DenseStep)]
        assert ops(lowered).startswith("input sum_pool dense" if pooled else "input dense")
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


def test_pooling_after_relu_is_summed_first() -> None:
    sketch = Sketch((8, 8, 2)).conv(3).relu().pool().pool((1, 2)).flatten().dense(2)
    lowered = check(sketch)
    assert ops(lowered) == "input conv relu sum_pool sum_pool dense output"
    # 2·2 and 1·2 go into the next layer's weights, not into its bias.
    [weights, bias] = lowered.weights[5]
    dense = sketch.graph.nodes[-1]
    assert isinstance(dense, nodes.Dense)
    assert np.array_equal(weights, dense.weights / 8.0)
    assert np.array_equal(bias, dense.bias)


def test_runs_of_linear_layers_become_one() -> None:
    assert ops(check(Sketch((6,)).dense(4).dense(5).dense(2))) == "input dense output"
    assert ops(check(Sketch((3, 4)).dense(4).dense(2).flatten().dense(3).relu())) == (
        "input dense relu lift output"
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
    assert ops(check(Sketch(image).norm().conv(4).norm().norm())) == "input conv output"
    assert ops(check(Sketch((5,)).norm().norm().dense(2).norm().relu())) == (
        "input dense relu lift output"
    )


def test_groups_stay_where_they_fit() -> None:
    depthwise = Sketch((6, 5, 4)).conv(4, (3, 3), groups=4).conv(8, (2, 2), groups=4)
    lowered = check_float(depthwise)
    [step] = lowered.plan.linear_steps.values()
    assert isinstance(step, ConvStep) and (step.groups, step.window.kernel) == (4, (4, 4))
    mixed = check_float(Sketch((6, 5, 4)).conv(4, (3, 3), groups=2).conv(6, (1, 1)).norm())
    [step] = mixed.plan.linear_steps.values()
    assert isinstance(step, ConvStep) and step.groups == 1


def check_float(sketch: Sketch) -> Lowered:
    lowered = lower(sketch.graph)
    x = sketch.inputs(3)
    assert np.array_equal(answers(lowered, x), run_float(sketch.graph, x))
    return lowered


def test_a_padded_convolution_inside_a_run_becomes_a_matrix() -> None:
    # Its zeros are zeros of the first one's output, which no single convolution has.
    sketch = Sketch((5, 4, 2)).conv(2, (2, 2), padding=(0, 1, 1, 0)).conv(2, padding=(1, 1, 1, 1))
    assert ops(check(sketch)) == "input dense output"
    assert ops(check(sketch.pool().dense(3))) == "input dense output"
    assert ops(check(sketch.flatten().dense(2).relu())) == "input dense relu lift output"


def test_zeros_around_a_pointwise_convolution_are_zeros_of_its_image() -> None:
    sketch = Sketch((5, 4, 2)).conv(3, (1, 1), (2, 1)).conv(2, padding=(1, 2, 0, 1))
    lowered = check(sketch)
    # Its bias is not there at the border, so that the second one's differs from pixel to pixel.
    assert ops(lowered) == "input conv bias output"
    _, conv, bias, _ = lowered.plan.steps
    assert isinstance(conv, ConvStep)
    assert conv.window.padding == (2, 4, 0, 1)
    assert bias.output_shape == conv.output_shape


def test_ends_need_no_weights() -> None:
    assert ops(check(Sketch((4, 3, 2)).relu().conv(2).relu())) == (
        "input rectify conv relu lift output"
    )
    lowered = check(Sketch((6, 4, 1)).conv(2).relu().pool((2, 2)))
    assert ops(lowered) == "input conv relu sum_pool scale output"
    assert lowered.weights[4][0] == 0.25
    assert lowered.plan.output_shape == (2, 1, 2)
    assert ops(check(Sketch((4, 4, 1)).pool())) == "input sum_pool scale output"
    assert ops(check(Sketch((4,)))) == "input lift output"


def test_relus_in_a_row() -> None:
    sketch = Sketch((4,)).dense(3).relu().relu().flatten().relu().dense(2)
    assert ops(check(sketch)) == "input dense relu dense output"


def test_final_activations() -> None:
    builder = Sketch((4, 2)).builder
    x = builder.scale("d", builder.input, 0.5)
    assert lower(builder.graph(x)).final is None
    last = builder.final("probabilities", x, "softmax", 0)
    lowered = lower(builder.graph(last))
    assert (lowered.final, lowered.final_axis) == ("softmax", -2)
    assert ops(lowered) == "input scale output"
    with pytest.raises(ModelError, match="'probabilities'.*last layer"):
        lower(builder.graph(builder.relu("r", last)))


def test_what_is_too_large_to_fold_is_kept_apart() -> None:
    # 2^48 weights: no memory is taken for them.
    sketch = Sketch((512, 512, 64)).conv(64, padding=(1, 1, 1, 1)).conv(4, padding=(1, 1, 1, 1))
    assert ops(lower(sketch.graph)) == "input conv truncate conv output"


def test_beyond_what_a_plan_may_have() -> None:
    builder = Sketch((4,)).builder
    x = builder.input
    for index in range(3000):
        x = builder.relu(f"r{index}", builder.sum_of(f"s{index}", [x], [-1]))
    with pytest.raises(ModelError, match="layer 'r2047': .* more than 4096 steps; make it smaller"):
        lower(builder.graph(x))


def test_factors_multiply_first() -> None:
    sketch = Sketch((9, 9, 2), bits=40).conv(4, (1, 1)).pool((3, 3))
    node = sketch.graph.nodes[1]
    assert isinstance(node, nodes.Conv)
    weights = lower(sketch.graph).weights[2][0]
    assert np.array_equal(weights, node.kernel.reshape(2, 4) * (1 / 9.0))


def test_repr_has_no_weights() -> None:
    sketch = Sketch((2,)).dense(1)
    graph: Graph = sketch.graph
    node = graph.nodes[1]
    assert isinstance(node, nodes.Dense)
    node.weights[...] = 0.734375
    for item in (graph, lower(graph)):
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
    lowered = lower(sketch.graph)
    x = sketch.inputs(3, bits=30)
    exact = np.array([naive.evaluate(sketch.graph, one, truncate=False) for one in x])
    assert np.abs(answers(lowered, x) - exact).max() <= error_bounds(lowered, 1.0)[-1].error
