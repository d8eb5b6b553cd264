from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from libmpc.wire import ExpiredError, Signed, WireError
from libmpc.wire.lifetime import MAX_SKEW_MS, check_expiry, check_lifetime

documents = st.binary(min_size=1, max_size=99)
signatures = st.binary(min_size=64, max_size=64)


@given(documents, signatures)
def test_round_trip(document: bytes, signature: bytes) -> None:
    signed = Signed(document=document, signature=signature)
    assert Signed.from_json(json.loads(json.dumps(signed.to_json()))) == signed


GOOD = {"document": "eA==", "signature": "A" * 86 + "=="}


def test_good() -> None:
    assert Signed.from_json(GOOD) == Signed(document=b"x", signature=bytes(64))


@pytest.mark.parametrize(
    "value",
    [
        None,
        [],
        "x",
        {},
        {"document": "eA=="},
        {**GOOD, "more": 1},
        {**GOOD, "document": ""},
        {**GOOD, "document": "eA"},
        {**GOOD, "document": "eB=="},  # the same byte, spelled otherwise
        {**GOOD, "document": "e A=="},
        {**GOOD, "document": "eA==\n"},
        {**GOOD, "document": "ü"},
        {**GOOD, "document": 1},
        {**GOOD, "signature": "AAAA"},
        {**GOOD, "document": "A" * 4 * (6 << 20)},
    ],
    ids=range(15),
)
def test_refused(value: object) -> None:
    with pytest.raises(WireError, match="not a signed document"):
        Signed.from_json(value)


def test_lifetime() -> None:
    check_lifetime("command", 10_000, 20_000, 10.0)
    check_lifetime("command", 10_000 + MAX_SKEW_MS, 90_000, 10.0)
    check_lifetime("command", 10_000, 20_000, 19.999)
    with pytest.raises(ExpiredError, match="the command has expired"):
        check_lifetime("command", 10_000, 20_000, 20.0)
    with pytest.raises(ExpiredError, match="future"):
        check_lifetime("command", 10_001 + MAX_SKEW_MS, 90_000, 10.0)


def test_expiry() -> None:
    check_expiry("query", 10_001, 10.0, 1000)
    check_expiry("query", 11_000 + MAX_SKEW_MS, 10.0, 1000)
    with pytest.raises(ExpiredError, match="seal it again"):
        check_expiry("query", 10_000, 10.0, 1000)
    with pytest.raises(ExpiredError, match="too far"):
        check_expiry("query", 11_001 + MAX_SKEW_MS, 10.0, 1000)
