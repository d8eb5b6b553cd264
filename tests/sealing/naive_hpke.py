"""RFC 9180, base mode, written down as the RFC has it: slow, obvious, for tests only."""

from __future__ import annotations

import hashlib
import hmac

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

KEM_ID = b"KEM" + (0x0020).to_bytes(2, "big")
SUITE_ID = b"HPKE" + b"".join(n.to_bytes(2, "big") for n in (0x0020, 0x0001, 0x0001))


def _hmac(key: bytes, data: bytes) -> bytes:
    return hmac.new(key, data, hashlib.sha256).digest()


def _extract(suite: bytes, salt: bytes, label: bytes, ikm: bytes) -> bytes:
    return _hmac(salt or bytes(32), b"HPKE-v1" + suite + label + ikm)


def _expand(suite: bytes, prk: bytes, label: bytes, info: bytes, length: int) -> bytes:
    info = length.to_bytes(2, "big") + b"HPKE-v1" + suite + label + info
    return _hmac(prk, info + b"\x01")[:length]  # at most 32 bytes are ever asked for


def key_schedule(dh: bytes, enc: bytes, recipient: bytes, info: bytes) -> tuple[bytes, bytes]:
    """The AEAD key and the base nonce."""
    eae = _extract(KEM_ID, b"", b"eae_prk", dh)
    shared = _expand(KEM_ID, eae, b"shared_secret", enc + recipient, 32)
    psk_id_hash = _extract(SUITE_ID, b"", b"psk_id_hash", b"")
    info_hash = _extract(SUITE_ID, b"", b"info_hash", info)
    schedule = b"\x00" + psk_id_hash + info_hash
    secret = _extract(SUITE_ID, shared, b"secret", b"")
    key = _expand(SUITE_ID, secret, b"key", schedule, 16)
    return key, _expand(SUITE_ID, secret, b"base_nonce", schedule, 12)


def open_(private: bytes, info: bytes, envelope: bytes, aad: bytes = b"") -> bytes:
    """Open enc | ciphertext."""
    enc, ciphertext = envelope[:32], envelope[32:]
    key = X25519PrivateKey.from_private_bytes(private)
    dh = key.exchange(X25519PublicKey.from_public_bytes(enc))
    aead, nonce = key_schedule(dh, enc, key.public_key().public_bytes_raw(), info)
    return AESGCM(aead).decrypt(nonce, ciphertext, aad)


def seal(recipient: bytes, ephemeral: bytes, info: bytes, plaintext: bytes) -> bytes:
    """Seal with a given ephemeral key, which only a test vector may do."""
    key = X25519PrivateKey.from_private_bytes(ephemeral)
    enc = key.public_key().public_bytes_raw()
    dh = key.exchange(X25519PublicKey.from_public_bytes(recipient))
    aead, nonce = key_schedule(dh, enc, recipient, info)
    return enc + AESGCM(aead).encrypt(nonce, plaintext, b"")
