"""Until when a token counts, as people write it."""

from __future__ import annotations

import pytest

from libmpc.access import parse_expiry
from libmpc.errors import InputError

NOW_MS = 1_893_456_000_000  # 2030-01-01


@pytest.mark.parametrize(
    ("text", "hours"),
    [("1h", 1), ("12h", 12), ("90d", 2160), ("4w", 672), ("2030-01-01", 24), ("2030-02-01", 768)],
)
def test_what_people_write(text: str, hours: int) -> None:
    assert parse_expiry(text, NOW_MS) == NOW_MS + hours * 3_600_000


@pytest.mark.parametrize(
    "text",
    [
        "",
        "0h",
        "-1d",
        "1.5d",
        "90",
        "d",
        "9999999w",
        "1y",
        "2030-13-01",
        "31.12.2030",
        "9999-12-31",
    ],
)
def test_what_is_no_time(text: str) -> None:
    with pytest.raises(InputError, match="no time"):
        parse_expiry(text, NOW_MS)


def test_what_has_passed() -> None:
    with pytest.raises(InputError, match="passed already"):
        parse_expiry("2029-12-31", NOW_MS)
