"""``libmpc bench``: what it asks, and what it says of the answers."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np
import pytest

import libmpc.client
from libmpc.client import Client
from tests.cli.run import Cli
from tests.client.fake import FakeDeployment, images, tiny_model


@pytest.fixture
def fake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeDeployment]:
    fake = FakeDeployment(tmp_path / "run")
    connected = partial(Client, transport=fake.transport(), clock=fake.clock)
    monkeypatch.setattr(libmpc.client, "Client", connected)
    monkeypatch.setenv("LIBMPC_DEPLOYMENT", str(fake.path))
    fake.publish(tiny_model(), "net")
    yield fake
    fake.close()


def test_every_batch_size_has_its_row(cli: Cli, fake: FakeDeployment) -> None:
    document = cli("bench", "net", "--batch", 1, "--batch", 3, "--queries", 4, "--json").json()
    assert (document["name"], document["input"]) == ("net", "random")
    assert [row["batch"] for row in document["results"]] == [1, 3]
    for row in document["results"]:
        assert (row["queries"], row["concurrency"]) == (4, 1)
        quantiles = [row[f"{name}_seconds"] for name in ("median", "p90", "p99", "max")]
        assert quantiles == sorted(quantiles)
        assert 0 < quantiles[0]
        expected = row["batch"] * 4 / row["seconds"]
        assert row["samples_per_second"] == pytest.approx(expected, rel=0.01)
    # One more of each size before, which does not count.
    assert len(fake.numbers) == 10


def test_another_output(cli: Cli, fake: FakeDeployment) -> None:
    options = ("--batch", 2, "--queries", 2, "--output", "label", "--json")
    assert cli("bench", "net", *options).json()["output"] == "label"
    assert "needs labels" in cli("bench", "net", "--queries", 1, "--output", "count").error()


def test_several_clients_for_a_while(cli: Cli, fake: FakeDeployment) -> None:
    options = ("--batch", 2, "--concurrency", 3, "--duration", 0.2)
    (row,) = cli("bench", "net", *options, "--json").json()["results"]
    assert row["concurrency"] == 3
    assert row["queries"] >= 3
    assert row["seconds"] >= 0.2
    assert len(fake.numbers) == row["queries"] + 3


def test_samples_of_a_file_are_repeated(
    cli: Cli, fake: FakeDeployment, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    np.save(tmp_path / "in.npy", images(3))
    asked = []

    class Watched(Client):
        def query(self, name: str, x: object, **options: object) -> object:  # type: ignore[override]
            asked.append(x)
            return super().query(name, x)

    connected = partial(Watched, transport=fake.transport(), clock=fake.clock)
    monkeypatch.setattr(libmpc.client, "Client", connected)
    options = ("--batch", 5, "--queries", 1, "--input", tmp_path / "in.npy")
    assert "5" in cli("bench", "net", *options).out.splitlines()[1]
    for x in asked:
        assert np.array_equal(x, images(3)[[0, 1, 2, 0, 1]])


def test_a_table_for_people(cli: Cli, fake: FakeDeployment) -> None:
    lines = cli("bench", "net", "--batch", 1, "--queries", 2).out.splitlines()
    assert lines[0].split()[:4] == ["BATCH", "CLIENTS", "QUERIES", "MEDIAN"]
    assert lines[1].split()[:3] == ["1", "1", "2"]
    assert len(lines) == 2


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--duration", 1, "--queries", 1), "not both"),
        (("--array", "x"), "--input"),
    ],
)
def test_options_that_do_not_go_together(
    cli: Cli, fake: FakeDeployment, options: tuple[object, ...], said: str
) -> None:
    assert said in cli("bench", "net", *options).error(2)
    assert fake.numbers == []


def test_inputs_that_do_not_fit(cli: Cli, fake: FakeDeployment, tmp_path: Path) -> None:
    np.save(tmp_path / "in.npy", np.zeros((2, 7)))
    message = cli("bench", "net", "--queries", 1, "--input", tmp_path / "in.npy").error()
    assert "(batch, 2, 2, 1)" in message
    np.save(tmp_path / "in.npy", np.zeros((0, 2, 2, 1)))
    cli("bench", "net", "--queries", 1, "--input", tmp_path / "in.npy").error()


def test_a_model_that_is_not_there(cli: Cli, fake: FakeDeployment) -> None:
    assert "other" in cli("bench", "other", "--queries", 1).error()
