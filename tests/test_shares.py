import struct

import numpy as np
import pytest
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from libmpc.ring import MASK
from libmpc.shares import (
    AdditiveShare,
    MaskedShare,
    expand_bits,
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


def test_bits_of_a_seed_are_pinned_and_no_part_of_the_other_draw() -> None:
    """As docs/wire.md has it: word i of step 0, purpose 1; its lowest bit."""
    seed = bytes(range(32))
    bits = expand_bits(seed, (50, 4))
    key = HKDF(SHA256(), 16, None, b"libmpc input share v1").derive(seed)
    counter = struct.pack(">IHHQ", 0, 1, 0, 0)
    stream = Cipher(algorithms.AES(key), modes.CTR(counter)).encryptor().update(bytes(8 * 200))
    words = np.frombuffer(stream, "<u8")
    assert bits.reshape(-1).tolist() == (words & 1).tolist()
    assert 60 < int(bits.sum()) < 140
    other = expand_seed(seed, (200,)) & np.uint64(1)
    assert bits.reshape(-1).tolist() != other.tolist()
