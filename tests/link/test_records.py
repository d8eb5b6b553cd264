"""Messages of any length and in any number of pieces, as records and back."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from libmpc.link import LinkError, records
from libmpc.link.records import (
    HEADER_BYTES,
    MAX_RECORD_BYTES,
    RECORD_OVERHEAD,
    REKEY_RECORDS,
    Message,
    Opener,
    RecordKey,
    Sealer,
)
from libmpc.link.stream import Buffer

KEY = bytes(range(32))
RECORD = MAX_RECORD_BYTES


def ends(*, rekeys: bool = True) -> tuple[Sealer, Opener]:
    keys = (RecordKey(KEY, rekeys=rekeys) for _ in range(2))
    return Sealer(next(keys)), Opener(next(keys), 1 << 30)


def there_and_back(*messages: tuple[Buffer, ...]) -> tuple[list[Message], list[int]]:
    """What arrives, and the lengths of all records."""
    sealer, opener = ends()
    records = [record for buffers in messages for record in sealer.seal(3, 5, 7, buffers)]
    found = [message for record in records for message in opener.feed(record)]
    return found, [len(record) - RECORD_OVERHEAD for record in records]


@pytest.mark.parametrize("records", [1, 2, 3])
@pytest.mark.parametrize("more", [-1, 0, 1])
def test_lengths_around_whole_records(records: int, more: int) -> None:
    size = records * RECORD - HEADER_BYTES + more
    payload = np.random.default_rng(size).bytes(size)
    cuts = (0, 1, 1, RECORD - HEADER_BYTES, RECORD, 2 * RECORD, size)
    pieces = tuple(memoryview(payload)[a:b] for a, b in itertools.pairwise(cuts) if b <= size)
    pieces = (*pieces, payload[sum(map(len, pieces)) :])
    (message,), lengths = there_and_back(pieces)
    assert message.payload == payload
    assert (message.kind, message.bundle, message.step) == (3, 5, 7)
    # All but the last are full.
    assert lengths == [RECORD] * (len(lengths) - 1) + [
        HEADER_BYTES + size - RECORD * (len(lengths) - 1)
    ]
    assert len(lengths) == records + (more > 0)


def test_arrays_of_any_shape() -> None:
    array = np.arange(3 << 18, dtype=np.uint64).reshape(3, 2, -1)
    empty = np.empty((0, 4), np.uint64)
    (long, short), _ = there_and_back(
        (empty.data, array.data, b"", empty.data), (array[:1, :1, :2].copy().data, empty.data)
    )
    assert long.payload == array.tobytes()
    assert short.payload == array.ravel()[:2].tobytes()


def one(sealer: Sealer) -> bytes:
    (record,) = sealer.seal(1, 2, 3, (b"payload",))
    return bytes(record)


def opened_by(key: bytes, record: bytes, number: int) -> bool:
    try:
        AESGCM(key).decrypt(number.to_bytes(12, "big"), record[4:], record[:4])
    except Exception:  # noqa: BLE001 - it says nothing else
        return False
    return True


def test_keys_are_replaced_as_noise_does_at_the_same_record_on_both_sides() -> None:
    sealer, opener = ends()
    sealer._key.number = opener._key.number = REKEY_RECORDS - 2
    # REKEY(k) of the specification, written out.
    later = AESGCM(KEY).encrypt((2**64 - 1).to_bytes(12, "big"), bytes(32), b"")[:32]
    for number in range(REKEY_RECORDS - 2, REKEY_RECORDS + 3):
        record = one(sealer)
        (message,) = opener.feed(record)
        assert message.payload == b"payload"
        assert opened_by(KEY, record, number) is (number < REKEY_RECORDS)
        assert opened_by(later, record, number) is (number >= REKEY_RECORDS)
        assert sealer._key.replaced == opener._key.replaced == (number >= REKEY_RECORDS)


def test_every_so_many_records_there_is_another_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(records, "REKEY_RECORDS", 4)
    sealer, opener = ends()
    seen = []
    for _ in range(20):
        (message,) = opener.feed(one(sealer))
        assert message.payload == b"payload"
        seen.append(id(sealer._key._aead))
    assert [a == b for a, b in itertools.pairwise(seen)] == [n % 4 != 3 for n in range(19)]


def test_minor_version_0_keeps_its_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(records, "REKEY_RECORDS", 4)
    sealer, opener = ends(rekeys=False)
    for number in range(20):
        record = one(sealer)
        assert opened_by(KEY, record, number)
        assert list(opener.feed(record))


def test_ends_that_do_not_agree_on_it_part(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(records, "REKEY_RECORDS", 4)
    (sealer, _), (_, opener) = ends(), ends(rekeys=False)
    for _ in range(4):
        assert list(opener.feed(one(sealer)))
    with pytest.raises(LinkError):
        list(opener.feed(one(sealer)))


def test_a_key_ends_before_its_numbers_do() -> None:
    sealer, opener = ends()
    sealer._key.number = opener._key.number = (1 << 40) - 1
    assert list(opener.feed(one(sealer)))
    with pytest.raises(LinkError) as caught:
        one(sealer)
    assert "used up" in caught.value.reason
