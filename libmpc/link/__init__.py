"""Sealed links between services: Noise KK handshake, AEAD records, heartbeats, explicit end.

Works over any ``ByteStream``; HTTP/2 is in services/.
"""

from libmpc.link.errors import LinkEndedError, LinkError
from libmpc.link.handshake import accept, connect
from libmpc.link.hello import GATEWAY, Hello, LocalIdentity, RemoteIdentity, WireVersions
from libmpc.link.inbox import Inbox
from libmpc.link.kinds import MAX_KIND
from libmpc.link.memory import MemoryStream, memory_pair
from libmpc.link.records import Message
from libmpc.link.session import Link
from libmpc.link.stream import Buffer, ByteStream, Sink
from libmpc.link.terms import LinkSettings, Traffic
from libmpc.link.totals import LinkTotals

__all__ = [
    "GATEWAY",
    "MAX_KIND",
    "Buffer",
    "ByteStream",
    "Hello",
    "Inbox",
    "Link",
    "LinkEndedError",
    "LinkError",
    "LinkSettings",
    "LinkTotals",
    "LocalIdentity",
    "MemoryStream",
    "Message",
    "RemoteIdentity",
    "Sink",
    "Traffic",
    "WireVersions",
    "accept",
    "connect",
    "memory_pair",
]
