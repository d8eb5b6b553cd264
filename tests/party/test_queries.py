"""Queries through three real parties in one process, over sealed links."""

from __future__ import annotations

import asyncio
from pathlib import Path

import numpy as np
import pytest

from tests.party.triple import Refused, expected, perceptron, triple


def test_first_private_prediction(tmp_path: Path) -> None:
    async def main() -> None:
        plan, weights = perceptron()
        rng = np.random.default_rng(2)
        async with triple(tmp_path) as parties:
            gateway = await parties.gateway()
            await gateway.push(plan, weights)
            for batch in (1, 3, 20, 300):
                x = rng.uniform(-1, 1, (batch, 12))
                assert np.array_equal(await gateway.query(x), expected(plan, weights, x))

    asyncio.run(main())
