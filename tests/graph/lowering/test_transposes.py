"""Networks with their channels first become what they are with their channels last."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from libmpc.graph import activations
from libmpc.graph.builder import GraphBuilder
from libmpc.graph.floating import run_float
from libmpc.graph.lowering import lower
from libmpc.graph.lowering.transposes import without_transposes
from libmpc.graph.lowering.views import View
from libmpc.graph.nodes import Floats, Graph, Transpose
from tests.graph.lowering.random_graphs import graphs, inputs


class Both:
    """Builds one network with channels first or last, the way ONNX has them, or Keras."""

    def __init__(self, first: bool) -> None:
        self.first = first
        self.b = GraphBuilder((3, 8, 8) if first else (8, 8, 3))
        self.rng = np.random.default_rng(7)

    def numbers(self, *shape: int) -> Floats:
        return self.rng.integers(-4, 5, shape) / 4.0

    def each(self, channels: int) -> Floats:
        numbers = self.numbers(channels)
        return numbers.reshape(-1, 1, 1) if self.first else numbers

    def image(self, name: str, x: str, make: object) -> str:
        if self.first:
            x = self.b.transpose(f"{name}_in", x, (1, 2, 0))
        assert callable(make)
        x = make(x)
        return self.b.transpose(f"{name}_out", x, (2, 0, 1)) if self.first else x

    def conv(self, name: str, x: str, filters: int) -> str:
        channels = self.b.shapes[x][0 if self.first else -1]
        kernel = self.numbers(3, 3, channels, filters)
        bias = self.numbers(filters)
        return self.image(
            name, x, lambda v: self.b.conv(name, v, kernel, bias, padding=(1, 1, 1, 1))
        )

    def norm(self, name: str, x: str) -> str:
        channels = self.b.shapes[x][0 if self.first else -1]
        return self.b.scale(name, x, self.each(channels), self.each(channels))

    def network(self) -> Graph:
        b = self.b
        x = b.relu("r1", self.norm("n1", self.conv("c1", b.input, 4)))
        y = self.norm("n2", self.conv("c2", x, 4))
        x = activations.clip(b, "clip", b.sum_of("add", [x, y]), 0.0, 6.0)
        x = self.image("pool", x, lambda v: b.max_pool("pool", v, (2, 2), (2, 2)))
        both = b.concat("cat", [x, self.conv("c3", x, 2)], 0 if self.first else -1)
        x = b.relu("r3", self.norm("n3", both))
        # a squeeze and excitation
        means = b.mean_over("means", x, (1, 2) if self.first else (0, 1), keep=True)
        gate = activations.hard_sigmoid(b, "gate", means, 0.25, 0.5)
        x = b.multiply("gated", x, b.expand("gate_all", gate, b.shapes[x]))
        weights = self.numbers(4 * 4 * 6, 5)
        if self.first:  # rows in the order of channels, height, width
            weights = weights.reshape(4, 4, 6, 5).transpose(2, 0, 1, 3).reshape(-1, 5)
        flat = b.reshape("flat", x, (96,))
        return b.graph(b.dense("fc", flat, weights))


def test_the_same_steps() -> None:
    last, first = (Both(first).network() for first in (False, True))
    plans = [lower(graph).plan for graph in (last, first)]
    ops = [[step.op for step in plan.steps] for plan in plans]
    # one for the input, and one for the gate, which is no bigger than the image
    assert ops[1].count("permute") <= 2 and "permute" not in ops[0]
    assert [op for op in ops[1] if op != "permute"] == ops[0]
    x = inputs(last, 2)
    assert np.array_equal(run_float(last, x), run_float(first, x.transpose(0, 3, 1, 2)))


@settings(max_examples=100, deadline=None)
@given(graphs())
def test_the_same_network(graph: Graph) -> None:
    changed = without_transposes(graph)
    x = inputs(graph, 2)
    assert np.array_equal(run_float(changed, x), run_float(graph, x))
    assert changed.shapes[changed.nodes[-1].name] == graph.shapes[graph.nodes[-1].name]


def test_a_matrix_takes_a_transpose_in() -> None:
    b = GraphBuilder((2, 3, 4))
    x = b.reshape("flat", b.transpose("t", b.relu("r", b.input), (2, 0, 1)), (24,))
    x = b.scale("s", x, np.arange(1.0, 25.0))
    graph = b.graph(b.dense("d", x, np.arange(48.0).reshape(24, 2)))
    changed = without_transposes(graph)
    assert not any(isinstance(node, Transpose) for node in changed.nodes)
    assert np.array_equal(run_float(changed, inputs(graph, 3)), run_float(graph, inputs(graph, 3)))


@pytest.mark.parametrize(
    ("shape", "expected"),
    [((12, 2), True), ((4, 6), True), ((2, 2, 6), True), ((24,), True), ((3, 8), False)],
)
def test_views_split_and_join(shape: tuple[int, ...], expected: bool) -> None:
    view = View.plain("x", (2, 3, 1, 4)).transposed((3, 2, 1, 0))
    values = np.arange(24).reshape(2, 3, 4)
    seen = values.transpose(2, 1, 0)
    made = view.reshaped(shape)
    assert (made is not None) == expected
    if made is not None:
        whole = values.reshape(made.dims).transpose(made.order).reshape(made.shape)
        assert np.array_equal(whole, seen.reshape(shape))


@given(st.permutations(range(3)), st.permutations(range(3)))
def test_views_compose(one: list[int], two: list[int]) -> None:
    values = np.arange(24).reshape(2, 3, 4)
    view = View.plain("x", (2, 3, 4)).transposed(one).transposed(two)
    seen = values.transpose(one).transpose(two)
    assert np.array_equal(values.transpose(view.order), seen) and view.shape == seen.shape
    assert view.straight == (view.order == (0, 1, 2))
