from __future__ import annotations

import gc
import weakref

import pytest

from libmpc.errors import IntegrityError
from libmpc.identity.signing import SigningKey
from libmpc.sealing.errors import SealError, UnknownKeyError
from libmpc.sealing.hpke_keys import HpkeKey, HpkeKeys
from libmpc.sealing.seal import check_party_key, seal
from libmpc.wire import ExpiredError, PartyKey, Signed

DEPLOYMENT = bytes(range(16))
SIGNING = SigningKey.from_bytes(bytes(range(32)))


class HandClock:
    """Time that a test moves by hand."""

    def __init__(self, now: float) -> None:
        self.time = now

    def now(self) -> float:
        return self.time

    def monotonic(self) -> float:
        raise AssertionError("not used")

    async def sleep(self, seconds: float) -> None:
        raise AssertionError("not used")


@pytest.fixture
def clock() -> HandClock:
    return HandClock(1_750_000_000.0)


def make(clock: HandClock) -> HpkeKeys:
    return HpkeKeys(SIGNING, DEPLOYMENT, 1, clock, lifetime=100)


def check(signed: Signed, clock: HandClock) -> PartyKey:
    return check_party_key(signed, SIGNING.public, DEPLOYMENT, 1, clock.now())


def envelope(key: PartyKey) -> bytes:
    return seal(bytes.fromhex(key.public_key), b"info", b"text")


def test_opens(clock: HandClock) -> None:
    keys = make(clock)
    key = check(keys.current(), clock)
    assert keys.open(key.key_id, b"info", envelope(key)) == b"text"
    with pytest.raises(SealError, match="cannot be opened"):
        keys.open(key.key_id, b"other", envelope(key))
    with pytest.raises(UnknownKeyError):
        keys.open("00" * 8, b"info", envelope(key))


def test_rotation(clock: HandClock) -> None:
    keys = make(clock)
    first = check(keys.current(), clock)
    clock.time += 49.9
    assert check(keys.current(), clock) == first
    clock.time += 0.2
    second = check(keys.current(), clock)
    assert second.key_id != first.key_id
    assert second.public_key != first.public_key
    assert keys.open(first.key_id, b"info", envelope(first)) == b"text"
    clock.time += 49.9  # the first one's end
    with pytest.raises(UnknownKeyError, match="fetch the new one"):
        keys.open(first.key_id, b"info", envelope(first))
    assert keys.open(second.key_id, b"info", envelope(second)) == b"text"


def test_expired_keys_are_deleted(clock: HandClock) -> None:
    keys = make(clock)
    held = weakref.ref(keys._keys[0])
    assert isinstance(held(), HpkeKey)
    clock.time += 100
    keys.tidy()
    gc.collect()
    assert held() is None
    assert len(keys._keys) == 1


def test_clock_set_back(clock: HandClock) -> None:
    keys = make(clock)
    clock.time -= 1000
    for _ in range(3):
        assert (
            keys.open(
                (key := check(keys.current(), clock)).key_id,
                b"",
                seal(bytes.fromhex(key.public_key), b"", b"text"),
            )
            == b"text"
        )
    assert len(keys._keys) == 2


def test_new_at_every_start(clock: HandClock) -> None:
    old = check(make(clock).current(), clock)
    with pytest.raises(UnknownKeyError):
        make(clock).open(old.key_id, b"info", envelope(old))


def test_announcement_is_checked(clock: HandClock) -> None:
    signed = make(clock).current()
    now = clock.now()
    with pytest.raises(IntegrityError, match="signature"):
        check_party_key(signed, SigningKey.generate().public, DEPLOYMENT, 1, now)
    with pytest.raises(IntegrityError, match="party 0"):
        check_party_key(signed, SIGNING.public, DEPLOYMENT, 0, now)
    with pytest.raises(IntegrityError, match="party 1"):
        check_party_key(signed, SIGNING.public, bytes(16), 1, now)
    with pytest.raises(ExpiredError):
        check_party_key(signed, SIGNING.public, DEPLOYMENT, 1, now + 100)
    with pytest.raises(ExpiredError):
        check_party_key(signed, SIGNING.public, DEPLOYMENT, 1, now - 61)


def test_reprs_show_no_key(clock: HandClock) -> None:
    keys = make(clock)
    private = keys._keys[0].private.private_bytes_raw()
    for text in (repr(keys), repr(keys._keys[0]), str(keys.__dict__)):
        assert private.hex() not in text
        assert repr(private)[2:-1] not in text
