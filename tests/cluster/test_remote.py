"""Sharing, serving, stopping and deleting, against three real catalogs."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

from libmpc.client import Client
from libmpc.cluster.push import rounded
from libmpc.cluster.remote import Cluster
from libmpc.errors import (
    ConfigError,
    ConflictError,
    InputError,
    IntegrityError,
    ModelError,
    ModelNotFoundError,
    UnavailableError,
)
from libmpc.protocol import payload_bytes
from libmpc.sealing.hpke_keys import HpkeKeys
from libmpc.wire import Command, Manifest, Signed
from tests.client.fake import FakeDeployment, failure, images, once, tiny_model

Open = Callable[..., Cluster]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An empty deployment's files, to be copied: making keys takes a while."""
    fake = FakeDeployment(tmp_path_factory.mktemp("made") / "run")
    fake.close()
    return fake.directory


@pytest.fixture
def fake(made: Path, tmp_path: Path) -> Iterator[FakeDeployment]:
    deployment = FakeDeployment(shutil.copytree(made, tmp_path / "run"))
    yield deployment
    deployment.close()


@pytest.fixture
def cluster(fake: FakeDeployment) -> Iterator[Cluster]:
    with Cluster(fake.path, transport=fake.transport(), clock=fake.clock) as opened:
        yield opened


def test_the_three_steps(cluster: Cluster, fake: FakeDeployment) -> None:
    model = tiny_model()
    served = cluster.share(model, name="mine")
    fake.models[served.model] = model
    [summary] = cluster.models()
    assert (summary.name, summary.model, summary.state) == ("mine", served.model, "stopped")
    served.serve(num_requests=3)
    assert [m.num_requests for m in cluster.models()] == [3]
    transport = fake.transport()
    with Client(cluster.deployment, transport=transport, clock=fake.clock) as client:
        assert np.array_equal(client.query("mine", images()), model.reference(images()))
        served.stop()
        with pytest.raises(UnavailableError, match="stopped"):
            client.query("mine", images())
    assert cluster.model("mine") == served
    assert served.describe().model == served.model
    served.delete()
    assert cluster.models() == []
    with pytest.raises(ModelNotFoundError):
        served.serve()
    with pytest.raises(ModelNotFoundError):
        cluster.model("mine")


def test_the_manifest_says_what_was_asked_for(cluster: Cluster, fake: FakeDeployment) -> None:
    model = tiny_model(name="own-name")
    served = cluster.share(model, serve=True, num_requests=2)
    assert served.name == "own-name"
    for catalog in fake.catalogs:
        entry = catalog.entries[served.model]
        manifest = entry.manifest
        assert (entry.record.serving, entry.record.num_requests) == (True, 2)
        assert manifest.plan.encode() == model.plan.to_json()
        assert (manifest.range_status, manifest.range_margin) == ("proven", None)
        assert fake.owner is not None
        assert manifest.owner == fake.owner.public.hex()


def test_two_pushes_of_one_model_share_nothing(cluster: Cluster, fake: FakeDeployment) -> None:
    model = tiny_model()
    first, second = cluster.share(model, "one"), cluster.share(model, "two")
    assert first.model != second.model
    for party, store in enumerate(fake.stores):
        records = {record.model: record for record in store.records()}
        a, b = store.share(records[first.model]), store.share(records[second.model])
        assert len(a) == len(b)
        # Of random bytes one in 256 agrees.
        same = sum(x == y for x, y in zip(a, b, strict=True))
        assert same < len(a) / 8, party


def test_a_name_in_use(cluster: Cluster, fake: FakeDeployment) -> None:
    first = cluster.share(tiny_model(), "mine")
    with pytest.raises(ConflictError, match="in use.*--replace") as caught:
        cluster.share(tiny_model(), "mine")
    assert caught.value.status == 409
    assert [m for m, _ in fake.requests].count("PUT") == 1
    second = cluster.share(tiny_model(seed=8), "mine", replace=True)
    assert [m.model for m in cluster.models()] == [second.model]
    with pytest.raises(ModelNotFoundError):
        first.serve()
    # There need not be anything to replace.
    cluster.share(tiny_model(), "new", replace=True)


