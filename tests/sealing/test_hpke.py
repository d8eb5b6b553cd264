from __future__ import annotations

import json
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from hypothesis import given, settings
from hypothesis import strategies as st

from libmpc.sealing.errors import SealError
from libmpc.sealing.open import ReplyKey, open_sealed
from libmpc.sealing.seal import OVERHEAD, seal

from . import naive_hpke

VECTORS = json.loads((Path(__file__).parents[1] / "vectors" / "hpke.json").read_text())
RFC = {k: bytes.fromhex(v) for k, v in VECTORS["rfc9180_a_1_1"].items() if k != "source"}
OURS = {k: bytes.fromhex(v) for k, v in VECTORS["query_envelope"].items()}

PRIVATE = bytes(range(32))
KEY = X25519PrivateKey.from_private_bytes(PRIVATE)
PUBLIC = KEY.public_key().public_bytes_raw()
CONSTANT = "the envelope cannot be opened"


def test_naive_against_the_rfc() -> None:
    envelope = RFC["enc"] + RFC["ct"]
    assert naive_hpke.open_(RFC["skRm"], RFC["info"], envelope, RFC["aad"]) == RFC["pt"]
    private = X25519PrivateKey.from_private_bytes(RFC["skEm"])
    assert private.public_key().public_bytes_raw() == RFC["enc"]


def test_ours_opens_under_the_rfcs_key_schedule() -> None:
    # The RFC's example has additional data, which the single-shot interface does not: so take its
    # key and nonce, and seal its text without.
    ciphertext = AESGCM(RFC["key"]).encrypt(RFC["base_nonce"], RFC["pt"], b"")
    private = X25519PrivateKey.from_private_bytes(RFC["skRm"])
    assert open_sealed(private, RFC["info"], RFC["enc"] + ciphertext) == RFC["pt"]


def test_our_vector() -> None:
    private = X25519PrivateKey.from_private_bytes(OURS["private_key"])
    assert open_sealed(private, OURS["info"], OURS["envelope"]) == OURS["plaintext"]
    public = private.public_key().public_bytes_raw()
    again = naive_hpke.seal(public, OURS["ephemeral_private"], OURS["info"], OURS["plaintext"])
    assert again == OURS["envelope"]


@settings(max_examples=50)
@given(st.binary(max_size=100), st.binary(max_size=300))
def test_naive_opens_ours(info: bytes, plaintext: bytes) -> None:
    envelope = seal(PUBLIC, info, plaintext)
    assert len(envelope) == len(plaintext) + OVERHEAD
    assert naive_hpke.open_(PRIVATE, info, envelope) == plaintext
    assert open_sealed(KEY, info, memoryview(envelope)) == plaintext
    assert seal(PUBLIC, info, plaintext) != envelope


def test_every_changed_byte_is_refused() -> None:
    envelope = seal(PUBLIC, b"info", b"a secret")
    for place in range(len(envelope)):
        changed = bytearray(envelope)
        changed[place] ^= 0x40
        with pytest.raises(SealError) as caught:
            open_sealed(KEY, b"info", changed)
        assert str(caught.value) == CONSTANT
        assert caught.value.__cause__ is None


def test_every_truncation_is_refused() -> None:
    envelope = seal(PUBLIC, b"info", b"a secret")
    for size in range(len(envelope)):
        with pytest.raises(SealError, match=CONSTANT):
            open_sealed(KEY, b"info", envelope[:size])
    with pytest.raises(SealError, match=CONSTANT):
        open_sealed(KEY, b"info", envelope + b"\0")


def test_other_info_other_key_and_small_order() -> None:
    envelope = seal(PUBLIC, b"info", b"a secret")
    with pytest.raises(SealError, match=CONSTANT):
        open_sealed(KEY, b"Info", envelope)
    with pytest.raises(SealError, match=CONSTANT):
        open_sealed(X25519PrivateKey.generate(), b"info", envelope)
    with pytest.raises(SealError, match=CONSTANT):
        open_sealed(KEY, b"info", bytes(32) + envelope[32:])


@pytest.mark.parametrize("key", [b"", bytes(31), bytes(32), b"\x01" + bytes(31), bytes(33)])
def test_keys_that_cannot_be_sealed_to(key: bytes) -> None:
    with pytest.raises(SealError, match="cannot be sealed to"):
        seal(key, b"info", b"a secret")


def test_reply_key() -> None:
    key = ReplyKey.generate()
    assert key.open(b"reply", seal(key.public, b"reply", b"share")) == b"share"
    with pytest.raises(SealError, match=CONSTANT):
        ReplyKey.generate().open(b"reply", seal(key.public, b"reply", b"share"))
    assert repr(key) == "ReplyKey()"
