"""Encodings from docs/wire.md and docs/protocol.md alone: nothing here comes from the library."""

from __future__ import annotations

import hashlib
import hmac
import json
import math
import struct
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hpke import AEAD, KDF, KEM, Suite

Words = npt.NDArray[np.uint64]
MASK = np.uint64(2**48 - 1)
SUITE = Suite(KEM.X25519, KDF.HKDF_SHA256, AEAD.AES_128_GCM)


class Refused(Exception):
    """Something from outside is not what the documentation promises."""


def require(true: bool, what: str) -> None:
    if not true:
        raise Refused(what)


# ---- docs/wire.md: Context


def context(label: str, *fields: bytes) -> bytes:
    parts = (struct.pack(">I", len(item)) + item for item in fields)
    return b"libmpc/1 " + label.encode("ascii") + b"".join(parts)


def digest(label: str, *fields: bytes) -> bytes:
    return hashlib.sha256(context(label, *fields)).digest()


# ---- docs/wire.md: Documents

FIELDS = {
    "descriptor": "deployment name model input_shape input_range output_shape output range_status"
    " range_margin width fraction_bits final_activation plan_digest",
    "manifest": "deployment name plan share_hashes owner input_range range_status range_margin"
    " output final_activation serve num_requests replace issued_ms expires_ms",
    "command": "deployment name model action num_requests command_id issued_ms expires_ms",
    "party key": "deployment party key_id public_key not_before_ms not_after_ms",
    "receipt": "deployment party model",
}


def is_hex(length: int) -> Callable[[Any], bool]:
    digits = set("0123456789abcdef")
    return lambda value: type(value) is str and len(value) == 2 * length and digits >= set(value)


def is_int(value: Any) -> bool:
    return type(value) is int and value >= 0


def one_of(*allowed: Any) -> Callable[[Any], bool]:
    return lambda value: any(type(value) is type(one) and value == one for one in allowed)


def or_null(check: Callable[[Any], bool]) -> Callable[[Any], bool]:
    return lambda value: value is None or check(value)


def list_of(check: Callable[[Any], bool], *lengths: int) -> Callable[[Any], bool]:
    def test(value: Any) -> bool:
        return type(value) is list and all(map(check, value))

    return lambda value: test(value) and (not lengths or len(value) in lengths)


def is_float(value: Any) -> bool:
    return type(value) is float and math.isfinite(value)


def is_text(value: Any) -> bool:
    return type(value) is str


AXES = ("", *(f":-{axis}" for axis in range(2, 9)))  # the last, or one that counts from the end

TYPES: dict[str, Callable[[Any], bool]] = {
    "version": one_of(1),
    "deployment": is_hex(16),
    "name": is_text,
    "model": is_hex(32),
    "input_shape": list_of(is_int),
    "output_shape": list_of(is_int),
    "input_range": list_of(is_float, 2),
    "output": one_of("logits"),
    "range_status": one_of("proven", "calibrated"),
    "range_margin": or_null(is_float),
    "width": one_of(48),
    "fraction_bits": one_of(16),
    "final_activation": one_of(
        "sigmoid",
        None,
        *(f"{kind}{axis}" for kind in ("softmax", "log_softmax", "argmax") for axis in AXES),
    ),
    "plan_digest": is_hex(32),
    "plan": is_text,
    "share_hashes": list_of(is_hex(32), 3),
    "owner": is_hex(32),
    "serve": one_of(True, False),
    "num_requests": or_null(is_int),
    "replace": or_null(is_hex(32)),
    "issued_ms": is_int,
    "expires_ms": is_int,
    "action": one_of("serve", "stop", "delete"),
    "command_id": is_hex(16),
    "party": one_of(0, 1, 2),
    "key_id": is_hex(8),
    "public_key": is_hex(32),
    "not_before_ms": is_int,
    "not_after_ms": is_int,
}


def canonical(fields: Mapping[str, Any]) -> bytes:
    return json.dumps(fields, sort_keys=True, separators=(",", ":")).encode()


