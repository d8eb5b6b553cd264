"""Many batches of one call while the model is replaced again and again: answers or clear errors."""

from __future__ import annotations

import asyncio
from pathlib import Path

import numpy as np

from libmpc.errors import ConflictError, UnavailableError
from tests.malicious.stolen import PLAN, WEIGHTS, Stolen, attack, inputs
from tests.party.triple import expected, perceptron

TIMES = 12


def test_a_replacement_never_looks_like_a_forgery(tmp_path: Path) -> None:
    """Nobody attacks here; parties commit one after the other, and clients ask in between."""

    async def work(it: Stolen) -> None:
        x = np.concatenate([inputs(1, seed) for seed in range(24)])
        networks = {it.model: (PLAN, WEIGHTS)}
        answers, errors, over = [], [], False

        async def ask() -> None:
            while not over:
                async with it.client() as client:
                    try:
                        answers.append(await client.query_many("mnist", x, batch_size=1))
                    except (ConflictError, UnavailableError) as error:
                        errors.append(error)

        asking = [asyncio.ensure_future(ask()) for _ in range(4)]
        current = it.model
        for seed in range(TIMES):
            plan, weights = perceptron(seed=20 + seed)
            done = len(answers) + len(errors) + 2
            current = await it.own.push(plan, weights, replace=current)
            networks[current] = plan, weights
            while len(answers) + len(errors) < done:  # noqa: ASYNC110 - nothing tells of it
                await asyncio.sleep(0)
        over = True
        await asyncio.gather(*asking)  # any other error is one of theirs
        assert all(e.status in (404, 409, 503, None) for e in errors), errors
        known = [expected(plan, weights, x) for plan, weights in networks.values()]
        for answer in answers:
            assert any(np.array_equal(answer, right) for right in known)
        assert errors

    attack(work, tmp_path)
