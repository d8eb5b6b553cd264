"""Keys of bundles and runs, from the secrets that a pair of parties shares within an epoch."""

from __future__ import annotations

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from libmpc.party.variants import variant_bytes
from libmpc.prg import Stream
from libmpc.wire.context import context

#: purpose classes: the dealer's masks, and the evaluators' re-randomisation of what leaves
CORRELATED = "correlated randomness"
LEAVING = "leaving values"


def bundle_stream(secret: bytes, epoch: bytes, purpose: str, variant: str, bundle: int) -> Stream:
    """The stream of one bundle: HKDF-SHA256(secret, epoch ‖ purpose ‖ variant ‖ bundle number).

    SECURITY: called once per (purpose, bundle): ``BundlePool`` and ``Dealer`` see to it that a
    number is used once in an epoch, and a new handshake makes a new epoch and a new secret.
    """
    info = context(
        "bundle key", epoch, purpose.encode(), variant_bytes(variant), bundle.to_bytes(8)
    )
    return Stream(HKDF(SHA256(), 16, salt=None, info=info).derive(secret))
