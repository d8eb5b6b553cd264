"""What must never happen twice, or in the wrong order, seen from outside the code under test.

Functions of the production classes are watched, not replaced: each calls the real one.
"""

from __future__ import annotations

import contextlib
import logging
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any
from unittest.mock import patch

from libmpc.link.session import Link
from libmpc.party import current_role, keys
from libmpc.party.evaluator import Evaluator
from libmpc.party.messages import Kind
from libmpc.party.queries import Pending
from libmpc.party.store import Period
from libmpc.prg import Stream
from tests.simulation.disk import SimDisk
from tests.simulation.loop import current_process

_MessageKey = tuple[bytes, int, int]


class Ledger:
    """Uses of key streams, bundles and query numbers, and which epoch a message belongs to.

    Attributes:
        broken: what was found, in plain words.
    """

    def __init__(self, disks: list[SimDisk]) -> None:
        self.broken: list[str] = []
        self._disks = disks
        self._streams: set[tuple[str, bytes]] = set()
        self._frames: set[tuple[Any, ...]] = set()
        self._replies: set[tuple[str, str]] = set()
        self._given: Counter[tuple[str, Period]] = Counter()
        self._epochs: dict[_MessageKey, bytes] = {}
        self._heard: dict[int, tuple[object, _MessageKey]] = {}

    def _once(self, seen: set[Any], use: Any, what: str) -> None:
        process = current_process()
        if process is not None and process.dead:
            return
        if use in seen:
            self.broken.append(f"{process}: {what}")
        seen.add(use)

    # ---- what is watched

    def stream(self, key: bytes) -> Stream:
        """Each party makes the stream of a bundle once."""
        stream = Stream(key, lambda *draw: None)
        name = getattr(current_process(), "name", "")
        self._once(self._streams, (name, stream._key_id), "a key stream was begun twice")
        return stream

    def frame(self, role: Evaluator, kind: int, bundle: int, step: int) -> None:
        """Each evaluator names a bundle once, and sends each of its steps once."""
        if kind in (Kind.RUN, Kind.ROUND):
            use = (role._secrets.epoch, role.index, kind, bundle, step)
            self._once(self._frames, use, f"bundle {bundle} was used twice ({Kind(kind).name})")

    def reply(self, query: Pending) -> None:
        """One reply to a number; where there is a limit, it is counted durably before."""
        process = current_process()
        if process is None or process.dead or query.done.done():
            return
        use = (process.name, query.number)
        self._once(self._replies, use, "a query was answered twice")
        record = query.entry.record
        row = self._disks[int(process.name[1:])].rows().get(record.model)
        if row is None or record.num_requests is None or row[4] != record.command_ms:
            return
        given = process.name, record.period
        self._given[given] += 1
        if self._given[given] > row[3]:
            self.broken.append(f"{process}: a reply left before it was counted durably")
        if self._given[given] > record.num_requests:
            self.broken.append(f"{process}: more replies than the owner's limit")

    def sent(self, link: Link, epoch: bytes) -> None:
        self._epochs[link.transcript, link._local, link.sent.messages] = epoch

    def arrived(self, link: Link, message: object) -> None:
        key = link.transcript, link.peer, link.received.messages
        self._heard[id(message)] = message, key

    def received(self, message: object, epoch: bytes) -> None:
        """What was sent in one epoch is heard in no other."""
        _, key = self._heard.get(id(message), (None, (b"", 0, 0)))
        if self._epochs.get(key) != epoch:
            self.broken.append(f"{current_process()}: a message of another epoch was accepted")

    @contextlib.contextmanager
    def watching(self) -> Iterator[None]:
        """Watch everything that happens within the block."""
        ledger, make_role = self, current_role.make_role
        post, handle, reply = Evaluator._post, Link._handle, Pending.reply

        def watched_post(
            self: Evaluator, kind: Kind, bundle: int, step: int, *a: Any, **k: Any
        ) -> None:
            if not self._closed:
                ledger.frame(self, kind, bundle, step)
            post(self, kind, bundle, step, *a, **k)

        def watched_handle(self: Link, message: Any) -> None:
            ledger.arrived(self, message)
            handle(self, message)

        def watched_reply(self: Pending, envelope: bytes) -> None:
            ledger.reply(self)
            reply(self, envelope)

        def watched_role(
            index: int, epoch: bytes, links: Mapping[int, Link], **rest: Any
        ) -> _WatchedRole:
            tagged: Any = {p: _WatchedLink(link, epoch, ledger) for p, link in links.items()}
            return _WatchedRole(make_role(index, epoch, tagged, **rest), epoch, ledger)

        errors = _Errors(self.broken, self._disks)
        loggers = [logging.getLogger(name) for name in ("libmpc", "services")]
        with contextlib.ExitStack() as stack:
            stack.enter_context(patch.object(keys, "Stream", self.stream))
            stack.enter_context(patch.object(Evaluator, "_post", watched_post))
            stack.enter_context(patch.object(Link, "_handle", watched_handle))
            stack.enter_context(patch.object(Pending, "reply", watched_reply))
            stack.enter_context(patch.object(current_role, "make_role", watched_role))
            for logger in loggers:
                logger.addHandler(errors)
                stack.callback(logger.removeHandler, errors)
            yield


class _WatchedLink:
    """A link as a role has it; what it sends is noted with the role's epoch."""

    def __init__(self, link: Link, epoch: bytes, ledger: Ledger) -> None:
        self._link = link
        self._epoch = epoch
        self._ledger = ledger

    def post(self, *args: Any, **kwargs: Any) -> None:
        self._link.post(*args, **kwargs)
        self._ledger.sent(self._link, self._epoch)

    async def send(self, *args: Any) -> None:
        sending = self._link.send(*args)
        # It is posted before it waits.
        self._ledger._epochs[
            self._link.transcript, self._link._local, self._link.sent.messages + 1
        ] = self._epoch
        await sending

    def __getattr__(self, name: str) -> Any:
        return getattr(self._link, name)


class _WatchedRole:
    """A role that checks the epoch of what it is given."""

    def __init__(self, role: Any, epoch: bytes, ledger: Ledger) -> None:
        self._role = role
        self._epoch = epoch
        self._ledger = ledger

    def receive(self, peer: int, message: Any) -> None:
        self._ledger.received(message, self._epoch)
        self._role.receive(peer, message)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._role, name)


class _Errors(logging.Handler):
    """An error in a log is a defect: honest parties give each other none, whatever breaks. But
    an operator must hear of a disk that is full."""

    def __init__(self, broken: list[str], disks: list[SimDisk]) -> None:
        super().__init__(logging.ERROR)
        self._broken = broken
        self._disks = {disk.directory.name: disk for disk in disks}

    def emit(self, record: logging.LogRecord) -> None:
        process = current_process()
        disk = self._disks.get(process.name) if process is not None else None
        if disk is not None and disk.full and "could not be counted" in record.getMessage():
            return
        if process is None or not process.dead:
            self._broken.append(f"{process} logs: {record.getMessage()}")
