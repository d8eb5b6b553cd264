"""``libmpc query``: what it writes, before and after the model's last activation."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np
import pytest

import libmpc.client
from libmpc.client import Client
from libmpc.graph.floating import apply_final
from libmpc.graph.nodes import FinalActivation
from tests.cli.run import Cli
from tests.client.fake import FakeDeployment, images, tiny_model


@pytest.fixture
def fake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeDeployment]:
    fake = FakeDeployment(tmp_path / "run")
    connected = partial(Client, transport=fake.transport(), clock=fake.clock)
    monkeypatch.setattr(libmpc.client, "Client", connected)
    yield fake
    fake.close()


@pytest.mark.parametrize(
    ("final", "output"),
    [
        ("softmax", "probabilities"),
        ("log_softmax", "log-probabilities"),
        ("sigmoid", "probabilities"),
        ("argmax", "labels"),
        (None, "logits"),
    ],
)
def test_logits_and_what_becomes_of_them(
    cli: Cli,
    fake: FakeDeployment,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    final: FinalActivation | None,
    output: str,
) -> None:
    monkeypatch.setenv("LIBMPC_DEPLOYMENT", str(fake.path))
    model = tiny_model(final=final)
    fake.publish(model, "net")
    np.save(tmp_path / "in.npy", images())
    logits = model.reference(images())
    out = tmp_path / "out.npz"
    for options, what, expected in (
        ((), "logits", logits),
        (("--final",), output, apply_final(final, logits)),
    ):
        document = cli("query", "net", tmp_path / "in.npy", "--out", out, "--json", *options).json()
        assert (document["output"], document["samples"]) == (what, len(logits))
        written = np.load(out)[what]
        assert document["shape"] == list(expected.shape)
        assert document["dtype"] == str(written.dtype)
        assert np.array_equal(written, expected)
