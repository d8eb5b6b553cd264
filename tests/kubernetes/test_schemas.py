"""Written manifests against the schemas of Kubernetes, and that mistakes in overlays are found.

The overlays themselves: ``deploy/k8s/validate.py``, which 'make k8s-validate' runs first.
"""

from __future__ import annotations

import copy
import importlib.util
from pathlib import Path

import pytest
import yaml

from libmpc.deployment_kubernetes import make_all, write_manifests
from tests.kubernetes.overlays import NAMES, REQUIRED, Document, of_kind, rendered, validate

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("kubernetes_validate") is None and not REQUIRED,
    reason="NOT TESTED: no schemas of Kubernetes; run 'make k8s-validate'",
)


def one(name: str, kind: str) -> Document:
    return copy.deepcopy(of_kind(rendered(name), kind)[0])


def test_what_init_writes_is_valid(tmp_path: Path) -> None:
    make_all(tmp_path, 2, "https://localhost:8443", "schemas")
    documents = [d for p in write_manifests(tmp_path) for d in yaml.safe_load_all(p.read_text())]
    assert len(documents) == 3 * 4 + 5
    assert [text for document in documents for text in validate.problems(document)] == []


def test_several_releases_are_checked() -> None:
    assert validate.releases()[0] == validate.OLDEST
    assert len(validate.releases()) >= 6


def test_an_unknown_field_is_found() -> None:
    party = one("overlays/trying-out/party0", "StatefulSet")
    party["spec"]["template"]["spec"]["containers"][0]["readinesProbe"] = {}
    found = validate.problems(party)
    assert len(found) == len(validate.releases())
    assert all("readinesProbe" in text for text in found)


def test_a_value_of_the_wrong_type_is_found() -> None:
    party = one("overlays/trying-out/party0", "StatefulSet")
    party["spec"]["replicas"] = "1"
    assert validate.problems(party)


@pytest.mark.parametrize("version", ["apps/v2", "wrong.io/v1", "apps/v1beta1"])
def test_a_version_that_there_is_not_is_found(version: str) -> None:
    party = one("overlays/trying-out/party0", "StatefulSet")
    party["apiVersion"] = version
    assert validate.problems(party)


def test_a_kind_without_a_schema_is_found() -> None:
    found = validate.problems(
        {"apiVersion": "example.org/v1", "kind": "Wish", "metadata": {"name": "x"}}
    )
    assert found
    assert all("no schema" in text for text in found)


@pytest.mark.parametrize("kind", ["Certificate", "Issuer", "PodMonitor"])
def test_an_unknown_field_of_a_custom_resource_is_found(kind: str) -> None:
    name = "checks/party"
    document = one(name, kind)
    assert validate.problems(document) == []
    document["spec"]["surprise"] = 1
    assert any("surprise" in text for text in validate.problems(document))


def test_an_overlay_that_cannot_be_rendered_is_refused(tmp_path: Path) -> None:
    (tmp_path / "kustomization.yaml").write_text("resources: [missing.yaml]\n")
    rendered(NAMES[0])  # or skip
    with pytest.raises(RuntimeError, match=r"missing\.yaml"):
        validate.render(tmp_path)
    assert validate.main([str(tmp_path)]) == 1
