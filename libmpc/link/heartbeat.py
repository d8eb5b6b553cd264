"""The task of a link that sends heartbeats and watches for silence."""

from __future__ import annotations

from collections.abc import Callable

from libmpc.clock import Clock
from libmpc.link.kinds import HEARTBEAT
from libmpc.link.outgoing import Outgoing
from libmpc.link.pulse import Beat, Pulse
from libmpc.link.records import Opener
from libmpc.link.stream import ByteStream


async def until_silent(
    pulse: Pulse,
    clock: Clock,
    stream: ByteStream,
    out: Outgoing,
    opener: Opener,
    reading: Callable[[], bool],
) -> None:
    """Keep a link alive; return when its peer counts as dead, or once nothing is sent any more.

    Args:
        reading: whether silence would be noticed.
    """
    while not out.closed:
        await clock.sleep(pulse.seconds)
        beat = pulse.tick(sending=stream.unsent > 0, reading=reading(), records=opener.records)
        if beat is Beat.DEAD:
            return
        if beat is Beat.SEND:
            out.put(HEARTBEAT, 0, 0)
            pulse.used = False
