"""The secrets that the two ends of a link have in common, and who may have which."""

from __future__ import annotations

from libmpc.link.errors import LinkError
from libmpc.link.hello import PARTIES, REKEYS_SINCE
from libmpc.link.records import RecordKey
from libmpc.link.terms import LinkTerms

STREAM, RERANDOMISE = b"stream secret", b"rerandomise secret"


def frame_keys(terms: LinkTerms) -> tuple[RecordKey, RecordKey]:
    """The keys of frames that leave, and of those that arrive."""
    keys = terms.result.initiator_key, terms.result.responder_key
    own, peers = keys if terms.initiator else keys[::-1]
    rekeys = terms.minor >= REKEYS_SINCE
    return RecordKey(own, rekeys=rekeys), RecordKey(peers, rekeys=rekeys)


class LinkSecrets:
    """What a handshake gives to protocols; gone for good after ``forget``."""

    def __init__(self, terms: LinkTerms) -> None:
        self._ends = {terms.own.index, terms.peer.index}
        # SECURITY: these two, not what they come from: with that in memory, somebody who reads it
        # later could compute the frames' first keys again.
        self._secrets = {name: terms.result.secret(name) for name in (STREAM, RERANDOMISE)}

    def stream(self) -> bytes:
        """For common random streams of two parties.

        Raises:
            LinkError: the ends are not two different parties.
        """
        if len(self._ends) != 2 or not self._ends <= set(PARTIES):
            raise LinkError("only parties that differ have common random streams")
        return self._secrets[STREAM]

    def rerandomise(self) -> bytes:
        """For what leaves for a client.

        Raises:
            LinkError: these are not parties 0 and 1.
        """
        if self._ends != {0, 1}:
            raise LinkError("only parties 0 and 1 re-randomise")
        return self._secrets[RERANDOMISE]

    def forget(self) -> None:
        """Nothing is given out any more."""
        self._secrets.clear()
