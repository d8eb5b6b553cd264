"""What travels between client, gateway and parties, as bytes: formats, bounds and strict parsing.

There is no cryptography in here beyond SHA-256, and nothing that knows a share or a protocol step.
"""

from libmpc.wire.command import Command
from libmpc.wire.context import WIRE_VERSION, context, sha256
from libmpc.wire.descriptor import Descriptor
from libmpc.wire.document import Document
from libmpc.wire.envelope import Kind, PushPlaintext, QueryPlaintext, ReplyPlaintext
from libmpc.wire.errors import ExpiredError, WireError
from libmpc.wire.final import read_final, spell_final
from libmpc.wire.headers import PushHeader, QueryHeader, push_info, query_info, reply_info
from libmpc.wire.keys import PartyKey
from libmpc.wire.manifest import Manifest, model_digest, sharing_digest
from libmpc.wire.names import check_name, is_name
from libmpc.wire.receipt import Receipt
from libmpc.wire.signed import Signed

__all__ = [
    "WIRE_VERSION",
    "Command",
    "Descriptor",
    "Document",
    "ExpiredError",
    "Kind",
    "Manifest",
    "PartyKey",
    "PushHeader",
    "PushPlaintext",
    "QueryHeader",
    "QueryPlaintext",
    "Receipt",
    "ReplyPlaintext",
    "Signed",
    "WireError",
    "check_name",
    "context",
    "is_name",
    "model_digest",
    "push_info",
    "query_info",
    "read_final",
    "reply_info",
    "sha256",
    "sharing_digest",
    "spell_final",
]
