"""Any number of samples: as several queries, in order, with an error that says whose it is."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from pathlib import Path

import httpx
import numpy as np
import pytest

from libmpc import answers, outputs
from libmpc.client import AsyncClient, Client
from libmpc.client.many import Batches
from libmpc.errors import ConflictError, InputError, IntegrityError, UnavailableError
from libmpc.graph.floating import apply_final
from libmpc.graph.model import Model
from tests.client.fake import FakeDeployment, failure, images, tiny_model


@pytest.mark.parametrize(("count", "size"), [(1, 4), (10, 4), (12, 4), (300, None)])
def test_all_answers_in_order(
    fake: FakeDeployment, client: Client, model: Model, count: int, size: int | None
) -> None:
    x = images(count)
    found = client.query_many("tiny", x, batch_size=size)
    assert np.array_equal(found, model.reference(x))
    assert len(set(fake.numbers)) == len(fake.numbers) == -(-count // (size or 128))


def test_the_asynchronous_twin(fake: FakeDeployment, model: Model) -> None:
    async def main() -> None:
        async with AsyncClient(fake.path, transport=fake.transport(), clock=fake.clock) as client:
            found = await client.query_many("tiny", images(10), batch_size=3)
            assert np.array_equal(found, model.reference(images(10)))
            with pytest.raises(InputError, match="samples 3 to 5: .*NaN"):
                await client.query_many("tiny", _with_nan(10, 4), batch_size=3)
            with pytest.raises(ValueError, match="in flight"):
                await client.query_many("tiny", images(10), in_flight=0)

    asyncio.run(main())
    assert len(fake.numbers) == 4


def test_lists_files_and_labels(
    fake: FakeDeployment, client: Client, model: Model, tmp_path: Path
) -> None:
    x = images(9)
    assert np.array_equal(client.query_many("tiny", x.tolist()), model.reference(x))
    np.save(tmp_path / "x.npy", x)
    mapped = np.load(tmp_path / "x.npy", mmap_mode="r")
    assert np.array_equal(client.query_many("tiny", mapped, batch_size=2), model.reference(x))
    fake.publish(tiny_model(final="argmax"), "labels")
    labels = client.query_many("labels", x, batch_size=2, final=True)
    assert np.array_equal(labels, apply_final("argmax", model.reference(x)))
    assert labels.dtype == np.int64


@pytest.mark.parametrize("output", ["label", "topk:2", "scores:3", "logits", None])
def test_any_output(fake: FakeDeployment, client: Client, model: Model, output: str | None) -> None:
    x = images(9)
    wanted = answers.plain(outputs.parse(output or "logits"), model.reference(x))
    found = client.query_many("tiny", x, output=output, batch_size=4)
    assert found.dtype == wanted.dtype
    assert np.array_equal(found, wanted)

    async def main() -> None:
        async with AsyncClient(fake.path, transport=fake.transport(), clock=fake.clock) as other:
            again = await other.query_many("tiny", x, output=output, batch_size=2)
            assert np.array_equal(again, wanted)

    asyncio.run(main())
    assert len(fake.numbers) == 3 + 5


def test_the_owner_s_policy_is_the_default(
    fake: FakeDeployment, client: Client, model: Model
) -> None:
    fake.publish(model, "labels", output="label")
    x = images(5)
    found = client.query_many("labels", x, batch_size=2)
    assert np.array_equal(found, model.reference(x).argmax(axis=1))
    asked = len(fake.numbers)
    for output in ("logits", "topk:2", "everything"):
        with pytest.raises(InputError) as caught:
            client.query_many("labels", x, output=output)
        assert "sample" not in str(caught.value)
    assert len(fake.numbers) == asked


def test_several_are_under_way(fake: FakeDeployment, connect: Callable[..., Client]) -> None:
    # Each waits for two others: one at a time would never get an answer.
    barrier = threading.Barrier(3, timeout=30)

    def handle(request: httpx.Request) -> httpx.Response:
        if request.method == "POST":
            barrier.wait()
        return fake.handle(request)

    client = connect(transport=httpx.MockTransport(handle))
    assert len(client.query_many("tiny", images(12), batch_size=2, in_flight=3)) == 12


def test_progress_counts_samples(client: Client) -> None:
    seen: list[tuple[int, int]] = []
    client.query_many(
        "tiny", images(10), batch_size=4, in_flight=1, progress=lambda *now: seen.append(now)
    )
    assert seen == [(4, 10), (8, 10), (10, 10)]


def _with_nan(count: int, where: int) -> np.ndarray:
    x = images(count)
    x[where] = np.nan
    return x


@pytest.mark.parametrize(
    ("x", "message"),
    [
        (_with_nan(10, 9), "samples 8 to 9: .*NaN"),
        (_with_nan(9, 8), "sample 8: .*NaN"),
        (np.zeros((3, 2, 2)), "has shape"),
        (np.zeros((0, 2, 2, 1)), "no samples"),
        (5.0, "has shape"),
        (np.array([[["a"]]]), "text"),
        (np.full((9, 2, 2, 1), 255.0), "samples 0 to 3: .*divide by 255"),
    ],
)
def test_nothing_is_sent_of_an_array_that_does_not_fit(
    fake: FakeDeployment, client: Client, x: object, message: str
) -> None:
    with pytest.raises(InputError, match=message):
        client.query_many("tiny", x, batch_size=4)
    assert not fake.numbers


def test_the_first_error_names_its_samples_and_ends_it(
    fake: FakeDeployment, connect: Callable[..., Client]
) -> None:
    posts = 0

    def third(request: httpx.Request) -> httpx.Response | None:
        nonlocal posts
        posts += request.method == "POST"
        return failure(422, "no") if posts == 3 else None

    fake.before.append(third)
    with pytest.raises(Exception, match="samples 4 to 5: no") as caught:
        connect().query_many("tiny", images(20), batch_size=2, in_flight=1)
    assert getattr(caught.value, "status", None) == 422
    assert posts == 3


def test_errors_keep_their_class(fake: FakeDeployment, connect: Callable[..., Client]) -> None:
    fake.tamper = lambda replies: replies[::-1]  # type: ignore[method-assign]
    with pytest.raises(IntegrityError, match="samples 0 to 1: party 0's answer"):
        connect().query_many("tiny", images(4), batch_size=2)
    fake.before.append(lambda request: failure(503, "down"))
    with pytest.raises(UnavailableError):
        connect(retries=0).query_many("tiny", images(4), batch_size=2)


def test_answers_of_two_models_are_never_mixed(
    fake: FakeDeployment, connect: Callable[..., Client]
) -> None:
    posts = 0

    def replace(request: httpx.Request) -> httpx.Response | None:
        nonlocal posts
        posts += request.method == "POST"
        if posts == 2 and request.method == "POST":
            fake.publish(tiny_model(seed=9), "tiny", replace=fake.stored("tiny"))
        return None

    fake.before.append(replace)
    with pytest.raises(ConflictError, match=r"samples 2 to 3: .*was replaced"):
        connect().query_many("tiny", images(20), batch_size=2, in_flight=1)


def test_batches_are_small_where_samples_are_large(client: Client) -> None:
    descriptor = client.describe("tiny")
    sizes = {}
    for shape in ((28, 28, 1), (32, 32, 3), (224, 224, 3)):
        made = descriptor.model_copy(update={"input_shape": shape})
        part = Batches(made, np.zeros((200, *shape), np.float32)).take()
        assert part is not None
        sizes[shape] = part.stop
    assert sizes == {(28, 28, 1): 128, (32, 32, 3): 32, (224, 224, 3): 1}


def test_a_batch_has_samples(client: Client) -> None:
    for settings in ({"batch_size": 0}, {"in_flight": 0}):
        with pytest.raises(ValueError):
            client.query_many("tiny", images(2), **settings)
