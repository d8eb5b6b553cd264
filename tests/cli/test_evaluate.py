"""``libmpc evaluate``: what it prints, and what it refuses."""

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

COUNT = 40


@pytest.fixture
def fake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeDeployment]:
    fake = FakeDeployment(tmp_path / "run")
    connected = partial(Client, transport=fake.transport(), clock=fake.clock)
    monkeypatch.setattr(libmpc.client, "Client", connected)
    monkeypatch.setenv("LIBMPC_DEPLOYMENT", str(fake.path))
    fake.publish(tiny_model(), "net")
    monkeypatch.chdir(tmp_path)
    np.save("x.npy", images(COUNT))
    np.save("y.npy", np.random.default_rng(1).integers(0, 3, COUNT))
    yield fake
    fake.close()


def wanted() -> np.ndarray:
    found = np.zeros((3, 3), np.int64)
    guesses = tiny_model().reference(images(COUNT)).argmax(axis=1)
    np.add.at(found, (np.load("y.npy"), guesses), 1)
    return found


ASK = ("evaluate", "net", "--images", "x.npy", "--labels", "y.npy", "--batch-size", "16")


def test_the_count(cli: Cli, fake: FakeDeployment) -> None:
    correct = int(np.trace(wanted()))
    document = cli(*ASK, "--json").json()
    assert document.pop("seconds") >= 0
    assert document == {
        "name": "net",
        "samples": COUNT,
        "correct": correct,
        "accuracy": correct / COUNT,
        "confusion": None,
    }
    text = cli(*ASK).out
    assert text.startswith(f"{correct} of 40 samples are classified as labelled: ")
    assert f"{100 * correct / COUNT:.2f} %" in text


def test_the_matrix(cli: Cli, fake: FakeDeployment) -> None:
    assert cli(*ASK, "--confusion", "--json").json()["confusion"] == wanted().tolist()
    lines = cli(*ASK, "--confusion").out.splitlines()
    rows = [line.split() for line in lines[3:6]]
    assert [row[0] for row in rows] == ["0", "1", "2"]
    assert sum(int(cell) for row in rows for cell in row[1:]) == COUNT


def test_cells(cli: Cli, fake: FakeDeployment) -> None:
    options = ("--cell", "2,1", "--cell", "0,0")
    document = cli(*ASK, *options, "--json").json()
    assert document["correct"] is document["accuracy"] is None
    shown = {
        (a, b): cell
        for a, row in enumerate(document["confusion"])
        for b, cell in enumerate(row)
        if cell is not None
    }
    assert shown == {(2, 1): wanted()[2, 1], (0, 0): wanted()[0, 0]}
    assert f"label 2 answered with 1: {wanted()[2, 1]}" in cli(*ASK, *options).out


def test_what_makes_no_sense(cli: Cli, fake: FakeDeployment) -> None:
    assert "not both" in cli(*ASK, "--confusion", "--cell", "1,1").error(2)
    for cell in ("1", "1,", "a,b", "1,2,3", "-1,2"):
        assert "such as 4,9" in cli(*ASK, f"--cell={cell}").error(2)
    assert "from 0 to 2" in cli(*ASK, "--cell", "1,3").error()
    assert "there is no file" in cli(*ASK[:-1], "16", "--labels", "z.npy").error()
    np.save("y.npy", np.zeros(COUNT - 1, np.int64))
    assert "40 images and 39 labels" in cli(*ASK).error()
    fake.publish(tiny_model(), "few", output="count:41")
    np.save("y.npy", np.zeros(COUNT, np.int64))
    assert "41 samples or more" in cli("evaluate", "few", *ASK[2:]).error()
    assert not fake.numbers
