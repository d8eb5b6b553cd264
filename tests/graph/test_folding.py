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
from libmpc.graph.plan import ConvStep, DenseStep, SumPoolStep
from libmpc.graph.reference import run_reference
from tests.graph import naive
from tests.graph.naive import Sketch


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
    assert ops(folded) == "input conv relu conv relu conv relu dense output"
    assert [s.size for s in folded.plan.steps if s.op == "relu"] == [1690, 800, 64]
    convs = [s for s in folded.plan.steps if isinstance(s, ConvStep)]
    assert [(s.window.kernel, s.window.strides) for s in convs] == [((4, 4), (2, 2))] * 3
    assert folded.plan.output_shape == (10,)
    assert folded.names[1] == "layer1 + layer2"


def test_perceptron() -> None:
    folded = check(Sketch((784,)).dense(50).relu().dense(10))
    assert ops(folded) == "input dense relu dense output"


@pytest.mark.parametrize(
    ("kernel", "strides", "dilation", "padding", "pool", "pool_strides"),
    [
        ((3, 3), (1, 1), (1, 1), (0, 0, 0, 0), (2, 2), (2, 2)),
        ((3, 2), (2, 1), (1, 1), (1, 0, 0, 1), (2, 4), (1, 3)),
        ((1, 1), (2, 2), (1, 1), (0, 0, 0, 0), (2, 2), (1, 1)),
        ((2, 3), (1, 1), (2, 3), (2, 1, 0, 3), (4, 2), (2, 2)),
        ((2, 2), (1, 1), (3, 2), (0, 0, 0, 0), (1, 1), (2, 3)),
    ],
)
def test_pooling_after_a_convolution_is_one_convolution(
    kernel: tuple[int, int],
    strides: tuple[int, int],
    dilation: tuple[int, int],
    padding: tuple[int, int, int, int],
    pool: tuple[int, int],
    pool_strides: tuple[int, int],
) -> None:
    sketch = Sketch((13, 12, 2)).conv(3, kernel, strides, dilation, padding)
    folded = check(sketch.pool(pool, pool_strides).relu().flatten().dense(2))
    assert ops(folded) == "input conv relu dense output"


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
    weights = fold_graph(sketch.graph).weights[1][0].reshape(3, 3, 2, 4)
    assert np.array_equal(weights, np.broadcast_to(node.kernel / 9.0, weights.shape))
    assert not np.array_equal(weights, np.broadcast_to(node.kernel * (1 / 9.0), weights.shape))


def test_repr_has_no_weights() -> None:
    sketch = Sketch((2,)).dense(1)
    node = sketch.nodes[1]
    assert isinstance(node, Dense)
    node.weights[...] = 0.734375
    for item in (sketch.graph, fold_graph(sketch.graph)):
        assert "0.73" not in repr(item) and "array" not in repr(item)


@st.composite
def networks(draw: st.DrawFn) -> Sketch:
    """Chains whose folded weights are multiples of 2^-16, so that nothing is rounded but ReLU."""
    image = draw(st.booleans())
    sizes = st.integers(1, 9)
    shape = (draw(sizes), draw(sizes), draw(st.integers(1, 2))) if image else (draw(sizes),)
    sketch = Sketch(shape, draw(st.integers(0, 2**16)), bits=2)
    budget = 16
    small = st.integers(1, 3)
    for _ in range(draw(st.integers(1, 6))):
        rows, columns = (sketch.shape[0], sketch.shape[1]) if len(sketch.shape) == 3 else (0, 0)
        kind = draw(st.sampled_from(["conv", "pool", "dense", "relu", "flatten", "identity"]))
        if kind == "conv" and rows and budget >= 2:
            kernel = (min(draw(small), rows), min(draw(small), columns))
            pad = draw(st.tuples(*[st.integers(0, 1)] * 4))
            strides = (draw(small), draw(small))
            sketch.conv(draw(st.integers(1, 3)), kernel, strides, padding=pad)
            budget -= 2
        elif kind == "pool" and rows >= 2 and columns >= 2 and budget >= 2:
            sketch.pool((2, draw(st.integers(1, 2))), (draw(small), draw(small)))
            budget -= 2
        elif kind == "dense" and budget >= 2:
            sketch.dense(draw(small))
            budget -= 2
        elif kind == "relu":
            sketch.relu()
            budget = 16
        elif kind == "flatten":
            sketch.flatten()
        else:
            sketch.identity()
    return sketch


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
