from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from libmpc.errors import InputError
from libmpc.graph import floating, nodes, sliding
from libmpc.graph.builder import GraphBuilder
from libmpc.graph.floating import apply_final, run_float

RNG = np.random.default_rng(5)


def build(shape: tuple[int, ...]) -> GraphBuilder:
    return GraphBuilder(shape, "x")


def whole(*shape: int) -> np.ndarray:
    """Small integers, on which float64 is exact."""
    return RNG.integers(-9, 10, shape).astype(np.float64)


def naive(
    x: np.ndarray, kernel: tuple[int, int], strides: object, dilation: object, padding: object
) -> list[list[list[list[tuple[int, int, int, int]]]]]:
    """For every image, row and column of the result the pixels (place, pixel) inside the image."""
    (sy, sx), (dy, dx), (top, bottom, left, right) = strides, dilation, padding  # type: ignore[misc]
    height, width = x.shape[1:3]
    rows = (height + top + bottom - (kernel[0] - 1) * dy - 1) // sy + 1
    columns = (width + left + right - (kernel[1] - 1) * dx - 1) // sx + 1
    seen = []
    for row in range(rows):
        line = []
        for column in range(columns):
            places = [
                (i, j, row * sy + i * dy - top, column * sx + j * dx - left)
                for i in range(kernel[0])
                for j in range(kernel[1])
            ]
            line.append([p for p in places if 0 <= p[2] < height and 0 <= p[3] < width])
        seen.append(line)
    return seen  # type: ignore[return-value]


geometry = st.fixed_dictionaries(
    {
        "strides": st.tuples(st.integers(1, 3), st.integers(1, 3)),
        "dilation": st.tuples(st.integers(1, 2), st.integers(1, 2)),
        "padding": st.tuples(*[st.integers(0, 2)] * 4),
    }
)


