"""The documentation of private evaluations suffices, and its bytes are known answers."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

import libmpc
from libmpc import data
from libmpc.graph.model import Model
from tests.independent import formats
from tests.independent.evaluation import (
    Evaluation,
    evaluate,
    evaluation_digest,
    expand_bits,
    label_digits,
    plaintext,
    sum_info,
)
from tests.independent.test_independent import h, vectors

CASE: dict[str, Any] = vectors("evaluation.json")


def evaluation(of: dict[str, Any]) -> Evaluation:
    return Evaluation(h(of["number"]), of["samples"], of["rows"], h(of["cells"]))


@pytest.mark.parametrize("case", CASE["plaintexts"], ids=lambda case: case["what"])
def test_plaintexts(case: dict[str, Any]) -> None:
    one = evaluation(case["evaluation"])
    assert one.encode(case["index"]).hex() == case["encoded"]
    arguments = (case["kind"], case["output"], one, case["index"], h(case["payload"]))
    made = plaintext(h(case["tag"]), h(case["reply_key"]), *arguments)
    assert made.hex() == case["plaintext"]


def test_labels() -> None:
    case = CASE["labels"]
    digits = label_digits(case["labels"], case["classes"])
    share = expand_bits(h(case["seed"]), len(digits))
    assert "".join(map(str, digits)) == case["digits"]
    assert "".join(map(str, share)) == case["share_of_seed"]
    other = np.packbits(digits ^ share, bitorder="little")
    assert other.tobytes().hex() == case["other_share_packed"]


def test_the_sum() -> None:
    case = CASE["sum"]
    one, deployment = evaluation(case["evaluation"]), h(case["deployment"])
    infos = [sum_info(deployment, case["model"], party, one.number).hex() for party in (0, 1)]
    assert infos == case["info"]
    parts = [(h(part["number"]), h(part["digest"])) for part in case["parts"]]
    made = evaluation_digest(case["model"], case["output"], one, h(case["reply_key"]), parts)
    assert made.hex() == case["digest"]
    key = X25519PrivateKey.from_private_bytes(h(case["reply_private"]))
    assert key.public_key().public_bytes_raw().hex() == case["reply_key"]
    total = np.zeros(1, np.uint64)
    for party, sealed in enumerate(case["replies"]):
        text = formats.SUITE.decrypt(h(sealed), key, h(case["info"][party]))
        said, share = formats.split_reply(text, 1)
        assert said == made
        total = total + share & formats.MASK
    assert total.tolist() == case["total"]


# ---- a real deployment


@pytest.fixture(scope="module")
def model() -> Model:
    return libmpc.load_model(data.model_path("short-conv-mnist.h5"), input_range=(0, 1))


@pytest.fixture(scope="module")
def deployment(model: Model, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    with libmpc.LocalCluster(tmp_path_factory.mktemp("cluster")) as cluster:
        cluster.share(model, "mnist", serve=True)
        yield cluster.deployment


def test_a_count_is_that_of_the_reference(model: Model, deployment: Path) -> None:
    images, labels = (array[:10] for array in data.digits())
    guesses = model.reference(images).argmax(axis=1)
    wrong = [int(label + 1) % 10 if i % 3 == 0 else int(label) for i, label in enumerate(labels)]
    found = evaluate(deployment, "mnist", images, wrong, rows=4)
    assert found == [int((guesses == wrong).sum())]


def test_cells_are_those_of_the_reference(model: Model, deployment: Path) -> None:
    images, labels = (array[:10] for array in data.digits())
    guesses = model.reference(images).argmax(axis=1)
    cells = [(int(label), int(guess)) for label in range(3) for guess in range(10)]
    found = evaluate(deployment, "mnist", images, [int(y) for y in labels], rows=10, cells=cells)
    assert found == [int(((labels == y) & (guesses == g)).sum()) for y, g in cells]
