import numpy as np
import pytest

from libmpc.ring import MASK
from libmpc.shares import (
    AdditiveShare,
    MaskedShare,
    expand_seed,
    new_seed,
    reconstruct,
    split,
    split_with_seed,
)

SECRET = np.array([[0, 1, 2**47], [2**48 - 1, 1234567, 2**16]], np.uint64)


def test_split_and_reconstruct() -> None:
    first, second = split(SECRET)
    assert np.array_equal(reconstruct(first, second), SECRET)
    assert np.array_equal(reconstruct(second, first), SECRET)
    assert (first.values <= MASK).all()
    assert (second.values <= MASK).all()
    again, _ = split(SECRET)
    assert not np.array_equal(again.values, first.values)


def test_the_second_share_is_a_seed() -> None:
    seed = bytes(range(32))
    first, second = split_with_seed(SECRET, seed)
    assert np.array_equal(second.values, expand_seed(seed, SECRET.shape))
    assert np.array_equal(reconstruct(first, second), SECRET)


def test_expansion_is_pinned() -> None:
    """Other clients must get the same bits."""
    assert expand_seed(bytes(32), (2,)).tolist() == [80002193267976, 144998576031188]


def test_shapes() -> None:
    assert expand_seed(new_seed(), (0, 3)).shape == (0, 3)
    with pytest.raises(ValueError, match="same shape"):
        reconstruct(AdditiveShare(SECRET), AdditiveShare(SECRET[:1]))


@pytest.mark.parametrize("text", [repr, str, "{}".format])
def test_text_contains_no_value(text: object) -> None:
    values = np.full((2, 3), 987654321, np.uint64)
    for share in (AdditiveShare(values), MaskedShare(values, values)):
        assert text(share) == f"{type(share).__name__}(shape=(2, 3))"  # type: ignore[operator]


def test_seeds_are_fresh() -> None:
    assert len({new_seed() for _ in range(10)}) == 10
