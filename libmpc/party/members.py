"""Whom a party knows, and by which keys: what the deployment file says at this time."""

from __future__ import annotations

from libmpc.deployment import Deployment
from libmpc.errors import ConfigError
from libmpc.identity.keys import PartyIdentity
from libmpc.link import GATEWAY, Hello, Link, RemoteIdentity


class Members:
    """The deployment as one party sees it; the file may be replaced while the party runs.

    Args:
        index: this party's.
    """

    def __init__(self, index: int, deployment: Deployment) -> None:
        self._index = index
        self._deployment = deployment

    def check(self, deployment: Deployment, identity: PartyIdentity) -> None:
        """Check that a file can take the place of the one in force.

        Raises:
            ConfigError: it is another deployment's, or has other keys for this party.
        """
        if deployment.id != self._deployment.id:
            raise ConfigError(
                "the deployment file is another deployment's: a party serves the one that it has "
                "started with; replaced keys are added with 'libmpc keys add'"
            )
        deployment.check_party(self._index, identity.static_public, identity.signing.public)

    def replace(self, deployment: Deployment) -> None:
        """Go by another file from now on."""
        self._deployment = deployment

    def peers(self) -> dict[int, RemoteIdentity]:
        """The two other parties."""
        return {
            party.index: RemoteIdentity(party.index, party.static_key, party.static_keys[1:])
            for party in self._deployment.parties
            if party.index != self._index
        }

    def lookup(self, hello: Hello) -> RemoteIdentity | None:
        """Whom a hello may come from, if anybody."""
        # SECURITY: only keys that the deployment pins, each in its own place.
        if hello.public_key not in self._keys(hello.index):
            return None
        return RemoteIdentity(hello.index, hello.public_key)

    def accepts(self, link: Link) -> bool:
        """Whether a link would still be made with the key that its peer has proven."""
        return link.peer_key in self._keys(link.peer)

    def _keys(self, index: int) -> set[bytes]:
        if index == GATEWAY:
            return {gateway.static_key for gateway in self._deployment.gateways}
        return {
            key
            for party in self._deployment.parties
            if party.index == index != self._index
            for key in party.static_keys
        }
