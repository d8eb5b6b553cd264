"""Private evaluation as a client does it: parts, retries, the sum, and what it believes."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

from libmpc.client import AsyncClient, Client
from libmpc.client.evaluating import Score
from libmpc.errors import ConflictError, InputError, IntegrityError, UnavailableError
from libmpc.graph.model import Model
from tests.client.fake import FakeDeployment, failure, images, once, tiny_model

CLASSES = 3


def labels(count: int, seed: int = 5) -> np.ndarray[Any, np.dtype[np.int64]]:
    return np.random.default_rng(seed).integers(0, CLASSES, count)


def matrix(model: Model, x: Any, y: Any) -> np.ndarray[Any, np.dtype[np.int64]]:
    found = np.zeros((CLASSES, CLASSES), np.int64)
    np.add.at(found, (y, model.reference(x).argmax(axis=1)), 1)
    return found


@pytest.mark.parametrize(("count", "size"), [(1, None), (10, 4), (12, 4), (7, 100), (300, None)])
def test_the_count_is_that_of_the_reference(
    fake: FakeDeployment, client: Client, model: Model, count: int, size: int | None
) -> None:
    x, y = images(count), labels(count)
    seen: list[tuple[int, int]] = []
    score = client.evaluate(
        "tiny", x, y, batch_size=size, progress=lambda done, total: seen.append((done, total))
    )
    wanted = int((model.reference(x).argmax(axis=1) == y).sum())
    assert (score.samples, score.correct, score.confusion) == (count, wanted, None)
    assert score.accuracy == wanted / count
    assert seen[-1] == (count, count)
    assert len(set(fake.numbers)) == len(fake.numbers) == -(-count // (size or 128)) + 1
    assert len(set(fake.seeds)) == len(fake.seeds)


def test_the_matrix_and_some_of_its_cells(client: Client, model: Model) -> None:
    x, y = images(40), labels(40)
    wanted = matrix(model, x, y)
    score = client.evaluate("tiny", x, y, confusion=True, batch_size=16)
    assert score.confusion is not None
    assert np.array_equal(score.confusion, wanted)
    assert score.correct == np.trace(wanted)
    score = client.evaluate("tiny", x, y, cells=[(2, 1), (0, 0), (2, 1)], batch_size=16)
    assert score.confusion is not None
    assert score.correct is score.accuracy is None
    assert (score.confusion >= 0).sum() == 2
    assert (score.confusion[2, 1], score.confusion[0, 0]) == (wanted[2, 1], wanted[0, 0])
    score = client.evaluate("tiny", x, y, cells=[(i, i) for i in range(CLASSES)])
    assert score.correct == np.trace(wanted)


def test_the_asynchronous_twin(fake: FakeDeployment, model: Model) -> None:
    x, y = images(20), labels(20)

    async def main() -> Score:
        async with AsyncClient(fake.path, transport=fake.transport(), clock=fake.clock) as client:
            with pytest.raises(ValueError, match="in flight"):
                await client.evaluate("tiny", x, y, in_flight=0)
            fake.before.append(once(failure(422, "no"), suffix="/infer"))
            with pytest.raises(Exception, match="samples 0 to 5: no"):
                await client.evaluate("tiny", x, y, batch_size=6)
            return await client.evaluate("tiny", x, y, batch_size=6, confusion=True)

    score = asyncio.run(main())
    assert score.confusion is not None
    assert np.array_equal(score.confusion, matrix(model, x, y))


def test_a_lost_part_is_sealed_again(fake: FakeDeployment, client: Client, model: Model) -> None:
    x, y = images(12), labels(12)
    lost = [httpx.ReadError("gone"), failure(503, "party 1 is down", 0.1), failure(409, "old key")]
    fake.before.append(once(*lost))
    score = client.evaluate("tiny", x, y, batch_size=4, in_flight=1)
    assert score.correct == int((model.reference(x).argmax(axis=1) == y).sum())
    assert len(set(fake.seeds)) == 3


def test_an_answer_that_was_lost_after_the_part_was_computed(
    fake: FakeDeployment, client: Client, model: Model
) -> None:
    x, y = images(8), labels(8)
    left = [True]

    def lose(request: httpx.Request) -> httpx.Response | None:
        if request.url.path.endswith("/infer") and left:
            left.clear()
            fake.answer(request)
            raise httpx.ReadError("gone")
        return None

    fake.before.append(lose)
    score = client.evaluate("tiny", x, y, batch_size=4, in_flight=1)
    assert score.correct == int((model.reference(x).argmax(axis=1) == y).sum())
    assert len(fake.numbers) == 4  # the first part twice


def test_an_evaluation_that_is_gone(fake: FakeDeployment, client: Client) -> None:
    """The parties say so; the client tries as after any conflict, and ends."""
    gone = [failure(409, "the evaluation is not known here: begin it again") for _ in range(9)]
    answered = iter([None, *gone])

    def hook(request: httpx.Request) -> httpx.Response | None:
        return next(answered) if request.url.path.endswith("/infer") else None

    fake.before.append(hook)
    with pytest.raises(ConflictError, match="samples 4 to 7: .*begin it again"):
        client.evaluate("tiny", images(12), labels(12), batch_size=4, in_flight=1)
    assert len([path for _, path in fake.requests if path.endswith("/infer")]) == 4


def test_a_model_that_is_replaced(fake: FakeDeployment, client: Client) -> None:
    client.query("tiny", images(1))

    def replace(done: int, total: int) -> None:
        if done == 4:
            fake.publish(tiny_model(seed=9), replace=fake.stored("tiny"))

    with pytest.raises(ConflictError, match="replaced"):
        client.evaluate("tiny", images(12), labels(12), batch_size=4, progress=replace)


@pytest.mark.parametrize("add", [-1000, 1000, 2**47])
def test_a_count_that_cannot_be(fake: FakeDeployment, client: Client, add: int) -> None:
    fake.counting.add = add
    with pytest.raises(IntegrityError, match="not one of so many samples"):
        client.evaluate("tiny", images(9), labels(9))
    fake.counting.add = 1
    with pytest.raises(IntegrityError, match="not one of so many samples"):
        client.evaluate("tiny", images(9), labels(9), confusion=True)


def test_a_sum_over_fewer_parts_is_not_believed(fake: FakeDeployment, client: Client) -> None:
    fake.counting.forget = True
    with pytest.raises(IntegrityError, match="over other parts"):
        client.evaluate("tiny", images(12), labels(12), batch_size=4)
    assert len(fake.numbers) == 4  # and not asked for again


def test_replies_that_do_not_belong_together(fake: FakeDeployment, client: Client) -> None:
    kept: list[bytes] = []

    def mix(replies: list[bytes]) -> list[bytes]:
        kept.append(replies[1])
        return [replies[0], kept[0]]

    fake.tamper = mix  # type: ignore[method-assign]
    with pytest.raises(IntegrityError, match="cannot be opened"):
        client.evaluate("tiny", images(8), labels(8), batch_size=4)


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"labels": labels(9)}, "10 images and 9 labels"),
        ({"labels": np.full(10, 3)}, "from 0 to 2"),
        ({"labels": np.full(10, -1)}, "from 0 to 2"),
        ({"labels": np.zeros((10, 3), int)}, "one whole number"),
        ({"labels": np.zeros(10)}, "one whole number"),
        ({"labels": [], "images": np.zeros((0, 2, 2, 1))}, "no samples|empty|sample"),
        ({"images": np.full((10, 2, 2, 1), np.nan)}, "NaN"),
        ({"images": np.zeros((10, 2, 2))}, "shape"),
        ({"cells": [(0, 3)]}, "from 0 to 2"),
        ({"cells": [(-1, 0)]}, "from 0 to 2"),
        ({"cells": []}, "no cell"),
        ({"name": "../x"}, "no model's name"),
    ],
)
def test_what_does_not_fit_is_refused_here(
    fake: FakeDeployment, client: Client, change: dict[str, Any], text: str
) -> None:
    given = {"name": "tiny", "images": images(10), "labels": labels(10), **change}
    with pytest.raises(InputError, match=text):
        client.evaluate(given.pop("name"), given.pop("images"), given.pop("labels"), **given)
    assert not fake.numbers


def test_numbers_of_batches(client: Client) -> None:
    for wrong in ({"batch_size": 0}, {"in_flight": 0}):
        with pytest.raises(ValueError, match="at least one"):
            client.evaluate("tiny", images(4), labels(4), **wrong)
    many = np.zeros((16385, 2, 2, 1), np.float32)
    with pytest.raises(InputError, match="batch_size=2"):
        client.evaluate("tiny", many, np.zeros(16385, int), batch_size=1)


@pytest.mark.parametrize(
    ("policy", "confusion", "text"),
    [
        ("scores:4", False, "scores:4 only, not with count"),
        ("count", True, "count only, not with confusion"),
        ("count:11", False, "11 samples or more, and there are 10"),
        ("count:10", False, None),
        ("confusion:10", True, None),
        ("label", True, None),
    ],
)
def test_policies(
    fake: FakeDeployment, client: Client, policy: str, confusion: bool, text: str | None
) -> None:
    fake.publish(tiny_model(), "net", output=policy)
    given = ("net", images(10), labels(10))
    if text is not None:
        with pytest.raises(InputError, match=text):
            client.evaluate(*given, confusion=confusion)
        return
    assert client.evaluate(*given, confusion=confusion).correct is not None
    if policy != "label":
        for output in (None, "count"):
            with pytest.raises(InputError, match="libmpc evaluate"):
                client.query("net", images(1), output=output)


def test_a_deployment_that_is_down(
    fake: FakeDeployment, connect: Callable[..., Client], tmp_path: Path
) -> None:
    fake.before.append(lambda request: failure(503, "party 1 is not reachable", 1))
    with pytest.raises(UnavailableError, match="not reachable"):
        connect(timeout=5).evaluate("tiny", images(4), labels(4))


def test_nothing_secret_is_shown(model: Model) -> None:
    score = Score(4, 2, np.array([[1, 1], [1, 1]]))
    assert repr(score) == "Score(samples=4, correct=2)"
