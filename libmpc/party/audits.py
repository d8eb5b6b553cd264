"""Which bundles the evaluators audit, decided by a coin that none of the three can foresee.

1. Before it asks the dealer for a group of bundles, party 0 commits to 32 random bytes.
2. When all corrections of the group are there, and not before, party 1 names 32 random bytes.
3. Party 0 opens its commitment. Both hash the two halves with each bundle's number: below
   ``rate`` it leaves the pool to be audited (``runtime.audit``). Until then none of the group is
   used.

The dealer hears nothing of it: whatever it does to a bundle, it has done before the coin fell.
"""

from __future__ import annotations

import asyncio
import hmac
import secrets
from collections.abc import Callable, Collection, Mapping, Sequence

from libmpc.party.messages import BundleHeader, Coin, Kind, Toss
from libmpc.party.pool import PoolKey
from libmpc.protocol import Payload
from libmpc.wire.context import context, sha256
from libmpc.wire.errors import WireError

WRONG = "party 1 has found the dealer's corrections wrong; its log has the step"
_WHOLE = 1 << 32
_COIN_BYTES = 32

Tell = Callable[[Kind, int, bytes], None]
Corrections = Sequence[Mapping[int, Payload]]


def commitment(epoch: bytes, first: int, count: int, value: bytes) -> bytes:
    """What party 0 sends ahead of its half of the coin."""
    return sha256(context("audit toss", epoch, first.to_bytes(8), count.to_bytes(4), value))


def choose(
    epoch: bytes, numbers: Collection[int], rate: int, halves: tuple[bytes, bytes]
) -> list[int]:
    """The bundles that are audited: each with probability rate / 2^32, independently."""

    def coin(number: int) -> int:
        value = sha256(context("audit coin", epoch, *halves, number.to_bytes(8)))
        return int.from_bytes(value[:4])

    return [number for number in numbers if coin(number) < rate]


class LeadAudits:
    """Party 0's side within one epoch.

    Args:
        rate: the share of bundles that are audited, 0 to 1.
        tell: sends party 1 a message.
    """

    def __init__(self, epoch: bytes, rate: float, tell: Tell) -> None:
        self.rate = round(rate * _WHOLE)
        self._epoch = epoch
        self._tell = tell
        self._tosses: dict[int, tuple[range, bytes]] = {}
        self._chosen: dict[int, list[int]] = {}
        self._dealt: dict[int, BundleHeader] = {}
        self._awaited: dict[int, BundleHeader] = {}
        self._shown: dict[int, BundleHeader] = {}

    def toss(self, numbers: range) -> None:
        """Commit to our half of the coin for bundles that are asked for."""
        value = secrets.token_bytes(_COIN_BYTES)
        self._tosses[numbers[0]] = numbers, value
        committed = commitment(self._epoch, numbers[0], len(numbers), value)
        toss = Toss(
            bundle=numbers[0], count=len(numbers), rate=self.rate, commitment=committed.hex()
        )
        self._tell(Kind.TOSS, numbers[0], toss.encode())

    def coin(self, first: int, theirs: Coin) -> None:
        """Party 1 has named its half; open ours.

        Raises:
            WireError: nothing was tossed for these bundles.
        """
        toss = self._tosses.pop(first, None)
        if toss is None:
            raise WireError("a coin that nobody has tossed")
        numbers, value = toss
        self._tell(Kind.COIN, first, Coin(value=value.hex()).encode())
        halves = value, bytes.fromhex(theirs.value)
        self._chosen[first] = choose(self._epoch, numbers, self.rate, halves)

    def dealt(self, header: BundleHeader) -> None:
        """The dealer has finished a group."""
        self._dealt[header.bundle] = header

    def ready(self, first: int) -> tuple[BundleHeader, list[int]] | None:
        """A group and what is audited of it, once, when both are known."""
        if first not in self._dealt or first not in self._chosen:
            return None
        return self._dealt.pop(first), self._chosen.pop(first)

    def begin(self, number: int, header: BundleHeader) -> None:
        """A bundle has left the pool to be audited."""
        self._awaited[number] = header

    def show(self, number: int) -> BundleHeader:
        """What an audited bundle was for, once: it is shown now.

        Raises:
            WireError: it is not audited, or was shown before.
        """
        # SECURITY: nothing is shown of a bundle that the coin has not named.
        header = self._awaited.pop(number, None)
        if header is None:
            raise WireError("a bundle that is not audited")
        self._shown[number] = header
        return header

    def verdict(self, number: int) -> PoolKey:
        """What a bundle was for whose audit has ended.

        Raises:
            WireError: it was not shown.
        """
        header = self._shown.pop(number, None)
        if header is None:
            raise WireError("a bundle that is not audited")
        return header.model, header.rung