@pytest.mark.parametrize("name", ["../x", "", "UPPER", "a b"])
def test_names_that_are_none(cluster: Cluster, fake: FakeDeployment, name: str) -> None:
    with pytest.raises(InputError, match="no model's name"):
        cluster.share(tiny_model(), name)
    assert fake.requests == []


@pytest.mark.parametrize("number", [0, -1, 1.5, True, "3"])
def test_limits_that_are_none(cluster: Cluster, number: Any) -> None:
    served = cluster.share(tiny_model(), "mine")
    with pytest.raises(InputError, match="positive whole number"):
        served.serve(number)
    with pytest.raises(InputError, match="positive whole number"):
        cluster.share(tiny_model(), "other", serve=True, num_requests=number)


def test_a_limit_needs_serving(cluster: Cluster) -> None:
    with pytest.raises(InputError, match="serve=True"):
        cluster.share(tiny_model(), "mine", num_requests=3)


def test_a_path_is_no_model(cluster: Cluster) -> None:
    with pytest.raises(ModelError, match=r"load it first.*load_model"):
        cluster.share("model.h5", "mine")  # type: ignore[arg-type]


def test_a_share_that_fits_into_no_message(
    cluster: Cluster, fake: FakeDeployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = tiny_model()
    monkeypatch.setattr("libmpc.cluster.push.MAX_SHARE_BYTES", payload_bytes(model.plan, 1) - 1)
    with pytest.raises(ModelError, match="too large to be shared"):
        cluster.share(model, "large")
    monkeypatch.setattr("libmpc.cluster.push.MAX_SHARE_BYTES", payload_bytes(model.plan, 1))
    cluster.share(model, "large")


def test_who_is_no_owner(fake: FakeDeployment) -> None:
    (fake.directory / "credentials.yaml").unlink()
    with (
        Cluster(fake.path, transport=fake.transport(), clock=fake.clock) as cluster,
        pytest.raises(ConfigError, match="owner's key"),
    ):
        cluster.share(tiny_model(), "mine")


# ---- trouble on the way


def lose_answers(fake: FakeDeployment, suffix: str, times: int) -> list[bytes]:
    """Let the parties do what is asked, and lose the answer so many times; returns the bodies."""
    bodies: list[bytes] = []

    def hook(request: httpx.Request) -> httpx.Response | None:
        if request.method == "GET" or not request.url.path.endswith(suffix):
            return None
        bodies.append(request.content)
        if len(bodies) <= times:
            fake.answer(request)
            raise httpx.ReadError("reset")
        return None

    fake.before.append(hook)
    return bodies


def test_a_push_whose_answer_was_lost(cluster: Cluster, fake: FakeDeployment) -> None:
    bodies = lose_answers(fake, "/mine", 2)
    served = cluster.share(tiny_model(), "mine")
    assert len(bodies) == len(set(bodies)) == 3  # sealed anew
    assert [m.model for m in cluster.models()] == [served.model]


def test_a_replacement_whose_answer_was_lost(cluster: Cluster, fake: FakeDeployment) -> None:
    cluster.share(tiny_model(), "mine")
    lose_answers(fake, "/mine", 1)
    served = cluster.share(tiny_model(seed=3), "mine", replace=True)
    assert [m.model for m in cluster.models()] == [served.model]


@pytest.mark.parametrize("action", ["serve", "stop", "delete"])
def test_the_same_command_is_sent_again(
    cluster: Cluster, fake: FakeDeployment, action: str
) -> None:
    served = cluster.share(tiny_model(), "mine")
    bodies = lose_answers(fake, f"/{action}", 2)
    getattr(served, action)()
    assert len(bodies) == 3
    assert len(set(bodies)) == 1


def test_a_delete_that_the_gateway_has_forgotten(cluster: Cluster, fake: FakeDeployment) -> None:
    served = cluster.share(tiny_model(), "mine")
    fake.before.append(once(httpx.ReadError("reset"), failure(404, "none"), suffix="/delete"))
    served.delete()
    fake.before.append(once(failure(404, "none"), suffix="/delete"))
    with pytest.raises(ModelNotFoundError):
        served.delete()


def test_commands_are_strictly_newer(cluster: Cluster, fake: FakeDeployment) -> None:
    served = cluster.share(tiny_model(), "mine")
    bodies = lose_answers(fake, "/serve", 0)
    for _ in range(5):
        served.serve()  # the clock stands still
    issued = [Command.parse(Signed.model_validate_json(b).document).issued_ms for b in bodies]
    assert issued == sorted(set(issued))


def test_a_key_that_changed_during_a_push(cluster: Cluster, fake: FakeDeployment) -> None:
    def restart(request: httpx.Request) -> None:
        if request.method == "PUT" and not restarted:
            restarted.append(True)
            fake.restart(2)

    restarted: list[bool] = []
    fake.before.append(restart)
    served = cluster.share(tiny_model(), "mine")
    assert [m.model for m in cluster.models()] == [served.model]


def test_a_conflict_at_the_parties_is_final(cluster: Cluster, fake: FakeDeployment) -> None:
    fake.before.append(once(failure(409, "the name is in use"), suffix="/mine"))
    stored = once(failure(404, "no such model"), suffix="/mine")
    fake.before.insert(0, stored)
    with pytest.raises(ConflictError, match="the name is in use"):
        cluster.share(tiny_model(), "mine")
    assert [m for m, _ in fake.requests].count("PUT") == 1


def test_a_gateway_that_only_says_so(cluster: Cluster, fake: FakeDeployment) -> None:
    def lie(request: httpx.Request) -> httpx.Response | None:
        return httpx.Response(201, json={}) if request.method == "PUT" else None

    fake.before.append(lie)
    with pytest.raises(UnavailableError, match="the evaluators do not"):
        cluster.share(tiny_model(), "mine")
    assert sum(fake.clock.pauses) == pytest.approx(10)


def test_keys_of_somebody_else(cluster: Cluster, fake: FakeDeployment) -> None:
    # Sealed to the same key, all three shares could be opened by one party.
    keys = [fake.keys[0].current().to_json()] * 3
    fake.before.append(once(httpx.Response(200, json={"keys": keys}), suffix="/keys"))
    with pytest.raises(IntegrityError):
        cluster.share(tiny_model(), "mine")
    old = HpkeKeys(fake.signing[2], fake.deployment.id, 2, fake.clock).current().to_json()
    fake.clock.passed += 3601
    keys = [*fake.announced()[:2], old]
    fake.before.append(once(httpx.Response(200, json={"keys": keys}), suffix="/keys"))
    with pytest.raises(IntegrityError, match="party 2's key"):
        cluster.share(tiny_model(), "mine")
    assert all(method == "GET" for method, _ in fake.requests)


def test_progress_of_an_upload(cluster: Cluster, fake: FakeDeployment) -> None:
    calls: list[tuple[int, int]] = []
    large = tiny_model(outputs=20_000)
    cluster.share(large, "large", progress=lambda sent, total: calls.append((sent, total)))
    sent = [done for done, _ in calls]
    assert sent == sorted(set(sent))
    assert {total for _, total in calls} == {sent[-1]}
    assert sent[-1] > 2 * 6 * 100_000  # masked weights twice
    calls.clear()
    cluster.share(tiny_model(), "small", progress=lambda sent, total: calls.append((sent, total)))
    assert calls == []


def test_nothing_secret_is_printed(
    cluster: Cluster, fake: FakeDeployment, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG")
    served = cluster.share(tiny_model(), "mine")
    assert fake.owner is not None
    text = " ".join([repr(cluster), repr(served), repr(cluster._session.connection), caplog.text])
    assert fake.token not in text
    assert fake.owner.private.private_bytes_raw().hex() not in text


@pytest.mark.parametrize(
    ("margin", "public"), [(1.0, 1.0), (16.0, 16.0), (23.7, 16.0), (float("inf"), 2.0**47)]
)
def test_little_is_told_of_the_margin(margin: float, public: float) -> None:
    assert rounded(margin) == public


def test_manifests_are_parsed_strictly(cluster: Cluster, fake: FakeDeployment) -> None:
    served = cluster.share(tiny_model(), "mine")
    record = fake.catalogs[2].entries[served.model].record
    assert Manifest.parse(record.manifest).name == "mine"
