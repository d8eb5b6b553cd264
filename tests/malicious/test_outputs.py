"""A stolen gateway and what answers are made of: labels, best ones, scores, and the policy."""

from __future__ import annotations

import asyncio
import itertools
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

from libmpc.errors import InputError, IntegrityError, LibmpcError
from libmpc.link import Message
from libmpc.party.messages import Kind
from libmpc.wire.signed import Signed
from tests.malicious.stolen import (
    BATCH,
    PLAN,
    WEIGHTS,
    Stolen,
    attack,
    close_batch,
    inputs,
    open_batch,
    refused,
)
from tests.malicious.test_envelopes import Answers, outcomes
from tests.party.triple import expected

OTHERS = ("logits", "topk:2", "topk:3", "scores:4", "scores:8", "count", "confusion")
KINDS = ("logits", "label", "topk:2", "scores:8")


def labels(x: Any) -> Any:
    return expected(PLAN, WEIGHTS, x).argmax(axis=1)


async def ask(it: Stolen, output: str | None, seed: int = 1) -> Any:
    """An honest client's query with an output of its choice."""
    async with it.client() as client:
        try:
            return await client.query("mnist", inputs(2, seed), output=output)
        except LibmpcError as error:
            return error


async def still_labels(it: Stolen) -> None:
    """With his hands off, labels are answered, and are the right ones."""
    it.hands.to_party = it.hands.from_party = it.hands.on_answer = None
    answer = await ask(it, "label", 9)
    assert not isinstance(answer, LibmpcError), answer
    assert np.array_equal(np.asarray(answer).reshape(-1), labels(inputs(2, 9)))


@pytest.mark.parametrize("output", [o for o in OTHERS if o not in ("count", "confusion")])
def test_an_output_that_the_owner_forbids(tmp_path: Path, output: str) -> None:
    """The attacker seals the query himself, for both evaluators, or for one of them."""

    async def work(it: Stolen) -> None:
        for asked in ((output, output), (output, "label"), ("label", output)):
            query = await it.own.seal_query(inputs(2), outputs=asked)
            (said,) = await outcomes(it, [query])
            assert 200 not in said
        assert await it.served() == [0, 0]
        await still_labels(it)

    attack(work, tmp_path, output="label")


@pytest.mark.parametrize(("one", "other"), list(itertools.permutations(KINDS, 2)))
def test_the_evaluators_are_asked_for_different_outputs(
    tmp_path: Path, one: str, other: str
) -> None:
    """Each is allowed; the two of them together are no computation."""

    async def work(it: Stolen) -> None:
        query = await it.own.seal_query(inputs(2), outputs=(one, other))
        (said,) = await outcomes(it, [query])
        assert 200 not in said
        assert await it.served() == [0, 0]
        await still_labels(it)

    attack(work, tmp_path)


def test_queries_for_different_outputs_are_mixed_in_one_batch(tmp_path: Path) -> None:
    async def work(it: Stolen) -> None:
        def mix(party: int, kind: int, payload: bytes) -> Answers:
            if kind != BATCH or party == 0:
                return [(kind, payload)]
            batch, envelopes = open_batch(payload)
            return [(kind, close_batch(batch, envelopes[::-1]))]

        it.hands.to_party = mix
        batcher = it.gateway.router.first.batcher
        batcher.settings = replace(batcher.settings, delay=0.5)
        for answer in await asyncio.gather(ask(it, "label", 1), ask(it, "logits", 1)):
            if isinstance(answer, LibmpcError):
                refused(answer, 422, 503)
        await still_labels(it)

    attack(work, tmp_path)


@pytest.mark.parametrize("asked", ["label", "topk:2"])
def test_the_answer_to_another_output_is_given(tmp_path: Path, asked: str) -> None:
    """Logits where a label was asked for, and the other way round: sealed for their own query."""

    async def work(it: Stolen) -> None:
        kept: dict[int, bytes] = {}

        def exchange(party: int, message: Message) -> list[Message]:
            if message.kind != Kind.RESULT or message.step != 200:
                return [message]
            sealed = bytes(message.payload)[16:]
            first = kept.setdefault(party, sealed)
            return [replace(message, payload=bytes(message.payload)[:16] + first)]

        it.hands.from_party = exchange
        assert not isinstance(await ask(it, "logits"), LibmpcError)
        refused(await ask(it, asked), IntegrityError)
        await still_labels(it)

    attack(work, tmp_path)


@pytest.mark.parametrize("output", ["logits", "topk:3", "scores:16"])
def test_the_owners_policy_is_edited_for_a_client(tmp_path: Path, output: str) -> None:
    """The descriptor's signature ends there; without it, the evaluators' own check."""

    async def work(it: Stolen) -> None:
        def edit(request: httpx.Request, response: httpx.Response) -> httpx.Response:
            if not request.url.path.endswith("/models/mnist"):
                return response
            document = response.json()
            for signed in document["libmpc"]["descriptor"]:
                one = Signed.from_json(dict(signed))
                fields = {**json.loads(one.document), "output": output}
                changed = one.model_copy(update={"document": json.dumps(fields).encode()})
                signed.update(changed.to_json())
            return httpx.Response(200, json=document, request=request)

        it.hands.on_answer = edit
        refused(await ask(it, output), IntegrityError)
        it.hands.on_answer = None
        refused(await ask(it, output), InputError, 422)
        assert await it.served() == [0, 0]
        await still_labels(it)

    attack(work, tmp_path, output="label")


@pytest.mark.parametrize("samples", [1, 4, 7])
def test_an_evaluation_of_fewer_samples_than_the_owner_allows(tmp_path: Path, samples: int) -> None:
    """A count of one sample would be its answer. Below the bound nothing is counted at all."""

    async def work(it: Stolen) -> None:
        x, y = inputs(8, 3), labels(inputs(8, 3))
        async with it.client() as client:
            with pytest.raises((InputError, LibmpcError)):
                await client.evaluate("mnist", x[:samples], y[:samples])
            for output in ("logits", "label"):
                query = await it.own.seal_query(x[:samples], outputs=(output, output))
                (said,) = await outcomes(it, [query])
                assert 200 not in said
            score = await client.evaluate("mnist", x, y)
        assert score.correct == 8
        assert await it.served() == [1, 1]

    attack(work, tmp_path, output="count:8")
