"""Real services as processes of this machine: the three steps, limits, and what a party keeps."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np
import pytest

import libmpc
from libmpc import answers, data, outputs
from libmpc.graph.model import Model
from tests.cluster.programs import is_running


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[libmpc.LocalCluster]:
    with libmpc.LocalCluster(tmp_path_factory.mktemp("cluster")) as running:
        yield running


@pytest.fixture(scope="module")
def client(cluster: libmpc.LocalCluster) -> Iterator[libmpc.Client]:
    with libmpc.Client(cluster.deployment) as connected:
        yield connected


@pytest.fixture(scope="module")
def model() -> Model:
    return libmpc.load_model(data.model_path("short-conv-mnist.h5"), input_range=(0, 1))


def test_every_service_is_a_process(cluster: libmpc.LocalCluster) -> None:
    processes = cluster.processes
    assert list(processes) == ["party 0", "party 1", "party 2", "gateway"]
    pids = [pid for pid in processes.values() if pid is not None]
    assert len(set(pids)) == 4
    assert all(map(is_running, pids))


def test_all_shipped_digits_equal_the_reference(
    cluster: libmpc.LocalCluster, client: libmpc.Client, model: Model
) -> None:
    images, labels = data.digits()
    served = cluster.share(model, "digits", serve=True)
    logits = client.query("digits", images)
    assert logits.dtype == np.float64
    assert np.array_equal(logits, model.reference(images))
    assert (logits.argmax(axis=1) == labels).mean() > 0.95
    served.delete()


def test_a_private_evaluation(
    cluster: libmpc.LocalCluster, client: libmpc.Client, model: Model
) -> None:
    """Two hundred and fifty-six digits in parts; the count and the matrix are the reference's."""
    images, labels = data.digits()
    guesses = model.reference(images).argmax(axis=1)
    wanted = np.zeros((10, 10), np.int64)
    np.add.at(wanted, (labels, guesses), 1)
    served = cluster.share(model, "evaluated", serve=True, output="confusion:100", num_requests=2)
    seen: list[int] = []
    score = client.evaluate(
        "evaluated", images, labels, batch_size=50, progress=lambda done, _: seen.append(done)
    )
    assert (score.samples, score.correct) == (256, int((guesses == labels).sum()))
    assert max(seen) == 256
    assert len(seen) == 6
    found = client.evaluate("evaluated", images, labels, confusion=True).confusion
    assert found is not None
    assert np.array_equal(found, wanted)
    with pytest.raises(libmpc.LimitError, match="2 requests"):
        client.evaluate("evaluated", images, labels)
    with pytest.raises(libmpc.InputError, match="100 samples or more"):
        client.evaluate("evaluated", images[:99], labels[:99])
    with pytest.raises(libmpc.InputError, match="evaluations only"):
        client.query("evaluated", images[:1])
    served.delete()


def test_the_perceptron_too(cluster: libmpc.LocalCluster, client: libmpc.Client) -> None:
    path = data.model_path("perceptron-784-500-10.keras")
    perceptron = libmpc.load_model(path, input_range=(0, 1))
    flat = data.digits()[0][:32].reshape(32, 784)
    served = cluster.share(perceptron, "perceptron", serve=True)
    assert np.array_equal(client.query("perceptron", flat), perceptron.reference(flat))
    served.delete()


def test_share_serve_stop_delete(
    cluster: libmpc.LocalCluster, client: libmpc.Client, model: Model
) -> None:
    x = data.digits()[0][:2]
    served = cluster.share(model, "mnist")
    with pytest.raises(libmpc.UnavailableError):
        client.query("mnist", x)  # stored, not served
    with pytest.raises(libmpc.ConflictError):
        cluster.share(model, "mnist")

    served.serve(num_requests=3)
    for _ in range(3):
        assert np.array_equal(client.query("mnist", x), model.reference(x))
    with pytest.raises(libmpc.LimitError) as error:
        client.query("mnist", x)
    assert error.value.status == 429

    served.serve()
    assert np.array_equal(client.query("mnist", x), model.reference(x))
    served.stop()
    with pytest.raises(libmpc.UnavailableError) as stopped:
        client.query("mnist", x)
    assert stopped.value.status == 503

    served.delete()
    with pytest.raises(libmpc.ModelNotFoundError):
        client.query("mnist", x)
    assert [one.name for one in cluster.models()] == []