def no_doubles(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    require(len(dict(pairs)) == len(pairs), "a field is there twice")
    return dict(pairs)


def parse(label: str, document: bytes) -> dict[str, Any]:
    """The fields, each of the right type; refuses unknown, missing and double ones."""
    try:
        fields = json.loads(document, object_pairs_hook=no_doubles)
    except ValueError as error:
        raise Refused(f"{label}: no JSON") from error
    require(type(fields) is dict, f"{label}: no object")
    require(set(fields) == {"version", *FIELDS[label].split()}, f"{label}: other fields")
    for name, value in fields.items():
        require(TYPES[name](value), f"{label}: {name}")
    return dict(fields)


def verify(label: str, document: bytes, signature: bytes, public_key: bytes) -> dict[str, Any]:
    """Checks the bytes as they came, and only then looks into them."""
    try:
        Ed25519PublicKey.from_public_bytes(public_key).verify(signature, context(label, document))
    except InvalidSignature as error:
        raise Refused(f"{label}: the signature is wrong") from error
    return parse(label, document)


# ---- docs/protocol.md: Numbers, Random numbers, Sharings


def encode(x: npt.ArrayLike) -> Words:
    scaled = np.rint(np.asarray(x, np.float64) * 2.0**16)  # rint: half to even
    return scaled.astype(np.int64).view(np.uint64) & MASK


def decode(words: Words) -> npt.NDArray[np.float64]:
    """Scale 2^32, two's complement of 48 bits. Exact: 48 bits fit into a float64."""
    signed = (words << np.uint64(16)).view(np.int64) >> np.int64(16)
    return signed.astype(np.float64) / 2.0**32


def pack(words: Words) -> bytes:
    return words.astype("<u8").reshape(-1, 1).view(np.uint8)[:, :6].tobytes()


def unpack(data: bytes) -> Words:
    require(len(data) % 6 == 0, "ring values have six bytes each")
    padded = np.zeros((len(data) // 6, 8), np.uint8)
    padded[:, :6] = np.frombuffer(data, np.uint8).reshape(-1, 6)
    return padded.view("<u8").reshape(-1).astype(np.uint64)


def expand_seed(seed: bytes, count: int) -> Words:
    """Party 0's share of an input: AES-128-CTR from a counter block of zeros, a word a value."""
    prk = hmac.digest(bytes(32), seed, "sha256")
    key = hmac.digest(prk, b"libmpc input share v1\x01", "sha256")[:16]
    stream = Cipher(algorithms.AES(key), modes.CTR(bytes(16))).encryptor().update(bytes(8 * count))
    return np.frombuffer(stream, "<u8").astype(np.uint64) & MASK


# ---- docs/wire.md: Envelopes


def query_info(deployment: bytes, header: Mapping[str, Any], party: int) -> bytes:
    shape = header["shape"]
    return context(
        "query",
        *bound(deployment, header, party),
        struct.pack(f">B{len(shape)}I", len(shape), *shape),
    )


def push_info(deployment: bytes, header: Mapping[str, Any], party: int) -> bytes:
    return context("push", *bound(deployment, header, party))


def bound(deployment: bytes, header: Mapping[str, Any], party: int) -> tuple[bytes, ...]:
    """What queries and pushes have in common."""
    return (
        deployment,
        bytes.fromhex(header["model"]),
        bytes([party]),
        bytes.fromhex(header["number"]),
        struct.pack(">Q", header["expires_ms"]),
        bytes.fromhex(header["key_ids"][party]),
    )


def reply_info(deployment: bytes, header: Mapping[str, Any], party: int) -> bytes:
    model, number = bytes.fromhex(header["model"]), bytes.fromhex(header["number"])
    return context("reply", deployment, model, bytes([party]), number)


def query_plaintext(tag: bytes, reply_key: bytes, kind: int, payload: bytes) -> bytes:
    return tag + reply_key + bytes([kind]) + payload


def push_plaintext(manifest: bytes, signature: bytes, share: bytes) -> bytes:
    return struct.pack(">I", len(manifest)) + manifest + signature + share


def reply_plaintext(run_digest: bytes, share: Words) -> bytes:
    return run_digest + pack(share)


def split_reply(plaintext: bytes, count: int) -> tuple[bytes, Words]:
    require(len(plaintext) == 32 + 6 * count, "a reply has another length")
    return plaintext[:32], unpack(plaintext[32:])


def combine(replies: Sequence[tuple[bytes, Words]]) -> npt.NDArray[np.float64]:
    (digest0, share0), (digest1, share1) = replies
    require(digest0 == digest1, "the replies are of different runs")
    return decode(share0 + share1)


def hpke_keys(ephemeral: bytes, receiver: bytes, info: bytes) -> tuple[bytes, bytes, bytes]:
    """RFC 9180, base mode, by hand, since only so an ephemeral key can be given.

    Returns enc, the AEAD's key and its first nonce.
    """
    kem, suite = b"KEM\x00\x20", b"HPKE\x00\x20\x00\x01\x00\x01"

    def extract(of: bytes, salt: bytes, label: bytes, key: bytes) -> bytes:
        return hmac.digest(salt, b"HPKE-v1" + of + label + key, "sha256")

    def expand(of: bytes, prk: bytes, label: bytes, about: bytes, length: int) -> bytes:
        message = struct.pack(">H", length) + b"HPKE-v1" + of + label + about + b"\x01"
        return hmac.digest(prk, message, "sha256")[:length]

    private = X25519PrivateKey.from_private_bytes(ephemeral)
    enc = private.public_key().public_bytes_raw()
    exchanged = private.exchange(X25519PublicKey.from_public_bytes(receiver))
    prk = extract(kem, b"", b"eae_prk", exchanged)
    shared = expand(kem, prk, b"shared_secret", enc + receiver, 32)
    about = b"\x00" + extract(suite, b"", b"psk_id_hash", b"")
    about += extract(suite, b"", b"info_hash", info)
    secret = extract(suite, shared, b"secret", b"")
    key = expand(suite, secret, b"key", about, 16)
    return enc, key, expand(suite, secret, b"base_nonce", about, 12)


def hpke_seal(ephemeral: bytes, receiver: bytes, info: bytes, text: bytes, aad: bytes) -> bytes:
    enc, key, nonce = hpke_keys(ephemeral, receiver, info)
    return enc + AESGCM(key).encrypt(nonce, text, aad)


# ---- docs/wire.md: Deployment file


def deployment_id(name: str, keys: Sequence[tuple[bytes, bytes]]) -> bytes:
    """``keys``: static and signing key of each party."""
    return digest("deployment", name.encode(), *(key for pair in keys for key in pair))[:16]
