"""Whom a party knows, and by which keys: what the deployment file says at this time."""

from __future__ import annotations

from libmpc.deployment import Deployment, PartyEntry
from libmpc.errors import ConfigError
from libmpc.identity.keys import PartyIdentity
from libmpc.link import GATEWAY, Hello, Link, RemoteIdentity


class Members:
    """The deployment as one party sees it; the file may be replaced while the party runs.

    Args:
        index: this party's.
        triple: which of its processes this is.
    """

    def __init__(self, index: int, deployment: Deployment, triple: int = 0) -> None:
        self._index = index
        self._triple = triple
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
        """The two other parties of this triple."""
        return {
            party.index: _remote(party, self._triple)
            for party in self._deployment.parties
            if party.index != self._index
        }

    def primary(self) -> RemoteIdentity:
        """This party's own process of triple 0."""
        return _remote(self._deployment.parties[self._index], 0)

    def lookup(self, hello: Hello) -> RemoteIdentity | None:
        """Whom a hello may come from, if anybody."""
        # SECURITY: only keys that the deployment pins, each in its own place.
        if hello.public_key not in self._keys(hello.index, hello.triple):
            return None
        return RemoteIdentity(hello.index, hello.public_key)

    def accepts(self, link: Link) -> bool:
        """Whether a link would still be made with the key that its peer has proven."""
        return link.peer_key in self._keys(link.peer, link.peer_triple)

    def _keys(self, index: int, triple: int) -> set[bytes]:
        if index == GATEWAY:
            return {gateway.static_key for gateway in self._deployment.gateways}
        # SECURITY: this party's own index is its replica's, which gets its shares: at triple 0
        # only, and with this organisation's own keys.
        if index == self._index and (self._triple > 0 or triple == 0):
            return set()
        return set(self._deployment.parties[index].static_keys)


def _remote(party: PartyEntry, triple: int) -> RemoteIdentity:
    return RemoteIdentity(party.index, party.static_key, party.static_keys[1:], triple)