def test_labels_and_scores(
    cluster: libmpc.LocalCluster, client: libmpc.Client, model: Model
) -> None:
    x = data.digits()[0][:20]
    logits = model.reference(x)
    served = cluster.share(model, "labels", serve=True)
    for output in ("label", "topk:3", "scores:4", "scores:0", "logits", None):
        answer = client.query("labels", x, output=output)
        wanted = answers.plain(outputs.parse(output or "logits"), logits)
        assert answer.dtype == wanted.dtype
        assert np.array_equal(answer, wanted)
    served.delete()


def test_an_owner_may_allow_labels_only(
    cluster: libmpc.LocalCluster, client: libmpc.Client, model: Model
) -> None:
    x = data.digits()[0][:3]
    with pytest.raises(libmpc.InputError):
        cluster.share(model, "only", output="lable")
    with pytest.raises(libmpc.ModelError, match="fewer"):
        cluster.share(model, "only", output="topk:11")
    served = cluster.share(model, "only", serve=True, output="label")
    assert client.describe("only").output == "label"
    labels = client.query("only", x)
    assert np.array_equal(labels, model.reference(x).argmax(axis=1))
    for output in ("logits", "topk:2"):
        with pytest.raises(libmpc.InputError, match="allows it to answer with label only"):
            client.query("only", x, output=output)
    served.delete()


def test_the_command_line_asks_for_labels(cluster: libmpc.LocalCluster, tmp_path: Path) -> None:
    images = data.digits()[0][:5]
    np.save(tmp_path / "in.npy", images)
    cli = partial(_run, tmp_path, str(cluster.deployment))
    pushed = cli(
        "push",
        data.model_path(data.MODELS[0]),
        "--name",
        "cli",
        "--input-range",
        0,
        1,
        "--serve",
        "--output",
        "topk:3",
    )
    assert pushed["output"] == "topk:3"
    reference = libmpc.load_model(data.model_path(data.MODELS[0]), input_range=(0, 1))
    logits = reference.reference(images)
    for options, kind in (
        (("--output", "label"), "label"),
        (("--output", "label", "--batch-size", 2), "label"),
        (("--batch-size", 3), "topk:3"),
        ((), "topk:3"),
    ):
        answer = cli("query", "cli", "in.npy", "--out", "out.npy", *options)
        assert (answer["output"], answer["dtype"]) == (kind, "int64")
        wanted = answers.plain(outputs.parse(kind), logits)
        assert np.array_equal(np.load(tmp_path / "out.npy"), wanted)
    cluster.model("cli").delete()


def _run(directory: Path, deployment: str, *words: object) -> dict[str, object]:
    result = subprocess.run(
        [sys.executable, "-m", "libmpc", *map(str, words), "--json"],
        cwd=directory,
        env={**os.environ, "LIBMPC_DEPLOYMENT": deployment},
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    found: dict[str, object] = json.loads(result.stdout)
    return found


def test_a_refused_input_is_not_counted(
    cluster: libmpc.LocalCluster, client: libmpc.Client, model: Model
) -> None:
    x = data.digits()[0][:1]
    served = cluster.share(model, "once", serve=True, num_requests=1)
    with pytest.raises(libmpc.InputError, match="divide by 255"):
        client.query("once", x * 255)
    assert np.array_equal(client.query("once", x), model.reference(x))
    served.delete()


def test_no_party_stores_weights_in_the_clear(cluster: libmpc.LocalCluster, model: Model) -> None:
    """Neither as the model file has them nor encoded, in any file that any service has."""
    served = cluster.share(model, "stored", serve=True)
    needles = _rows_of_weights(model)
    files = [p for p in cluster.directory.rglob("*") if p.is_file() and p.suffix != ".lock"]
    assert any(path.stat().st_size > 10_000 for path in files)
    for path in files:
        content = path.read_bytes()
        assert not any(needle in content for needle in needles), path
    served.delete()


def _rows_of_weights(model: Model) -> list[bytes]:
    """Four neighbouring weights of each layer, in every form that they have in the clear."""
    needles = []
    for weights, _ in model.weights.values():
        row = np.ascontiguousarray(weights.reshape(-1)[-4:])
        assert row.any()
        packed = b"".join(int(value).to_bytes(8, "little")[:6] for value in row)
        signed = (row << np.uint64(16)).view(np.int64) >> 16
        needles += [row.tobytes(), packed, np.ldexp(signed.astype(np.float64), -16).tobytes()]
    return needles


def test_a_cluster_that_is_not_started_says_so() -> None:
    with pytest.raises(libmpc.ConfigError, match="with block"):
        _ = libmpc.LocalCluster().deployment


def test_a_second_one_on_the_same_directory(cluster: libmpc.LocalCluster) -> None:
    with pytest.raises(libmpc.ConfigError, match="another"):
        libmpc.LocalCluster(cluster.directory).start()
    assert Path(cluster.deployment).exists()
