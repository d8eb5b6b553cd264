from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from libmpc.errors import ConfigError, IntegrityError
from libmpc.identity.signing import SigningKey, verify, verify_descriptor, verify_document
from libmpc.identity.token import is_token, new_token, token_id, token_sha256
from libmpc.wire import Command, Descriptor, Receipt, Signed, WireError

VECTORS = json.loads((Path(__file__).parents[1] / "vectors" / "documents.json").read_text())
DOCUMENTS = {d["kind"]: d for d in VECTORS["documents"]}
KEYS = [SigningKey.generate() for _ in range(3)]
DESCRIPTOR = Descriptor.parse(DOCUMENTS["Descriptor"]["document"].encode())
DEPLOYMENT = bytes.fromhex(DESCRIPTOR.deployment)


@pytest.mark.parametrize("vector", DOCUMENTS.values(), ids=DOCUMENTS)
def test_vectors(vector: dict[str, str]) -> None:
    key = SigningKey.from_bytes(bytes.fromhex(vector["private_key"]))
    signed = key.sign(vector["label"], vector["document"].encode())
    assert key.public.hex() == vector["public_key"]
    assert signed.signature.hex() == vector["signature"]
    assert verify(key.public, vector["label"], signed) == vector["document"].encode()


def test_tampering() -> None:
    signed = KEYS[0].sign("command", b"document")
    for place in range(64):
        changed = bytearray(signed.signature)
        changed[place] ^= 1
        with pytest.raises(IntegrityError, match="signature of a command"):
            verify(
                KEYS[0].public, "command", Signed(document=b"document", signature=bytes(changed))
            )
    for label, document, key in (
        ("command", b"Document", KEYS[0].public),
        ("command", b"document ", KEYS[0].public),
        ("manifest", b"document", KEYS[0].public),
        ("command", b"document", KEYS[1].public),
        ("command", b"document", bytes(5)),
        ("command", b"document", b"\xff" * 32),
    ):
        with pytest.raises(IntegrityError):
            verify(key, label, Signed(document=document, signature=signed.signature))


def test_documents_under_their_own_label() -> None:
    receipt = Receipt.parse(DOCUMENTS["Receipt"]["document"].encode())
    signed = KEYS[0].sign_document(receipt)
    assert verify_document(KEYS[0].public, Receipt, signed) == receipt
    with pytest.raises(IntegrityError):
        verify_document(KEYS[0].public, Command, signed)
    with pytest.raises(WireError):
        verify_document(KEYS[0].public, Receipt, KEYS[0].sign("receipt", b"{}"))


def test_descriptor_needs_both_evaluators() -> None:
    publics = [KEYS[0].public, KEYS[1].public]
    both = [key.sign_document(DESCRIPTOR) for key in KEYS[:2]]
    assert verify_descriptor(publics, both, DEPLOYMENT, "mnist") == DESCRIPTOR
    other = KEYS[1].sign_document(DESCRIPTOR.model_copy(update={"input_range": (0.0, 2.0)}))
    for signed, message in (
        ([both[0], other], "differently"),
        ([both[0], both[0]], "signature"),
        ([both[1], both[0]], "signature"),
        ([both[0], KEYS[2].sign_document(DESCRIPTOR)], "signature"),
        (both[:1], "both evaluators"),
        ([*both, both[0]], "both evaluators"),
    ):
        with pytest.raises(IntegrityError, match=message):
            verify_descriptor(publics, signed, DEPLOYMENT, "mnist")
    with pytest.raises(IntegrityError, match="another model"):
        verify_descriptor(publics, both, DEPLOYMENT, "other")
    with pytest.raises(IntegrityError, match="another model"):
        verify_descriptor(publics, both, bytes(16), "mnist")


def test_private_half_is_not_shown() -> None:
    key = SigningKey(Ed25519PrivateKey.from_private_bytes(b"s" * 32))
    assert (b"s" * 32).hex() not in repr(key)
    assert key.public.hex() in repr(key)
    with pytest.raises(ConfigError, match="32 bytes"):
        SigningKey.from_bytes(b"s" * 31)


def test_token() -> None:
    token = new_token()
    assert re.fullmatch(r"libmpc_[0-9a-f]{12}_[A-Za-z0-9_-]{43}", token)
    assert token != new_token()
    assert token_id(token) == token.split("_")[1]
    for other in ("", "x" * 43, token[:-1], token + "x", token.upper(), token + "\n"):
        assert token_id(other) is None
    assert is_token(token, token_sha256(token))
    assert not is_token(token[:-1], token_sha256(token))
    assert not is_token("", token_sha256(token))
    assert not is_token("ü\0", token_sha256(token))
    assert token_sha256("abc") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
