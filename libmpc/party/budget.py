"""One bound on the memory of long messages that gateways send, over all their links.

A gateway has a link for queries and another one for each push, and a message may take 1 GiB. So
bytes are counted, of messages that have not ended and of those that are being worked on; a link
that would go beyond the bound is not read for a while, and its flow control makes the gateway wait.

The longest message always fits beside all others. Of those that have not ended, the one that
began first may grow as far as it likes, unless much is being worked on; so one of them always gets
on. The others share half of what is left, and what is worked on has the other half before the first
waits. Each link may go beyond by what has arrived before it was held back.
"""

from __future__ import annotations

from typing import Protocol

#: a message of one record is not counted: a link holds no more than that anyway
SHORT_BYTES = 1 << 20


class Valve(Protocol):
    """What can be held back; a link."""

    def pause(self) -> None: ...
    def resume(self) -> None: ...


class MessageBudget:
    """Bytes that all gateways' long messages may take together.

    Args:
        limit: bytes in all.
        longest: bytes of the longest message; not more than ``limit``.

    Attributes:
        unfinished: bytes of messages that have not ended.
        worked_on: bytes of messages that are being carried out.
    """

    def __init__(self, limit: int, longest: int) -> None:
        self._shared = max(0, limit - longest) // 2
        self._begun: dict[Account, None] = {}  # in the order in which their messages began
        self.unfinished = 0
        self.worked_on = 0

    @property
    def waiting(self) -> int:
        """Links that are held back."""
        return sum(account.waiting for account in self._begun)

    def grown(self, account: Account, unfinished: int) -> None:
        """So much of an account's message is there; nothing: it has ended, or none has begun."""
        if unfinished == account.unfinished:
            return
        self.unfinished += unfinished - account.unfinished
        account.unfinished = unfinished
        if unfinished:
            self._begun.setdefault(account)
            if not self._may_grow(account):
                account.wait()
        else:
            self._begun.pop(account, None)
            account.go_on()
            self._wake()

    def begin(self, size: int) -> None:
        """A message is worked on from now on."""
        self.worked_on += size

    def end(self, size: int) -> None:
        """Nothing of it is needed any more."""
        self.worked_on -= size
        self._wake()

    def _may_grow(self, account: Account) -> bool:
        first = next(iter(self._begun))
        if account is first:  # whatever the others have: they may all wait for this one
            return self.worked_on <= self._shared
        return self.worked_on + self.unfinished - first.unfinished < self._shared

    def _wake(self) -> None:
        for account in list(self._begun):
            if account.waiting and self._may_grow(account):
                account.go_on()


class Account:
    """One link's part in the budget.

    Attributes:
        unfinished: bytes of its message that has not ended.
        waiting: whether it is held back.
    """

    def __init__(self, budget: MessageBudget, link: Valve) -> None:
        self._budget = budget
        self._link = link
        self.unfinished = 0
        self.waiting = False

    def grown(self, unfinished: int) -> None:
        """See ``MessageBudget.grown``; also for a link that is over, with 0."""
        self._budget.grown(self, unfinished)

    def wait(self) -> None:
        """Read no more for now."""
        if not self.waiting:
            self.waiting = True
            self._link.pause()

    def go_on(self) -> None:
        """Read again."""
        if self.waiting:
            self.waiting = False
            self._link.resume()
