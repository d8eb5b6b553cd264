"""What goes wrong on a link."""

from __future__ import annotations

from libmpc.errors import LibmpcError


class LinkError(LibmpcError):
    """A link between two services could not be made, or is gone.

    SECURITY: the message is one of a few constants (or names a host and port), so that it may be
    passed on; what exactly was wrong is in ``reason``, which belongs in this service's own log and
    nowhere else.

    Attributes:
        reason: what was wrong, for the local log.
    """

    def __init__(self, message: str, *, reason: str = "") -> None:
        super().__init__(message)
        self.reason = reason or message


class LinkEndedError(LinkError):
    """The peer, or this side, ended the link on purpose."""
