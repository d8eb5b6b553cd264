"""What the dealer has under way: groups for the pool, and streamed bundles."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from libmpc.party.entry import Entry
from libmpc.party.messages import BundleHeader, Deal
from libmpc.party.streams import Window


@dataclass(eq=False)
class Flow:
    """A streamed bundle; ``task`` deals it, once it has been announced."""

    window: Window
    task: asyncio.Task[None] | None = None
    ended: bool = False


@dataclass(eq=False)
class Dealt:
    """A group's corrections, joined, in the first bytes of a buffer."""

    header: BundleHeader
    buffer: np.ndarray[tuple[int], np.dtype[np.uint8]]
    size: int


def make_header(job: Deal, entry: Entry, vouched: Sequence[str] = ()) -> BundleHeader:
    """What the evaluators are told of bundles."""
    return BundleHeader(
        bundle=job.bundle,
        count=job.count,
        model=job.model,
        plan=entry.plan.digest.hex(),
        sharing=entry.sharing.hex(),
        rung=job.rung,
        streamed=job.streamed,
        vouched=tuple(vouched),
    )
