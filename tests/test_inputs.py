from __future__ import annotations

import numpy as np
import pytest

from libmpc.errors import InputError
from libmpc.inputs import check_inputs, encoded_range

SHAPE = (28, 28, 1)


def check(x: object, shape: tuple[int, ...] = SHAPE, span: tuple[float, float] = (0, 1)) -> list:  # type: ignore[type-arg]
    return check_inputs(x, shape=shape, input_range=span).tolist()  # type: ignore[no-any-return]


def test_encodes() -> None:
    assert check([[0.5, -1, 2**-17, 3 * 2**-17]], (4,), (-1, 1)) == [[32768, 2**48 - 65536, 0, 2]]
    assert check(np.array([[1, 0]], np.uint8), (2,)) == [[65536, 0]]
    assert check(np.array([[True, False]]), (2,)) == [[65536, 0]]
    assert check(np.array([[1, 0]], np.float16), (2,)) == [[65536, 0]]


def test_the_range_is_that_of_the_encoding() -> None:
    assert check([[1 + 2**-18]], (1,)) == [[65536]]
    with pytest.raises(InputError):
        check([[1 + 2**-16]], (1,))
    with pytest.raises(InputError):
        check([[-(2**-16)]], (1,))


@pytest.mark.parametrize(
    ("shape", "hint"),
    [
        ((28, 28, 1), r"add the batch dimension: x\[numpy.newaxis\]"),
        ((28, 28), r"x.reshape\(-1, 28, 28, 1\)"),
        ((5, 28, 28), r"x.reshape\(-1, 28, 28, 1\)"),
        ((5, 784), r"x.reshape\(-1, 28, 28, 1\)"),
        ((784,), r"x.reshape\(-1, 28, 28, 1\)"),
        ((5, 1, 28, 28), r"channels must come last: x.transpose\(0, 2, 3, 1\)"),
        ((1, 28, 28), r"channels must come last: x.transpose\(1, 2, 0\)\[numpy.newaxis\]"),
        ((), r"shape \(\)"),
        ((5, 32, 32, 1), r"takes \(batch, 28, 28, 1\)$"),
        ((28, 28, 28), r"takes"),
        ((0, 28, 28, 1), "no samples"),
    ],
)
def test_wrong_shapes(shape: tuple[int, ...], hint: str) -> None:
    with pytest.raises(InputError, match=hint):
        check(np.zeros(shape))


def test_flat_models() -> None:
    with pytest.raises(InputError, match=r"x.reshape\(-1, 784\)"):
        check(np.zeros((5, 28, 28)), (784,))
    with pytest.raises(InputError, match=r"add the batch dimension"):
        check(np.zeros(784), (784,))


@pytest.mark.parametrize(
    ("x", "match"),
    [
        (np.array([[None, 1]], object), "object.*different lengths"),
        (np.array([["1", "2"]]), "text"),
        (np.array([[b"1", b"2"]]), "bytes"),
        (np.array([[1j, 2]]), "complex"),
        (np.array([["2020-01-01", "2020-01-02"]], "M8[D]"), "not real numbers"),
        ([[1, 2], [3]], "cannot be made an array"),
        (np.ma.masked_array([[1, 2]], [[False, True]]), "masked"),
        ([[float("nan"), 0]], r"1 of the .* NaN or infinite \(the first at index \(0, 0\)\)"),
        ([[0, 0], [float("inf"), -float("inf")]], r"2 of the .*\(1, 0\)"),
        ("text", "text"),
        (None, "object"),
    ],
)
def test_wrong_types_and_values(x: object, match: str) -> None:
    with pytest.raises(InputError, match=match):
        check(x, (2,))


@pytest.mark.parametrize(
    ("x", "span", "match"),
    [
        ([0, 255], (0, 1), "0 to 255, the model takes 0 to 1; .*divide by 255"),
        ([0, 60000], (0, 1), "divide by 65535"),
        ([0, 255], (-1, 1), "divide by 127.5 and subtract 1"),
        ([-1, 1], (0, 1), r"\(x \+ 1\) / 2"),
        ([-3, 2.5], (0, 1), "standardised"),
        ([0, 1e300], (0, 1), "wider input range"),
        ([-5, 3], (-1, 1), "wider input range"),
    ],
)
def test_out_of_range_guesses_the_cause(
    x: list[float], span: tuple[float, float], match: str
) -> None:
    with pytest.raises(InputError, match=match):
        check([x], (2,), span)


def test_encoded_range() -> None:
    assert encoded_range((0, 1)) == (0, 65536)
    assert encoded_range((-0.5, 2**-17)) == (-32768, 0)  # half to even
    assert encoded_range((3, 3)) == (3 << 16, 3 << 16)
