"""The closing half: HPKE to a party's short-lived key, or to a client's reply key.

DHKEM(X25519, HKDF-SHA256), HKDF-SHA256, AES-128-GCM; RFC 9180, base mode, single shot, no
additional data. An envelope is enc (32 bytes) | ciphertext | tag (16 bytes).
"""

from __future__ import annotations

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PublicKey
from cryptography.hazmat.primitives.hpke import AEAD, KDF, KEM, Suite

from libmpc.errors import IntegrityError
from libmpc.identity.signing import PublicKeys, verify_document
from libmpc.sealing.errors import SealError
from libmpc.wire.fields import BytesLike
from libmpc.wire.keys import PartyKey
from libmpc.wire.lifetime import check_lifetime
from libmpc.wire.signed import Signed

OVERHEAD = 48
"""How much longer an envelope is than what is in it."""


def suite() -> Suite:
    """The one suite of wire version 1."""
    return Suite(KEM.X25519, KDF.HKDF_SHA256, AEAD.AES_128_GCM)


def seal(public_key: bytes, info: bytes, plaintext: BytesLike) -> bytes:
    """Seal for the holder of a key (32 bytes); opens under exactly this ``info``.

    About 0.2 ms and 2-3 ms per MB, for up to half of which no other Python thread runs.

    Raises:
        SealError: the key is no X25519 key, or one that every key agrees with.
    """
    try:
        return suite().encrypt(plaintext, X25519PublicKey.from_public_bytes(public_key), info=info)
    except ValueError:
        raise SealError("the recipient's key cannot be sealed to") from None


def check_party_key(
    signed: Signed, signing_key: PublicKeys, deployment: bytes, party: int, now: float
) -> PartyKey:
    """Believe a key that a gateway brings: the party signed it, for this deployment, for now.

    Args:
        signing_key: the party's long-term key, as the deployment file pins it.
        deployment: the deployment's id (16 bytes).
        now: Unix time in seconds.

    Raises:
        IntegrityError: not signed by this party, or for another deployment or index.
        ExpiredError: not valid now; fetch it again, or compare the clocks.
        WireError: signed but not a key.
    """
    key = verify_document(signing_key, PartyKey, signed)
    if (key.deployment, key.party) != (deployment.hex(), party):
        raise IntegrityError(f"the key is not one of party {party} of this deployment")
    check_lifetime("party key", key.not_before_ms, key.not_after_ms, now)
    return key
