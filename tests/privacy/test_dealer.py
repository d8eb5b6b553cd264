"""The dealer receives nothing that depends on an input: equal bytes, whatever is asked."""

from __future__ import annotations

import asyncio
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from libmpc.party.messages import Kind
from libmpc.party.node_settings import NodeSettings
from libmpc.party.settings import RoleSettings
from libmpc.runtime import warm_up
from tests.party.triple import FAST, expected, triple, until
from tests.privacy.recording import PLAN, WEIGHTS, Recording, recorded

ROWS = (1, 8, 3, 1, 40)
POOLED = RoleSettings(pool={1: 2, 8: 1, 32: 1, 128: 1})
STREAMED = RoleSettings(stream_bytes=0, stream_window=1)
#: what follows from handshakes and models, whose keys and seeds are new each time
OF_LINKS = (Kind.EPOCH, Kind.CATALOG)


async def push(directory: Path) -> None:
    async with triple(directory) as parties:
        await (await parties.gateway()).push(PLAN, dict(WEIGHTS))


async def ask(directory: Path, recording: Recording, value: float, role: RoleSettings) -> None:
    settings = NodeSettings(link=FAST, role=role)
    async with triple(directory, settings=settings) as parties:
        gateway = await parties.gateway()
        await until(lambda: parties.nodes[0].condition.submit and parties.nodes[1].condition.submit)
        of_links = sum(f.receiver == 2 and f.kind in OF_LINKS for f in recording.frames)
        for rows in ROWS:
            await until(lambda: idle(parties))
            x = np.full((rows, 2), value)
            assert np.array_equal(await gateway.query(x), expected(PLAN, dict(WEIGHTS), x))
        await until(lambda: idle(parties))
        assert of_links == sum(f.receiver == 2 and f.kind in OF_LINKS for f in recording.frames)


def idle(parties: Any) -> bool:
    """No run is under way, and nothing is being dealt."""
    roles = [parties.nodes[p].role.now for p in (0, 1)]
    return not any(r._runs or r.streams or r.pool.groups for r in roles) and not roles[0]._tasks


@pytest.mark.parametrize("role", [POOLED, STREAMED], ids=["pooled", "streamed"])
def test_receives_equal_bytes_whatever_the_input(tmp_path: Path, role: RoleSettings) -> None:
    warm_up()
    # One push, so that model and weights are the same; what is sealed differs all the same.
    asyncio.run(push(tmp_path / "pushed"))
    received = []
    for value in (0.0, -7.75):
        shutil.copytree(tmp_path / "pushed", tmp_path / str(value))
        with (
            pytest.MonkeyPatch.context() as patch,
            recorded(patch, np.full(2, value), WEIGHTS) as recording,
        ):
            asyncio.run(ask(tmp_path / str(value), recording, value, role))
        frames = [f for f in recording.frames if f.receiver == 2 and f.kind not in OF_LINKS]
        # Of each sender and bundle in order: which of them is first is a matter of timing.
        received.append(sorted(frames, key=lambda frame: (frame.sender, frame.bundle)))
    assert {f.kind for f in received[0]} == (
        {Kind.DEAL} if role is POOLED else {Kind.DEAL, Kind.CREDIT}
    )
    assert received[0] == received[1]
    assert not any(frame.sender == 255 for frames in received for frame in frames)
