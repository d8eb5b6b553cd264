"""After a change at triple 0: see that the other triples have it before it is acknowledged."""

from __future__ import annotations

import asyncio

from libmpc.errors import ServiceError, UnavailableError
from libmpc.party.messages import Kind
from services.gateway.errors import RETRY_SECONDS
from services.gateway.router import Router
from services.gateway.triple import Triple

#: of the error when a change is made at triple 0 and not at all others yet
FOLLOWS = "follows"


async def everywhere(router: Router, seconds: float) -> None:
    """Have every process of the triples from 1 on catch up with triple 0.

    One that is not reachable is not waited for: it catches up before it is ready again.

    Args:
        seconds: that a process may take.

    Raises:
        UnavailableError: some did not say that they have; names their triples.
    """
    behind = await asyncio.gather(*(_behind(triple, seconds) for triple in router.triples[1:]))
    if late := [text for text in behind if text]:
        raise UnavailableError(
            "the change is made at triple 0 and at all others that can be reached, but not at"
            f" {'; '.join(late)}. It follows there by itself as soon as that can be; asking"
            " again is safe",
            status=503,
            retry_after=RETRY_SECONDS,
            code=FOLLOWS,
        )


async def _behind(triple: Triple, seconds: float) -> str:
    try:
        await triple.parties.change(Kind.SYNC, b"", seconds)
    except ServiceError as error:
        return f"triple {triple.number} ({str(error).partition(';')[0]})"
    return ""
