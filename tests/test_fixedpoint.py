import numpy as np
import pytest

from libmpc.errors import InputError
from libmpc.fixedpoint import decode, encode, to_signed


def test_half_goes_to_even() -> None:
    halves = np.array([0.5, 1.5, 2.5, -0.5, -1.5, -2.5]) / 2**16
    assert to_signed(encode(halves)).tolist() == [0, 2, 2, 0, -2, -2]


def test_known_answers() -> None:
    assert encode([1.0, -1.0, 0.25]).tolist() == [1 << 16, (1 << 48) - (1 << 16), 1 << 14]
    assert encode([1.0, -0.5], 32).tolist() == [1 << 32, (1 << 48) - (1 << 31)]
    assert encode(np.float32([0.1])).tolist() == [round(float(np.float32(0.1)) * 65536)]
    assert encode(np.array([3], np.uint8)).dtype == np.uint64


@pytest.mark.parametrize("scale", [16, 32])
def test_both_ends(scale: int) -> None:
    top = 2.0 ** (47 - scale)
    step = 2.0**-scale
    assert to_signed(encode([-top, top - step], scale)).tolist() == [-(2**47), 2**47 - 1]
    for beyond in (top, -top - step):
        with pytest.raises(InputError, match="does not fit"):
            encode([beyond], scale)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_not_finite(bad: float) -> None:
    with pytest.raises(InputError, match="NaN or infinity"):
        encode([0.0, bad])


@pytest.mark.parametrize("bad", [np.array(["a"]), np.array([object()]), np.array([1j])])
def test_not_real(bad: np.ndarray) -> None:
    with pytest.raises(InputError, match="dtype"):
        encode(bad)


def test_decode_is_exact_and_ignores_the_upper_bits() -> None:
    rng = np.random.default_rng(0)
    integers = rng.integers(-(2**47), 2**47, 1000)
    ring = integers.astype(np.uint64) ^ np.uint64(0xBEEF << 48)
    for scale in (16, 32):
        assert np.array_equal(decode(ring, scale) * 2.0**scale, integers.astype(np.float64))
    assert decode(encode(integers / 2.0**16)).tolist() == (integers / 2.0**16).tolist()


def test_any_shape() -> None:
    for shape in ((), (0,), (2, 0, 3), (2, 3)):
        assert decode(encode(np.ones(shape))).shape == shape
