"""Who is who: long-term keys, signatures, TLS certificates, and the files that hold them."""

from libmpc.identity.keys import GatewayIdentity, PartyIdentity
from libmpc.identity.signing import SigningKey, verify, verify_descriptor, verify_document

__all__ = [
    "GatewayIdentity",
    "PartyIdentity",
    "SigningKey",
    "verify",
    "verify_descriptor",
    "verify_document",
]
