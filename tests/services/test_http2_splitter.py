"""Frames come out as they went in, wherever the bytes were cut."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass, field

import pytest
from h2.errors import ErrorCodes
from hypothesis import given
from hypothesis import strategies as st

from services.common.http2.budget import FrameBudget
from services.common.http2.frames import Http2Error, head, parse_head, window_update
from services.common.http2.limits import FRAME_BURST, FRAMES_PER_SECOND, LINK_WINDOW
from services.common.http2.splitter import Splitter
from services.common.http2.windows import ReceiveWindow, SendWindow
from tests.services.raw import DATA, END_STREAM, PADDED, PING, SETTINGS, credit, frame

LINK = 5


@dataclass
class Record:
    """Takes all frames and writes down what they were."""

    seen: list[tuple[object, ...]] = field(default_factory=list)
    body: bytearray = field(default_factory=bytearray)
    counted: int = 0

    def frame(self, data: memoryview) -> None:
        self.seen.append(("other", bytes(data)))

    def begin_data(self, length: int) -> None:
        self.counted += length

    def data(self, piece: memoryview) -> None:
        self.body += piece
        self.counted -= len(piece)

    def skipped(self, length: int) -> None:
        self.counted -= length

    def end(self) -> None:
        self.seen.append(("end", bytes(self.body)))

    def credit(self, stream: bool, increment: int) -> None:
        self.seen.append(("credit", stream, increment))


def pieces(data: bytes, cuts: list[int]) -> Iterator[bytes]:
    places = sorted({0, len(data), *(cut % (len(data) + 1) for cut in cuts)})
    return (data[a:b] for a, b in itertools.pairwise(places))


def padded(payload: bytes, padding: int) -> bytes:
    return frame(DATA, PADDED, LINK, bytes([padding]) + payload + bytes(padding))


OTHERS = st.builds(
    frame, st.sampled_from([PING, SETTINGS, 77]), st.just(0), st.just(0), st.binary()
)
BODIES = st.one_of(
    st.binary(max_size=200).map(lambda b: (frame(DATA, 0, LINK, b), b)),
    st.tuples(st.binary(max_size=200), st.integers(0, 255)).map(lambda t: (padded(*t), t[0])),
)
CREDITS = st.tuples(st.sampled_from([0, LINK]), st.integers(1, (1 << 31) - 1))


@given(
    st.lists(st.one_of(OTHERS, BODIES, CREDITS), max_size=20),
    st.lists(st.integers(0, 1 << 20), max_size=40),
    st.booleans(),
)
def test_cutting_changes_nothing(
    play: list[bytes | tuple[bytes, bytes] | tuple[int, int]], cuts: list[int], every: bool
) -> None:
    sent, body, expected = b"", b"", []
    for item in play:
        if isinstance(item, bytes):
            sent += item
            expected.append(("other", item))
        elif isinstance(item[0], bytes):
            sent += item[0]
            body += item[1]  # type: ignore[operator]
        else:
            sent += credit(*item)  # type: ignore[arg-type]
            expected.append(("credit", item[0] != 0, item[1]))
    sent += frame(DATA, END_STREAM, LINK, b"end")
    record = Record()
    splitter = Splitter(record)
    splitter.divert(LINK, record)
    for piece in pieces(sent, list(range(len(sent))) if every else cuts):
        splitter.feed(piece)
    assert record.seen == [*expected, ("end", body + b"end")]
    assert record.counted == 0


@given(st.lists(st.binary(max_size=60), max_size=20))
def test_nonsense_is_an_error_of_ours_or_nothing(chunks: list[bytes]) -> None:
    record = Record()
    splitter = Splitter(record)
    splitter.divert(LINK, record)
    try:
        for chunk in chunks:
            splitter.feed(chunk)
    except Http2Error as error:
        assert isinstance(error.code, ErrorCodes)


def test_before_a_link_all_frames_are_others() -> None:
    record = Record()
    splitter = Splitter(record)
    sent = [frame(DATA, 0, LINK, b"x"), credit(0, 7), credit(LINK, 8)]
    splitter.feed(b"".join(sent))
    assert record.seen == [("other", each) for each in sent]


@pytest.mark.parametrize("length", [0, 1, 255, 256, 65535, 65536, 1 << 20, (1 << 24) - 1])
def test_heads(length: int) -> None:
    made = head(length, DATA, END_STREAM, LINK)
    assert made == frame(DATA, END_STREAM, LINK, length=length)
    assert parse_head(made, 0) == (length, DATA, END_STREAM, LINK)
    assert window_update(LINK, 7) == credit(LINK, 7)


@given(st.lists(st.integers(0, LINK_WINDOW), max_size=50))
def test_the_peer_is_never_owed_more_than_a_quarter_of_the_window(sizes: list[int]) -> None:
    window = ReceiveWindow(LINK_WINDOW)
    for size in sizes:
        if size > window.left:
            before = window.left
            with pytest.raises(Http2Error) as caught:
                window.arrived(size)
            assert caught.value.code == ErrorCodes.FLOW_CONTROL_ERROR
            assert before >= LINK_WINDOW - LINK_WINDOW // 4
            return
        window.arrived(size)
        window.consumed(size)
        assert LINK_WINDOW * 3 // 4 < window.left <= LINK_WINDOW


def test_send_windows_end_at_two_to_the_31() -> None:
    for stream in (True, False):
        window = SendWindow(1, 1, 100)
        window.credit(stream, (1 << 31) - 2)
        with pytest.raises(Http2Error):
            window.credit(stream, 1)


def test_a_budget_fills_again() -> None:
    now = 0.0
    budget = FrameBudget(lambda: now)
    for _ in range(FRAME_BURST):
        budget.spend()
    now = 10 / FRAMES_PER_SECOND
    for _ in range(10):
        budget.spend()
    with pytest.raises(Http2Error):
        budget.spend()
