"""Until when a token counts, as people write it."""

from __future__ import annotations

import datetime as dt
import re

from libmpc.errors import InputError

_UNITS = {"h": 3600, "d": 86400, "w": 7 * 86400}
_DURATION = re.compile(r"([1-9][0-9]{0,5})([hdw])")


def parse_expiry(text: str, now_ms: int) -> int:
    """Unix milliseconds of ``12h``, ``90d``, ``4w`` from now, or of the end of a day (UTC).

    Raises:
        InputError: it is none of these, or has passed.
    """
    if found := _DURATION.fullmatch(text):
        return now_ms + 1000 * int(found[1]) * _UNITS[found[2]]
    try:
        day = dt.date.fromisoformat(text)
        end = dt.datetime.combine(day, dt.time.min, dt.UTC) + dt.timedelta(days=1)
    except (ValueError, OverflowError):
        raise InputError(
            f"{text!r} is no time: hours, days or weeks from now, such as 12h, 90d or 4w, or a "
            "day such as 2030-12-31"
        ) from None
    if (millis := int(end.timestamp()) * 1000) <= now_ms:
        raise InputError(f"{text} has passed already")
    return millis