class FollowAudits:
    """Party 1's side within one epoch.

    Args:
        tell: sends party 0 a message.
    """

    def __init__(self, epoch: bytes, tell: Tell) -> None:
        self._epoch = epoch
        self._tell = tell
        self._tosses: dict[int, Toss] = {}
        self._arrived: dict[int, tuple[BundleHeader, Corrections]] = {}
        self._coins: dict[int, bytes] = {}
        self._awaited: dict[int, tuple[int, asyncio.Future[bytes]]] = {}
        self.unvouched = 0  # the last group that came without the dealer's word

    def toss(self, toss: Toss) -> None:
        """Party 0 has committed to its half.

        Raises:
            WireError: it has done so before.
        """
        if toss.bundle in self._tosses:
            raise WireError("a coin is tossed once")
        self._tosses[toss.bundle] = toss
        self._answer(toss.bundle)

    def tossed(self, first: int) -> bool:
        """Whether party 0 means to audit this group."""
        return first in self._tosses

    def arrived(self, header: BundleHeader, corrections: Corrections) -> None:
        """All corrections of a group are there.

        Raises:
            WireError: the dealer does not vouch for each bundle.
        """
        if len(header.vouched) != header.count:
            raise WireError("a bundle without the dealer's word")
        self._arrived[header.bundle] = header, corrections
        self._answer(header.bundle)

    def _answer(self, first: int) -> None:
        if first in self._tosses and first in self._arrived:
            # SECURITY: only now. Party 0 is bound to its half, and the dealer to the bundles.
            value = self._coins[first] = secrets.token_bytes(_COIN_BYTES)
            self._tell(Kind.COIN, first, Coin(value=value.hex()).encode())

    def coin(self, first: int, theirs: Coin) -> tuple[BundleHeader, Corrections, list[int]]:
        """Party 0 has opened its half: the group, and what is audited of it.

        Raises:
            WireError: it is not what it has committed to.
        """
        own = self._coins.pop(first, None)
        if own is None:
            raise WireError("a coin that nobody has tossed")
        toss, (header, corrections) = self._tosses.pop(first), self._arrived.pop(first)
        value = bytes.fromhex(theirs.value)
        committed = commitment(self._epoch, first, header.count, value).hex()
        if not hmac.compare_digest(committed, toss.commitment):
            raise WireError("a coin that is not what was committed to")
        numbers = range(first, first + header.count)
        return header, corrections, choose(self._epoch, numbers, toss.rate, (value, own))

    def expect(self, number: int, most: int) -> asyncio.Future[bytes]:
        """What party 0 shows of an audited bundle, ``most`` bytes."""
        future: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        self._awaited[number] = most, future
        return future

    def shown(self, number: int, payload: bytes) -> None:
        """Party 0 has shown it.

        Raises:
            WireError: nobody waits for it, or it is too long.
        """
        most, future = self._awaited.pop(number, (0, None))
        if future is None or len(payload) > most:
            raise WireError("a bundle that is not audited")
        if not future.done():
            future.set_result(payload)
