import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from libmpc.ring.packing import LengthError, pack, pack_bits, unpack, unpack_bits
from libmpc.ring.transfer import accumulate, add_pack, packed


def test_known_answers() -> None:
    values = np.array([0, 1, 0x060504030201, (1 << 48) - 1, 1 << 47], np.uint64)
    packed = bytes(pack(values))
    assert packed == bytes.fromhex("000000000000010000000000010203040506ffffffffffff000000000080")
    assert unpack(packed, 5).tolist() == values.tolist()


def test_bits_above_47_are_dropped() -> None:
    assert bytes(pack(np.array([0xABCD_0000_0000_0007], np.uint64))) == bytes([7, 0, 0, 0, 0, 0])


@given(st.lists(st.integers(0, 2**64 - 1), max_size=40), st.integers(0, 9))
def test_there_and_back_at_any_offset(values: list[int], offset: int) -> None:
    packed = bytes(offset) + bytes(pack(np.array(values, np.uint64)))
    assert packed[offset:] == b"".join((v % 2**48).to_bytes(6, "little") for v in values)
    back = unpack(memoryview(packed)[offset:], len(values))
    assert back.dtype == np.uint64
    assert back.tolist() == [v % 2**48 for v in values]


def test_arrays_that_are_not_contiguous() -> None:
    values = np.arange(24, dtype=np.uint64).reshape(4, 6)
    assert pack(values.T) == pack(np.ascontiguousarray(values.T))
    assert pack(values[:, ::2]) == pack(values[:, ::2].copy())


@pytest.mark.parametrize("size", [0, 5, 7, 11, 13, 18])
def test_wrong_lengths_are_refused(size: int) -> None:
    with pytest.raises(LengthError):
        unpack(bytes(size), 2)


@given(st.lists(st.integers(0, 1), max_size=40))
def test_bits_there_and_back(bits: list[int]) -> None:
    packed = pack_bits(np.array(bits, np.uint64))
    number = sum(bit << place for place, bit in enumerate(bits))
    assert packed == number.to_bytes(-(-len(bits) // 8), "little")
    back = unpack_bits(packed, len(bits))
    assert back.dtype == np.uint64
    assert back.tolist() == bits
    with pytest.raises(LengthError):
        unpack_bits(packed + b"\0", len(bits))


@given(st.lists(st.integers(0, 2**64 - 1), max_size=40), st.integers(0, 9))
def test_kernels_pack_alike(values: list[int], offset: int) -> None:
    words = np.array(values, np.uint64)
    message = bytes(offset) + packed(words).tobytes()
    assert message[offset:] == bytes(pack(words))
    doubled = [(v + v % 2**48) % 2**64 for v in values]
    theirs = np.frombuffer(memoryview(message)[offset:], np.uint16)
    accumulate(theirs, words)
    assert words.tolist() == doubled


@given(st.lists(st.integers(0, 2**64 - 1), max_size=40))
def test_a_sum_is_packed_alike(values: list[int]) -> None:
    a = np.array(values, np.uint64)
    b = a[::-1].copy()
    total, message = np.empty_like(a), np.empty(3 * a.size, np.uint16)
    add_pack(a, b, total, message)
    assert np.array_equal(total, a + b)
    assert message.tobytes() == bytes(pack(a + b))
