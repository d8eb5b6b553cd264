"""A model that one party has lost, with real processes: seen, stopped, deleted, pushed again."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

import libmpc
from libmpc import data
from tests.cli.run import Cli

FILE = data.model_path("short-conv-mnist.h5")


@pytest.mark.timeout(300)
@pytest.mark.parametrize("party", [1, 2])
def test_what_one_party_has_lost_is_deleted_by_name(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], party: int
) -> None:
    model = libmpc.load_model(FILE, input_range=(0, 1))
    images = data.digits()[0][:5]
    with libmpc.LocalCluster(tmp_path) as cluster:
        cluster.share(model, "mnist", serve=True)
        cluster.share(model, "other", serve=True)
    # As after a restored backup that is older than the push.
    shutil.rmtree(tmp_path / f"party{party}" / "data")
    cli = Cli(capsys)
    with libmpc.LocalCluster(tmp_path) as cluster:
        where = ("--deployment", cluster.deployment)

        def states() -> dict[str, str]:
            found = cli("models", *where, "--json").json()["models"]
            return {one["name"]: one["state"] for one in found}

        assert states() == {"mnist": "incomplete", "other": "incomplete"}
        assert cli("stop", "mnist", *where, "--json").json()["name"] == "mnist"
        assert cli("delete", "mnist", *where, "--json").json()["action"] == "delete"
        assert states() == {"other": "incomplete"}
        assert "no model 'mnist'" in cli("delete", "mnist", *where).error()
        (left,) = cluster.stored("other")
        left.delete()
        assert states() == {}
        cluster.share(model, "mnist", serve=True)
        with libmpc.Client(cluster.deployment) as client:
            assert np.array_equal(client.query("mnist", images), model.reference(images))
