"""The documentation suffices: a client that was written from it alone speaks with ours."""

from __future__ import annotations

import ast
import hashlib
import json
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

import libmpc
from libmpc import data
from tests.independent import client, evaluation, formats

ROOT = Path(__file__).resolve().parent.parent.parent
VECTORS = ROOT / "tests" / "vectors"
ALLOWED = {"numpy", "cryptography", "yaml"}
OWN = {"tests.independent.formats", "tests.independent.client"}


def vectors(name: str) -> Any:
    return json.loads((VECTORS / name).read_text())


def h(text: str) -> bytes:
    return bytes.fromhex(text)


# ---- independence


@pytest.mark.parametrize("module", [client, evaluation, formats], ids=lambda m: m.__name__)
def test_nothing_of_ours_is_imported(module: ModuleType) -> None:
    names: set[str] = set()
    for node in ast.walk(ast.parse(Path(str(module.__file__)).read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0
            names.add(str(node.module))
    top = {name.split(".")[0] for name in names - OWN}
    assert "numpy" in top
    assert top - ALLOWED <= sys.stdlib_module_names - {"importlib", "runpy"}


def test_nothing_of_ours_is_loaded() -> None:
    program = (
        "import sys, tests.independent.client, tests.independent.evaluation;"
        "print({name.split('.')[0] for name in sys.modules} & {'libmpc', 'services'})"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout == "set()\n"


# ---- vectors


def test_no_file_of_vectors_is_left_out() -> None:
    used = {"context", "documents", "info", "plaintexts", "hpke", "deployment", "evaluation"}
    assert {path.stem for path in VECTORS.glob("*.json")} == used


@pytest.mark.parametrize("case", vectors("context.json")["cases"])
def test_context(case: dict[str, Any]) -> None:
    fields = [h(field) for field in case["fields"]]
    assert formats.context(case["label"], *fields).hex() == case["context"]
    assert formats.digest(case["label"], *fields).hex() == case["sha256"]


@pytest.mark.parametrize("case", vectors("documents.json")["documents"], ids=lambda c: c["kind"])
def test_documents(case: dict[str, Any]) -> None:
    document = case["document"].encode()
    assert formats.canonical(case["fields"]) == document
    key = Ed25519PrivateKey.from_private_bytes(h(case["private_key"]))
    assert key.public_key().public_bytes_raw().hex() == case["public_key"]
    assert key.sign(formats.context(case["label"], document)).hex() == case["signature"]
    signature, public = h(case["signature"]), h(case["public_key"])
    assert formats.verify(case["label"], document, signature, public) == case["fields"]


def test_digests_of_documents() -> None:
    case = vectors("documents.json")
    manifest = case["documents"][0]
    hashes = manifest["fields"]["share_hashes"]
    assert formats.digest("model", manifest["document"].encode()).hex() == case["model_digest"]
    assert formats.digest("sharing", *map(h, hashes)).hex() == case["sharing_digest"]
    assert case["documents"][1]["fields"]["model"] == case["model_digest"]


def test_info() -> None:
    case = vectors("info.json")
    deployment, header, push = h(case["deployment"]), case["query_header"], case["push_header"]
    for party in (0, 1):
        assert formats.query_info(deployment, header, party).hex() == case["query"][party]
        assert formats.reply_info(deployment, header, party).hex() == case["reply"][party]
    assert [formats.push_info(deployment, push, p).hex() for p in range(3)] == case["push"]


def test_plaintexts() -> None:
    case = vectors("plaintexts.json")
    for query in case["query"]:
        payload = h(query["payload"])
        made = formats.query_plaintext(
            h(query["tag"]), h(query["reply_key"]), query["kind"], payload
        )
        assert made.hex() == query["plaintext"]
    packed = h(case["query"][1]["payload"])
    assert len(formats.unpack(packed)) == case["query"][1]["values"]
    assert formats.pack(formats.unpack(packed)) == packed
    push = case["push"]
    share, manifest = h(push["share"]), push["manifest"].encode()
    assert formats.push_plaintext(manifest, h(push["signature"]), share).hex() == push["plaintext"]
    reply = case["reply"]
    run, words = formats.split_reply(h(reply["plaintext"]), reply["values"])
    assert run.hex() == reply["run_digest"]
    assert formats.pack(words).hex() == reply["share"]
    assert formats.reply_plaintext(run, words).hex() == reply["plaintext"]


def test_hpke() -> None:
    rfc = vectors("hpke.json")["rfc9180_a_1_1"]
    made = formats.hpke_keys(h(rfc["skEm"]), h(rfc["pkRm"]), h(rfc["info"]))
    assert [part.hex() for part in made] == [rfc["enc"], rfc["key"], rfc["base_nonce"]]
    arguments = (h(rfc[name]) for name in ("skEm", "pkRm", "info", "pt", "aad"))
    assert formats.hpke_seal(*arguments).hex() == rfc["enc"] + rfc["ct"]

    ours = vectors("hpke.json")["query_envelope"]
    receiver = X25519PrivateKey.from_private_bytes(h(ours["private_key"]))
    public, info, text = (
        receiver.public_key().public_bytes_raw(),
        h(ours["info"]),
        h(ours["plaintext"]),
    )
    envelope = formats.hpke_seal(h(ours["ephemeral_private"]), public, info, text, b"")
    assert envelope.hex() == ours["envelope"]
    assert formats.SUITE.decrypt(envelope, receiver, info) == text


def test_deployment() -> None:
    case = vectors("deployment.json")
    for party in case["parties"]:
        static = X25519PrivateKey.from_private_bytes(h(party["static_private"]))
        signing = Ed25519PrivateKey.from_private_bytes(h(party["signing_private"]))
        assert static.public_key().public_bytes_raw().hex() == party["static_key"]
        assert signing.public_key().public_bytes_raw().hex() == party["signing_key"]
    keys = [(h(party["static_key"]), h(party["signing_key"])) for party in case["parties"]]
    assert formats.deployment_id(case["name"], keys).hex() == case["id"]


# ---- what is not in a file


def test_share_hashes_are_sha256_of_the_payloads() -> None:
    manifest = vectors("documents.json")["documents"][0]["fields"]
    share = h(vectors("plaintexts.json")["push"]["share"])
    assert hashlib.sha256(share).hexdigest() in manifest["share_hashes"]


@pytest.mark.parametrize("change", ["signature", "unknown", "missing", "double", "type"])
def test_documents_are_parsed_strictly(change: str) -> None:
    case = vectors("documents.json")["documents"][1]
    fields, signature = dict(case["fields"]), h(case["signature"])
    key = Ed25519PrivateKey.from_private_bytes(h(case["private_key"]))
    document = formats.canonical(fields)
    if change == "unknown":
        document = formats.canonical({**fields, "more": 1})
    elif change == "missing":
        document = formats.canonical({k: v for k, v in fields.items() if k != "width"})
    elif change == "double":
        document = document.replace(b'"width":48', b'"width":48,"width":48')
    elif change == "type":
        document = document.replace(b'"width":48', b'"width":48.0')
    if change == "signature":
        signature = bytes([signature[0] ^ 1]) + signature[1:]
    else:
        signature = key.sign(formats.context("descriptor", document))
    with pytest.raises(formats.Refused):
        formats.verify("descriptor", document, signature, h(case["public_key"]))


def test_replies_of_different_runs_are_refused() -> None:
    one, run = np.ones(3, np.uint64), bytes(32)
    assert np.array_equal(formats.combine([(run, one), (run, one)]), [2.0**-31] * 3)
    with pytest.raises(formats.Refused, match="different runs"):
        formats.combine([(run, one), (b"\x01" * 32, one)])


def test_encoding_equals_ours() -> None:
    x = np.concatenate([np.arange(-9, 10) * 2.0**-17, [-32767.5, 32767.25, 1 / 3, -0.0]])
    expected = np.asarray(libmpc.encode(x)) & np.uint64(2**48 - 1)
    assert np.array_equal(formats.encode(x), expected)


# ---- a real deployment


def test_three_digits_equal_the_reference(tmp_path: Path) -> None:
    model = libmpc.load_model(data.model_path("short-conv-mnist.h5"), input_range=(0, 1))
    images = data.digits()[0][:3]
    with libmpc.LocalCluster(tmp_path) as cluster:
        cluster.share(model, "mnist", serve=True)
        path = tmp_path / "deployment.yaml"
        in_json = client.query(path, "mnist", images)
        in_binary = client.query(path, "mnist", images, binary=True)
    assert in_json.dtype == np.float64
    assert np.array_equal(in_json, model.reference(images))
    assert np.array_equal(in_binary, model.reference(images))
