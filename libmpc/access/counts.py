"""What has been used of the tokens' limits, exact for all gateways of a database together.

Images are *set aside* for one gateway before it answers with them, some ahead, and what it does not
need it gives back. So gateways never give away more than there is, and one that is killed gives
away nothing: what it had set aside counts as used.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from libmpc.access.database import Database
from libmpc.access.grant import Grant
from libmpc.access.pace import Slice, slice_of

#: the most images that are set aside ahead of any query
MAX_AHEAD = 1024

# A token that was revoked and added again has counts of its own, hence the numbers.
_USED = "SELECT images FROM usage WHERE id = ? AND model = ? FOR UPDATE"
_FIRST_USE = """INSERT INTO usage (id, model, images)
SELECT id, ?, 0 FROM tokens WHERE id = ? AND rowid = ? ON CONFLICT (id, model) DO NOTHING"""
_USE = """UPDATE usage SET images = images + ? WHERE id = ? AND model = ?
AND EXISTS (SELECT 1 FROM tokens WHERE tokens.id = ? AND tokens.rowid = ?)"""
_FREE = """SELECT free, CAST(EXTRACT(EPOCH FROM clock_timestamp()) AS DOUBLE PRECISION)
FROM rates WHERE id = ? AND what = ? FOR UPDATE"""
_FIRST_FREE = """INSERT INTO rates (id, what, free)
SELECT id, ?, 0 FROM tokens WHERE id = ? AND rowid = ? ON CONFLICT (id, what) DO NOTHING"""
_TAKE = """UPDATE rates SET free = ? WHERE id = ? AND what = ?
AND EXISTS (SELECT 1 FROM tokens WHERE tokens.id = ? AND tokens.rowid = ?)"""


class Entry(NamedTuple):
    """A token as it is stored.

    Attributes:
        number: another one whenever a token is added, the same one again included: a count belongs
            to a token of that number, and ends with it.
    """

    number: int
    grant: Grant


class Part(NamedTuple):
    """Images that were set aside.

    Attributes:
        images: how many; 0 if too few are left.
        left: how many are left for anybody after that.
    """

    images: int
    left: int


class Spare(NamedTuple):
    """Images that were set aside for a token and are not needed."""

    token: str
    number: int
    model: str
    images: int


class Counts:
    """The counts in a database. Every method raises StoreError if it cannot be asked."""

    def __init__(self, database: Database) -> None:
        self._db = database

    def set_aside(self, entry: Entry, model: str, need: int, want: int) -> Part | None:
        """Set images of a token's quota aside, durably: all of them or none.

        Args:
            need: how many there must be.
            want: how many would be used at once; beyond them an eighth of what is left, at most
                ``MAX_AHEAD``, is set aside ahead.

        Returns:
            what was set aside; ``None`` if the token has been revoked.
        """
        limit, same = entry.grant.images, (entry.grant.id, entry.number)
        assert limit is not None
        found = (entry.grant.id, model)
        with self._db.transaction() as db:
            row = db.execute(_USED, found).fetchone()
            if row is None:
                db.execute(_FIRST_USE, (model, *same))
                row = db.execute(_USED, found).fetchone()
            if row is None:
                return None
            left = limit - row[0]
            if need > left:
                return Part(0, max(0, left))
            ahead = min(MAX_AHEAD, max(0, left - want) // 8)
            part = min(left, want + ahead)
            there = db.execute(_USE, (part, *found, *same)).rowcount
            return Part(part, left - part) if there else None

    def give_back(self, spares: Iterable[Spare]) -> None:
        """Take back what was set aside and not used; nothing for a token that is not there.

        SECURITY: not to be called again after an error, since it may have counted.
        """
        # In one order at all gateways, so that none waits for another in a circle.
        wanted = [
            (-images, token, model, token, number)
            for token, number, model, images in sorted(spares)
            if images
        ]
        if not wanted:
            return
        with self._db.transaction() as db:
            for parameters in wanted:
                db.execute(_USE, parameters)

    def pace(
        self, entry: Entry, what: str, limit: int, need: int, ahead: int, unused: int
    ) -> Slice | None:
        """Take units of a minute that all gateways share; see ``slice_of``.

        By the database's clock, and not durably: its crash may forget the last second.

        Args:
            what: which of the token's rates.

        Returns:
            what was taken; ``None`` if the token has been revoked.
        """
        found, same = (entry.grant.id, what), (entry.grant.id, entry.number)
        with self._db.transaction(durable=False) as db:
            row = db.execute(_FREE, found).fetchone()
            if row is None:
                db.execute(_FIRST_FREE, (what, *same))
                row = db.execute(_FREE, found).fetchone()
            if row is None:
                return None
            taken = slice_of(row[0], row[1], limit, need, ahead, unused)
            there = db.execute(_TAKE, (taken.free, *found, *same)).rowcount
            return taken if there else None
