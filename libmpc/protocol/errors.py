"""The one error by which a run ends early."""

from __future__ import annotations

from libmpc.errors import LibmpcError


class ProtocolError(LibmpcError):
    """A message or correction does not have the agreed length; the run is over.

    SECURITY: always the same message, whatever went wrong, so that it tells nobody anything about
    a value. Nothing is checked but lengths: plausibility of opened values would be an oracle.
    """

    def __init__(self) -> None:
        super().__init__("a message of the protocol does not have the agreed form; query again")
