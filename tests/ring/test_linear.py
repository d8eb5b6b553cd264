"""Kernels against naive versions. Also run with NUMBA_DISABLE_JIT=1 (test_without_jit)."""

import math

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from libmpc.graph.plan import SumPoolStep, Window
from libmpc.protocol import linear as protocol
from libmpc.ring import linear
from tests import naive


def random_words(seed: int, *shape: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 2**64, shape, np.uint64)


@pytest.mark.parametrize(
    "shape",
    [
        *[(1, 1, 1), (0, 3, 2), (2, 0, 3), (3, 2, 0), (1, 9, 7), (5, 3, 1), (7, 11, 13)],
        *[(2, 70, 5), (9, 65, 17), (4, 4, 4), (8, 8, 33)],
    ],
)
def test_matmul(shape: tuple[int, int, int]) -> None:
    n, k, m = shape
    x, w, out = random_words(1, n, k), random_words(2, k, m), random_words(3, n, m)
    expected = naive.ring(naive.matmul(naive.ints(x), naive.ints(w)) + naive.ints(out))
    linear.matmul_add(x, w, out)
    assert np.array_equal(out, expected)


@pytest.mark.parametrize("word", [0, 1, 2**32 - 1, 2**32, 2**63, 2**64 - 1])
def test_matmul_at_the_edges_of_words(word: int) -> None:
    x = np.full((3, 5), word, np.uint64)
    out = np.full((3, 4), word, np.uint64)
    linear.matmul_add(x, np.full((5, 4), word, np.uint64), out)
    assert out.tolist() == [[(word + 5 * word * word) % 2**64] * 4] * 3


@st.composite
def windows(draw: st.DrawFn) -> Window:
    try:
        return Window(
            height=draw(st.integers(1, 7)),
            width=draw(st.integers(1, 7)),
            channels=draw(st.integers(1, 3)),
            kernel=(draw(st.integers(1, 3)), draw(st.integers(1, 3))),
            strides=(draw(st.integers(1, 3)), draw(st.integers(1, 3))),
            dilation=(draw(st.integers(1, 2)), draw(st.integers(1, 2))),
            padding=tuple(draw(st.integers(0, 2)) for _ in range(4)),  # type: ignore[arg-type]
        )
    except ValidationError:
        assume(False)
        raise


@settings(max_examples=30, deadline=None)
@given(windows(), st.integers(0, 2), st.integers(0, 2**32))
def test_im2col_and_sum_pool(window: Window, samples: int, seed: int) -> None:
    images = random_words(seed, samples, window.height, window.width, window.channels)
    out_h, out_w = window.output_size
    depth = math.prod(window.kernel) * window.channels
    rows = random_words(seed + 1, samples * out_h * out_w, depth)
    linear.im2col(
        images.reshape(samples, window.height, window.width * window.channels),
        window.channels,
        *window.kernel,
        *window.strides,
        *window.dilation,
        window.padding[0],
        window.padding[2],
        0,
        out_h,
        out_w,
        rows,
    )
    pooled = protocol.sum_pool(SumPoolStep(source=0, window=window), images.reshape(-1))
    for s in range(samples):
        image = naive.ints(images[s])
        for oy, ox, patch in naive.patches(image, window):
            row = rows[(s * out_h + oy) * out_w + ox]
            assert row.tolist() == patch.reshape(-1).tolist()
        expected = naive.ring(naive.sum_pool(image, window))
        assert np.array_equal(pooled.reshape(samples, *expected.shape)[s], expected)
