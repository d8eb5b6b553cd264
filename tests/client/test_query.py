"""Queries that go well, and inputs that never leave."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import httpx
import numpy as np
import pytest

from libmpc.client import Client
from libmpc.errors import InputError, ModelNotFoundError
from libmpc.graph.floating import apply_final
from libmpc.graph.model import Model
from libmpc.graph.nodes import FinalActivation
from libmpc.graph.ranges import RangeWarning
from libmpc.wire.fields import MAX_BATCH
from tests.client import fake as fakes
from tests.client.fake import FakeDeployment, images, tiny_model


@pytest.mark.parametrize("batch", [1, 5, 300])
def test_the_answer_is_the_reference_bit_for_bit(client: Client, model: Model, batch: int) -> None:
    logits = client.query("tiny", images(batch))
    assert logits.dtype == np.float64
    assert logits.shape == (batch, 3)
    assert np.array_equal(logits, model.reference(images(batch)))


def test_one_query_is_one_request_and_the_rest_is_asked_once(
    client: Client, fake: FakeDeployment
) -> None:
    for _ in range(3):
        client.query("tiny", images(100))
    assert fake.requests == [
        ("GET", "/v2"),
        ("GET", "/v2/models/tiny"),
        *[("POST", "/v2/models/tiny/infer")] * 3,
    ]


def test_nothing_random_is_used_twice(client: Client, fake: FakeDeployment) -> None:
    for _ in range(20):
        client.query("tiny", images())
    assert len(set(fake.numbers)) == len(set(fake.seeds)) == 20


def test_what_the_owner_does_not_allow_is_not_asked(client: Client, fake: FakeDeployment) -> None:
    fake.publish(tiny_model(), "labels", output="label")
    fake.publish(tiny_model(final="softmax"), "free")
    for name, output, final in (
        ("labels", "logits", False),
        ("labels", "topk:2", False),
        ("labels", None, True),
        ("free", "label", True),
        ("free", "topk:4", False),
        ("free", "count", False),
        ("free", "labels", False),
    ):
        with pytest.raises(InputError):
            client.query(name, images(), output=output, final=final)
    assert not [path for method, path in fake.requests if method == "POST"]
    assert client.describe("labels").output == "label"


@pytest.mark.parametrize("final", ["softmax", "log_softmax", "sigmoid", "argmax", None])
def test_the_last_activation_is_the_client_s(
    client: Client, fake: FakeDeployment, final: FinalActivation | None
) -> None:
    model = tiny_model(final=final)
    fake.publish(model, "finished")
    logits = model.reference(images())
    assert np.array_equal(client.query("finished", images()), logits)
    found = client.query("finished", images(), final=True)
    assert np.array_equal(found, apply_final(final, logits))
    if final == "argmax":
        assert found.shape == (len(images()),)
        assert np.array_equal(found, logits.argmax(axis=1))


def test_a_gateway_may_answer_in_json(
    client: Client, fake: FakeDeployment, model: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    binary = fakes.infer_answer
    monkeypatch.setattr(fakes, "infer_answer", lambda *replies: binary(*replies, binary=False))
    assert np.array_equal(client.query("tiny", images()), model.reference(images()))


@pytest.mark.parametrize(
    ("x", "message"),
    [
        (np.full((1, 2, 2, 1), 255.0), "divide by 255"),
        (np.full((1, 2, 2, 1), np.nan), "NaN"),
        (np.zeros((1, 2, 3, 1)), "shape"),
        (np.zeros((2, 2, 1)), "newaxis"),
        (np.zeros((0, 2, 2, 1)), "no samples"),
        (np.array([[object()]]), "dtype object"),
        (np.zeros((MAX_BATCH + 1, 2, 2, 1)), "split the batch into parts of 16384"),
    ],
)
def test_what_does_not_fit_is_not_sent(
    client: Client, fake: FakeDeployment, x: object, message: str
) -> None:
    with pytest.raises(InputError, match=message):
        client.query("tiny", x)
    assert all(method == "GET" for method, _ in fake.requests)


@pytest.mark.parametrize("name", ["../etc/passwd", "a/b", "", "Tiny", "a" * 64, "x?y", None])
def test_names_that_are_none(client: Client, fake: FakeDeployment, name: str) -> None:
    with pytest.raises(InputError, match="no model's name"):
        client.query(name, images())
    assert fake.requests == []


def test_unknown_model(client: Client) -> None:
    with pytest.raises(ModelNotFoundError, match="no model 'other'") as caught:
        client.query("other", images())
    assert caught.value.status == 404


def test_a_replaced_model_is_noticed(client: Client, fake: FakeDeployment, model: Model) -> None:
    assert client.query("tiny", images()).shape == (5, 3)
    newer = tiny_model(outputs=7, seed=9)
    fake.publish(newer, replace=fake.stored("tiny"))
    assert np.array_equal(client.query("tiny", images()), newer.reference(images()))
    assert fake.clock.pauses == []


def test_keys_are_fetched_again_in_time(client: Client, fake: FakeDeployment) -> None:
    client.query("tiny", images())
    fake.clock.passed += 29 * 60
    client.query("tiny", images())
    assert fake.requests.count(("GET", "/v2/models/tiny")) == 1
    fake.clock.passed += 22 * 60  # nine minutes are left of an hour
    client.query("tiny", images())
    assert fake.requests.count(("GET", "/v2/models/tiny")) == 2


def test_description_and_list(client: Client, fake: FakeDeployment) -> None:
    descriptor = client.describe("tiny")
    assert (descriptor.input_shape, descriptor.output_shape) == ((2, 2, 1), (3,))
    [summary] = client.models()
    assert (summary.name, summary.state, summary.ready) == ("tiny", "serving", True)
    assert summary.model == descriptor.model


def test_a_calibrated_model_warns_once(fake: FakeDeployment, client: Client, model: Model) -> None:
    doubtful = replace(model, range=replace(model.range, status="calibrated", margin=40.0))
    fake.publish(doubtful, "doubtful")
    with pytest.warns(RangeWarning, match="'doubtful' is calibrated .*margin 32"):
        assert np.array_equal(client.query("doubtful", images()), model.reference(images()))
    client.query("doubtful", images())  # warnings are errors here


def test_sixteen_threads_share_a_client(
    connect: Callable[..., Client], fake: FakeDeployment, model: Model
) -> None:
    client = connect()
    start = threading.Barrier(16)

    def ask(seed: int) -> bool:
        start.wait()
        x = images(seed % 4 + 1, seed)
        return all(np.array_equal(client.query("tiny", x), model.reference(x)) for _ in range(5))

    with ThreadPoolExecutor(16) as pool:
        assert all(pool.map(ask, range(16)))
    assert len(set(fake.numbers)) == 80


def test_a_closed_client_says_so(client: Client) -> None:
    client.close()
    with pytest.raises(RuntimeError, match="closed"):
        client.query("tiny", images())


def test_nothing_secret_is_printed(
    client: Client, fake: FakeDeployment, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG")
    seen = []

    def look(request: httpx.Request) -> None:
        seen.append(request)

    fake.before.append(look)
    client.query("tiny", images())
    connection = client._session.connection
    text = " ".join([repr(client), repr(connection), repr(seen), caplog.text])
    assert fake.token not in text
    assert fake.token in seen[0].headers["authorization"]
    for seed in fake.seeds:
        assert seed.hex() not in text
        assert repr(seed)[2:-1] not in text
