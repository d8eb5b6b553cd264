import hashlib
import hmac
import struct

import numpy as np
import pytest
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

from libmpc.prg import MaskReuseError, Stream, seed_stream

KEY = bytes(range(16))


def expected(key: bytes, layer: int, purpose: int, count: int) -> bytes:
    """Block by block from the definition, without counter mode."""
    ecb = Cipher(algorithms.AES(key), modes.ECB()).encryptor()
    blocks = [
        ecb.update(struct.pack(">IHHQ", layer, purpose, 0, number))
        for number in range(-(-count // 16))
    ]
    return b"".join(blocks)[:count]


def test_known_answer() -> None:
    # FIPS 197, appendix C.1: AES-128 of 00112233…ff under 000102…0f.
    stream = Stream(KEY)
    ecb = Cipher(algorithms.AES(KEY), modes.ECB()).encryptor()
    block = bytes.fromhex("00112233445566778899aabbccddeeff")
    assert ecb.update(block).hex() == "69c4e0d86a7b0430d8cdb78070b4c55a"
    words = stream.words(1, 2, 3)
    assert words.tobytes().hex() == expected(KEY, 1, 2, 24).hex()
    first = int.from_bytes(expected(KEY, 1, 2, 8), "little")
    assert int(words[0]) == first == 0xE35C741406A92A5B


@pytest.mark.parametrize("count", [0, 1, 15, 16, 17, 1000, (1 << 18) - 1, (1 << 18) + 33])
def test_counter_blocks(count: int) -> None:
    got = Stream(KEY).bytes(0xFFFFFFFF, 0xFFFE, count)
    assert got.tobytes() == expected(KEY, 0xFFFFFFFF, 0xFFFE, count)


def test_draws_do_not_depend_on_their_order() -> None:
    one, two = Stream(KEY), Stream(KEY)
    a, b = one.words(1, 1, 5), one.words(2, 1, 5)
    d, c = two.words(2, 1, 5), two.words(1, 1, 5)
    assert np.array_equal(a, c)
    assert np.array_equal(b, d)
    assert not np.array_equal(a, b)


def test_a_draw_is_refused_the_second_time() -> None:
    stream = Stream(KEY)
    stream.words(1, 1, 5)
    out = np.zeros(3, np.uint16)
    with pytest.raises(MaskReuseError):
        stream.fill(1, 1, out)
    assert out.tolist() == [0, 0, 0]
    stream.fill(1, 2, out)
    assert out.tobytes() == expected(KEY, 1, 2, 6)


def test_observer() -> None:
    seen: list[tuple[bytes, int, int, int, int]] = []
    Stream(KEY, lambda *use: seen.append(use)).words(3, 4, 5)
    assert seen == [(hashlib.sha256(KEY).digest()[:8], 3, 4, 0, 3)]


def test_seed_stream_is_hkdf_sha256() -> None:
    seed, label = bytes(range(32)), b"a label"
    prk = hmac.digest(bytes(32), seed, "sha256")
    key = hmac.digest(prk, label + b"\x01", "sha256")[:16]
    assert np.array_equal(seed_stream(seed, label).words(0, 0, 4), Stream(key).words(0, 0, 4))


def test_lengths_of_keys_and_seeds() -> None:
    with pytest.raises(ValueError, match="16 bytes"):
        Stream(bytes(15))
    with pytest.raises(ValueError, match="32 bytes"):
        seed_stream(bytes(31), b"")


def test_repr_has_no_key() -> None:
    assert repr(Stream(KEY)) == "<Stream, 0 draws>"
