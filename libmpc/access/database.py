"""What a gateway's tokens and counts are kept in: SQLite or PostgreSQL, asked in the same words.

Statements are plain SQL that both understand, with ``?`` for parameters; ``FOR UPDATE`` at the end
of a SELECT keeps others from changing the row before the commit, and SQLite, which has locked the
whole file by then, is not told. What else differs is how a table is made.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import Any, Protocol

from libmpc.errors import LibmpcError

Row = tuple[Any, ...]


class StoreError(LibmpcError):
    """The database cannot be asked, or has not done what it was asked. Names no secret."""


class Cursor(Protocol):
    """What a statement has found."""

    @property
    def rowcount(self) -> int: ...
    def fetchone(self) -> Any: ...
    def fetchall(self) -> list[Any]: ...


class Transaction(Protocol):
    """Statements that count all or not at all."""

    def execute(self, query: str, parameters: Sequence[object] = ...) -> Cursor: ...


class Database(Protocol):
    """A database with the tables of ``AccessStore``. Safe to use from several threads."""

    @property
    def name(self) -> str:
        """For messages; without a secret."""
        ...

    @property
    def shared(self) -> bool:
        """Whether other gateways may use it, and asking it may take long."""
        ...

    def read(self, query: str, parameters: Sequence[object] = ()) -> list[Row]:
        """What one SELECT finds.

        Raises:
            StoreError: it cannot be asked.
        """
        ...

    def transaction(self, durable: bool = True) -> AbstractContextManager[Transaction]:
        """Statements that are stored at the end of the block, unless it raises.

        Args:
            durable: whether to wait until a power failure cannot undo it.

        Raises:
            StoreError: it cannot be asked. If that is at the very end of the block, nobody knows
                whether the statements count.
        """
        ...

    def close(self) -> None:
        """Let it go."""
        ...