@settings(max_examples=60, deadline=None)
@given(
    st.tuples(st.integers(1, 3), st.integers(1, 3)),
    geometry,
    st.sampled_from([(1, 2, 3), (2, 1, 1), (2, 1, 2), (2, 2, 2), (3, 2, 1), (1, 1, 2)]),
    st.integers(0, 3),
)
def test_windows_see_what_they_should(
    kernel: tuple[int, int], place: dict[str, tuple[int, ...]], split: tuple[int, ...], spare: int
) -> None:
    groups, channels, filters = split
    size = tuple((k - 1) * d + 1 + spare for k, d in zip(kernel, place["dilation"], strict=True))
    x = whole(2, *size, groups * channels)
    weights = whole(*kernel, channels, groups * filters)
    summed = sliding.sum_pool(x, kernel, **place)  # type: ignore[arg-type]
    largest = sliding.max_pool(x, kernel, **place)  # type: ignore[arg-type]
    out = sliding.conv(x, weights, **place, groups=groups)  # type: ignore[arg-type]
    seen = naive(x, kernel, **place)  # type: ignore[arg-type]
    assert out.shape[1:3] == largest.shape[1:3] == summed.shape[1:3] == (len(seen), len(seen[0]))
    for row, line in enumerate(seen):
        for column, places in enumerate(line):
            assert np.array_equal(
                summed[:, row, column],
                sum((x[:, y, z] for _, _, y, z in places), np.zeros((2, x.shape[3]))),
            )
            if places:
                expected = np.max([x[:, y, z] for _, _, y, z in places], axis=0)
                assert np.array_equal(largest[:, row, column], expected)
            for f in range(groups * filters):
                mine = slice(f // filters * channels, (f // filters + 1) * channels)
                value = sum(x[:, y, z, mine] @ weights[i, j, :, f] for i, j, y, z in places)
                assert np.array_equal(out[:, row, column, f], np.broadcast_to(value, 2))


def test_large_images_are_taken_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    x, kernel = whole(3, 9, 8, 4), whole(3, 3, 2, 6)
    once = sliding.conv(x, kernel, groups=2)
    for limit in (1, 3 * 3 * 4 * 6 * 2, 3 * 3 * 4 * 6 * 7 * 2):
        monkeypatch.setattr(sliding, "_UNFOLDED", limit)
        assert np.array_equal(sliding.conv(x, kernel, groups=2), once)
    b = build((9, 8, 4))
    b.conv("c", "x", kernel, groups=2)
    monkeypatch.setattr(floating, "_CHUNK", 1)
    assert np.array_equal(run_float(b.graph("c"), x), once)


def test_linear_nodes() -> None:
    x = whole(4, 2, 5, 6, 3)  # two images
    b = build(x.shape[1:])
    w, bias = whole(3, 2), whole(2)
    b.dense("dense", "x", w, bias)
    assert np.array_equal(run_float(b.graph("dense"), x), x @ w + bias)
    kernel = whole(2, 2, 3, 2)
    b.conv("conv", "x", kernel, bias)
    two = np.stack([sliding.conv(x[:, i], kernel) for i in (0, 1)], axis=1) + bias
    assert np.array_equal(run_float(b.graph("conv"), x), two)
    b.scale("scale", "x", whole(3), 2.0)
    scale = next(n for n in b.graph("scale").nodes if isinstance(n, nodes.Scale))
    assert np.array_equal(run_float(b.graph("scale"), x), x * scale.factor + 2.0)
    b.sum_of("add", ["x", "scale", "x"], [2, -1, 3])
    assert np.array_equal(run_float(b.graph("add"), x), 5 * x - (x * scale.factor + 2.0))
    b.sum_pool("pool", "x", (2, 3), (2, 1))
    pooled = np.stack([sliding.sum_pool(x[:, i], (2, 3), (2, 1)) for i in (0, 1)], axis=1)
    assert np.array_equal(run_float(b.graph("pool"), x), pooled)
    b.sum_over("sum", "x", (0, 2))
    assert np.array_equal(run_float(b.graph("sum"), x), x.sum(axis=(1, 3)))
    total = b.sum_over("total", "x", (0, 1, 2, 3))
    assert np.array_equal(run_float(b.graph(total), x), x.reshape(4, -1).sum(1, keepdims=True))


def test_moves() -> None:
    x = whole(3, 2, 4, 3)
    b = build(x.shape[1:])
    b.transpose("turned", "x", (2, 0, 1))
    b.reshape("flat", "turned", (24,))
    assert np.array_equal(run_float(b.graph("flat"), x), x.transpose(0, 3, 1, 2).reshape(3, 24))
    b.slice("cut", "x", (1, 3, 0), (2, 2, 3), (-1, -2, 1))
    assert np.array_equal(run_float(b.graph("cut"), x), x[:, ::-1, 3:0:-2])
    b.pad("padded", "x", (0, 1, 0), (1, 0, 0), (0, 2, 0), 7.0)
    padded = np.full((3, 3, 1 + 4 + 6, 3), 7.0)
    padded[:, :2, 1::3] = x
    assert np.array_equal(run_float(b.graph("padded"), x), padded)
    b.concat("both", ["x", "cut"], 1)
    expected = np.concatenate([x, x[:, ::-1, 3:0:-2]], axis=2)
    assert np.array_equal(run_float(b.graph("both"), x), expected)
    b.sum_over("one", "x", (1,), keep=True)
    wide = b.expand("wide", b.sum_over("s", "x", (1,), keep=True), (2, 5, 3))
    assert np.array_equal(
        run_float(b.graph(wide), x), np.repeat(x.sum(2, keepdims=True), 5, axis=2)
    )


def test_what_is_not_linear() -> None:
    x = whole(5, 4, 4, 2)
    b = build(x.shape[1:])
    b.transpose("t", "x", (1, 0, 2))
    t = x.transpose(0, 2, 1, 3)
    pairs = {
        b.multiply("multiply", "x", "t"): x * t,
        b.maximum("maximum", "x", "t"): np.where(x > t, x, t),
        b.minimum("minimum", "x", "t"): np.where(x < t, x, t),
        b.relu("relu", "x"): np.where(x > 0, x, 0),
        b.sign("sign", "x"): (x > 0) * 1.0 - (x < 0),
    }
    for name, expected in pairs.items():
        assert np.array_equal(run_float(b.graph(name), x), expected)
    # Padding is ignored, also where every value is negative.
    b.max_pool("most", "x", (2, 2), (1, 1), padding=(1, 0, 0, 1))
    most = run_float(b.graph("most"), x - 20)
    assert np.array_equal(most[:, 0, 3], x[:, 0, 3] - 20)
    assert np.array_equal(most[:, 1, 0], x[:, :2, :2].max(axis=(1, 2)) - 20)


def test_final_activations_are_left_out() -> None:
    x = whole(3, 2, 4)
    b = build(x.shape[1:])
    b.final("end", b.relu("r", "x"), "softmax")
    logits = run_float(b.graph("end"), x)
    assert np.array_equal(logits, np.maximum(x, 0))
    assert apply_final(None, logits) is logits
    e = np.exp(logits)
    for axis in (0, 1, -1):
        along = axis + 1 if axis >= 0 else axis
        softmax = e / e.sum(axis=along, keepdims=True)
        assert np.allclose(apply_final("softmax", logits, axis), softmax, rtol=1e-14)
        assert np.allclose(apply_final("log_softmax", logits, axis), np.log(softmax), rtol=1e-12)
        assert np.array_equal(apply_final("argmax", logits, axis), logits.argmax(along))
    assert apply_final("sigmoid", np.array([-1e4, 0.0, 1e4])).tolist() == [0.0, 0.5, 1.0]
    assert apply_final("sigmoid", np.array([[1.5]])) == pytest.approx(1 / (1 + math.exp(-1.5)))
    assert apply_final("softmax", np.array([[1e4, -1e4]])).tolist() == [[1.0, 0.0]]


def test_any_batch_and_no_other_shape() -> None:
    b = build((3,))
    b.scale("twice", "x", 2.0)
    graph = b.graph("twice")
    assert run_float(graph, np.zeros((0, 3))).shape == (0, 3)
    assert run_float(graph, np.float32([[1, 2, 3]])).tolist() == [[2.0, 4.0, 6.0]]
    for wrong in (np.zeros(3), np.zeros((2, 4)), np.zeros(())):
        with pytest.raises(InputError, match="takes"):
            run_float(graph, wrong)
