"""Constants that repeat into values: the same in every shape, written out as little as can be."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from libmpc.graph.lowering.constant import Constant, joined, moved, plus, times
from libmpc.graph.nodes import Pad, Slice, Sum, Transpose


def full(constant: Constant) -> np.ndarray:
    return np.broadcast_to(constant.values, constant.shape)


@pytest.mark.parametrize(
    ("shape", "dims", "after", "expected"),
    [
        ((4, 3, 2), (1, 1, 2), (12, 2), (1, 2)),
        ((4, 3, 2), (1, 1, 2), (24,), (24,)),
        ((4, 3, 2), (1, 1, 1), (24,), (1,)),
        ((12, 2), (1, 2), (4, 3, 2), (1, 1, 2)),
        ((4, 3, 2), (4, 1, 1), (4, 6), (4, 1)),
        ((8, 16, 6), (1, 1, 6), (8, 4, 24), (1, 1, 24)),
        ((6, 4), (1, 4), (4, 6), (4, 6)),
        ((1, 6, 1), (1, 6, 1), (6,), (6,)),
    ],
)
def test_other_shapes(
    shape: tuple[int, ...], dims: tuple[int, ...], after: tuple[int, ...], expected: tuple[int, ...]
) -> None:
    constant = Constant(shape, np.arange(float(math.prod(dims))).reshape(dims))
    made = constant.on(after)
    assert (made.shape, made.values.shape) == (after, expected)
    assert np.array_equal(full(made), full(constant).reshape(after))


@given(st.data())
def test_any_other_shape(data: st.DataObject) -> None:
    shape = tuple(data.draw(st.lists(st.sampled_from([1, 2, 3, 4, 6]), min_size=1, max_size=4)))
    dims = tuple(data.draw(st.sampled_from([1, dim])) for dim in shape)
    rest, after = math.prod(shape), []
    while rest > 1:
        part = data.draw(st.sampled_from([d for d in range(1, rest + 1) if rest % d == 0]))
        after.append(part)
        rest //= part
        if len(after) == 5:
            after.append(rest)
            break
    after = after or [1]
    constant = Constant(shape, np.arange(float(math.prod(dims))).reshape(dims))
    made = constant.on(tuple(after))
    assert np.array_equal(full(made), full(constant).reshape(after))


def test_moves_keep_what_repeats() -> None:
    constant = Constant((4, 3, 2), np.arange(2.0).reshape(1, 1, 2))
    turned = moved(Transpose("t", ("x",), (2, 0, 1)), constant, (2, 4, 3))
    assert turned.values.shape == (2, 1, 1)
    cut = moved(Slice("s", ("x",), (1, 0, 1), (2, 3, 1), (1, 1, 1)), constant, (2, 3, 1))
    assert cut.values.tolist() == [[[1.0]]]
    padded = moved(Pad("p", ("x",), (1, 0, 0), (0, 0, 0), (0, 0, 0), 7.0), constant, (5, 3, 2))
    assert padded.values.shape == (5, 1, 2)
    assert padded.values[:2, 0].tolist() == [[7.0, 7.0], [0.0, 1.0]]
    total = moved(Sum("a", ("x",), (0, 2)), constant, (3,))
    assert total.values.tolist() == [4.0]


def test_sums_and_joins() -> None:
    one, two = (Constant((2, 3), np.full(dims, 2.0)) for dims in ((2, 1), (1, 3)))
    both = plus(one, two)
    assert both is not None and both.values.tolist() == [[4.0] * 3] * 2
    assert plus(None, one) is one and plus(None, None) is None
    assert times(None, 3) is None and times(one, 1) is one
    tripled = times(one, 3)
    assert tripled is not None and tripled.values.tolist() == [[6.0], [6.0]]
    assert joined([one, two], 0, (4, 3)).values.shape == (4, 3)
    assert joined([two, two], 0, (4, 3)).values.shape == (4, 3)


def test_a_repr_has_no_numbers() -> None:
    assert "0.73" not in repr(Constant((1,), np.full(1, 0.73)))
