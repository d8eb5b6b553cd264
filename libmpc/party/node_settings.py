"""Bounds of a party: of its links, of its part in runs, of its threads and memory."""

from __future__ import annotations

from dataclasses import dataclass

from libmpc.link import LinkSettings
from libmpc.party.settings import RoleSettings
from libmpc.wire.envelope import MAX_MESSAGE_BYTES


@dataclass(frozen=True)
class NodeSettings:
    """Bounds of a party.

    Attributes:
        link: of links to peers and gateways; a push is one message.
        role: of the party's part in runs.
        workers: threads for dealing and preparing.
        gateway_bytes: what long messages of all gateways' links may take together.
    """

    link: LinkSettings = LinkSettings(max_message=MAX_MESSAGE_BYTES)
    role: RoleSettings = RoleSettings()
    workers: int = 1
    gateway_bytes: int = 3 << 29
