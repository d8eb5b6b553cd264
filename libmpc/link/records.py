"""Messages as sealed records.

A message is a 16-byte header (kind u8, 3 zero bytes, step u32, bundle u64) and a payload. It is
cut into records of at most 1 MiB on the stream, all full but the last. Record::

    last u1, length u31 | AES-256-GCM(key of this direction, nonce = number of the record,
                                      associated data = the four bytes before)

Numbers start at 0 and are never sent: a record that was dropped, repeated or moved has a wrong
tag. From minor version 1 on, both ends replace a direction's key after every 65,536 records, as
Noise does (revision 34, section 4.2, REKEY): the first 32 bytes of
AES-256-GCM(key, nonce 2^64 - 1, 32 zeros). Numbers go on.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass, field

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from libmpc.link.errors import LinkError
from libmpc.link.noise import TAG_BYTES, nonce_bytes
from libmpc.link.stream import Buffer

_WIRE_RECORD_BYTES = 1 << 20  # with length and tag: then a record is one HTTP/2 frame
RECORD_OVERHEAD = 4 + TAG_BYTES
MAX_RECORD_BYTES = _WIRE_RECORD_BYTES - RECORD_OVERHEAD
HEADER_BYTES = 16
#: the initiator's first record: an empty message, which proves that it has the key
CONFIRMATION_BYTES = RECORD_OVERHEAD + HEADER_BYTES
_HEADER = struct.Struct(">BxxxIQ")
_LENGTH = struct.Struct(">I")
_LAST = 1 << 31
_MAX_RECORDS = 1 << 40
#: 2^16 records of 2^16 blocks each: an attacker's advantage against one key stays below 2^-64
REKEY_RECORDS = 1 << 16
_REKEY_NONCE = nonce_bytes((1 << 64) - 1)  # no record's
INVALID = "the link broke: an invalid record arrived"


@dataclass(frozen=True, slots=True)
class Message:
    """One message. ``payload`` is valid for as long as somebody holds it."""

    kind: int
    bundle: int
    step: int
    # SECURITY: payloads are masked values or sealed ones, which no log may show.
    payload: Buffer = field(repr=False)


def _invalid(reason: str) -> LinkError:
    # SECURITY: one constant text for everything that may be wrong with a record.
    return LinkError(INVALID, reason=reason)


class RecordKey:
    """The key of one direction: which AEAD and which nonce each record has, in order.

    Args:
        key: from the handshake, 32 bytes.
        rekeys: whether it is replaced every ``REKEY_RECORDS`` records (minor version 1).
    """

    def __init__(self, key: bytes, *, rekeys: bool) -> None:
        self._aead = AESGCM(key)
        self._rekeys = rekeys
        self.number = 0  # of the next record
        self.replaced = 0  # how often

    def next(self) -> tuple[AESGCM, bytes]:
        """For the next record.

        Raises:
            LinkError: there are too many; the link has to be made anew.
        """
        # SECURITY: the number goes up before the key is used; no two records share a nonce.
        number = self.number
        self.number += 1
        if number >= _MAX_RECORDS:
            raise _invalid("the key of this direction is used up")
        if self._rekeys and number and number % REKEY_RECORDS == 0:
            # SECURITY: one way: whoever learns a later key can open no earlier record with it.
            self._aead = AESGCM(self._aead.encrypt(_REKEY_NONCE, bytes(32), b"")[:32])
            self.replaced += 1
        return self._aead, nonce_bytes(number)


class Sealer:
    """Turns messages into records, in the order of the calls."""

    def __init__(self, key: RecordKey) -> None:
        self._key = key

    def seal(self, kind: int, bundle: int, step: int, buffers: tuple[Buffer, ...]) -> list[Buffer]:
        """The records of one message whose payload is ``buffers``, joined."""
        head = _HEADER.pack(kind, step, bundle)
        size = len(head) + sum(memoryview(buffer).nbytes for buffer in buffers)
        if size <= MAX_RECORD_BYTES:
            return [self._record(memoryview(b"".join((head, *buffers))), _LAST)]
        last = -(-size // MAX_RECORD_BYTES) - 1
        return [
            self._record(piece, _LAST if number == last else 0)
            for number, piece in enumerate(_pieces((head, *buffers)))
        ]

    def _record(self, plaintext: memoryview, last: int) -> bytearray:
        size = len(plaintext) + TAG_BYTES
        record = bytearray(_LENGTH.size + size)
        _LENGTH.pack_into(record, 0, last | size)
        aead, nonce = self._key.next()
        associated = bytes(record[: _LENGTH.size])
        with memoryview(record) as view:
            body = view[_LENGTH.size :]
            aead.encrypt_into(nonce, plaintext, associated, body)
        return record


def _pieces(buffers: tuple[Buffer, ...]) -> Iterator[memoryview]:
    """The buffers, joined, in records' lengths; each is valid until the next.

    A long message is never copied as a whole: it may be a model's share.
    """
    piece = bytearray(MAX_RECORD_BYTES)
    filled = 0
    for buffer in filter(len, buffers):  # what is empty cannot be cast
        rest = memoryview(buffer).cast("B")
        while rest.nbytes:
            taken = rest[: MAX_RECORD_BYTES - filled]
            piece[filled : filled + taken.nbytes] = taken
            filled += taken.nbytes
            rest = rest[taken.nbytes :]
            if filled == MAX_RECORD_BYTES:
                yield memoryview(piece)
                filled = 0
    if filled:
        yield memoryview(piece)[:filled]


class Opener:
    """Turns the bytes of a stream back into messages.

    Args:
        key: the key of this direction.
        max_message: the longest payload that is accepted, in bytes.
    """

    def __init__(self, key: RecordKey, max_message: int) -> None:
        self._key = key
        self._max_message = max_message
        self._record = bytearray()  # one that came in several chunks
        self._wanted = 0  # its length, once that is known
        self._filled = 0
        self._parts: list[Buffer] = []
        self._size = 0

    @property
    def records(self) -> int:
        """Complete records so far."""
        return self._key.number

    @property
    def unfinished(self) -> int:
        """Bytes of a message of several records that has not ended."""
        return self._size

    def feed(self, chunk: Buffer) -> Iterator[Message]:
        """The messages that ``chunk`` completes; a record that lies in it is not copied.

        Raises:
            LinkError: anything is wrong with a record; the link is of no use any more.
        """
        rest = memoryview(chunk)
        while rest:
            if self._filled or len(rest) < _LENGTH.size:
                rest = self._collect(rest)
                if not self._wanted or self._filled < self._wanted:
                    continue
                record = memoryview(self._record)[: self._wanted]
                self._filled = self._wanted = 0
            else:
                size = self._check(rest)
                if size > len(rest):
                    rest = self._collect(rest)
                    continue
                record, rest = rest[:size], rest[size:]
            message = self._open(record)
            record.release()  # the buffer behind it may have to grow
            if message is not None:
                yield message

    def _collect(self, rest: memoryview) -> memoryview:
        """Put the beginning of ``rest`` to the record that has begun."""
        size = self._wanted or _LENGTH.size
        taken = rest[: size - self._filled]
        if len(self._record) < size:
            self._record.extend(bytes(size - len(self._record)))
        self._record[self._filled : self._filled + len(taken)] = taken
        self._filled += len(taken)
        if not self._wanted and self._filled == _LENGTH.size:
            self._wanted = self._check(self._record)
        return rest[len(taken) :]

    def _check(self, record: Buffer) -> int:
        """The length of the record that begins here, with its head."""
        (head,) = _LENGTH.unpack_from(record)
        size: int = head & ~_LAST
        self._check_size(size, bool(head & _LAST))
        return _LENGTH.size + size

    def _check_size(self, size: int, last: bool) -> None:
        # Before anything is buffered: a peer cannot make us hold more than one record of garbage.
        if size > MAX_RECORD_BYTES + TAG_BYTES or size < TAG_BYTES:
            raise _invalid("record of a wrong length")
        if not last and size != MAX_RECORD_BYTES + TAG_BYTES:
            raise _invalid("short record within a message")
        if self._size + size - TAG_BYTES > self._max_message + HEADER_BYTES:
            raise _invalid("message longer than allowed")

    def _open(self, record: memoryview) -> Message | None:
        number = self._key.number
        aead, nonce = self._key.next()
        head = bytes(record[: _LENGTH.size])
        try:
            plaintext = aead.decrypt(nonce, record[_LENGTH.size :], head)
        except InvalidTag:
            raise _invalid(f"record {number} has a wrong tag") from None
        last = bool(head[0] & 0x80)
        if last and not self._parts:
            return self._message(plaintext)
        self._parts.append(plaintext)
        self._size += len(plaintext)
        if not last:
            return None
        whole = b"".join(self._parts)
        self._parts.clear()
        self._size = 0
        return self._message(whole)

    @staticmethod
    def _message(plaintext: bytes) -> Message:
        if len(plaintext) < HEADER_BYTES:
            raise _invalid("message without a header")
        kind, step, bundle = _HEADER.unpack_from(plaintext)
        return Message(kind, bundle, step, memoryview(plaintext)[HEADER_BYTES:])
