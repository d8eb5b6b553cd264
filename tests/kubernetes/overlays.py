"""The overlays of ``deploy/k8s``, rendered, and what is in them."""

from __future__ import annotations

import functools
import importlib.util
import os
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "deploy" / "k8s"
#: set by 'make k8s-validate': nothing may be skipped then
REQUIRED = bool(os.environ.get("LIBMPC_TEST_KUBERNETES"))

Document = dict[str, Any]


def _load() -> ModuleType:
    spec = importlib.util.spec_from_file_location("k8s_validate", FOLDER / "validate.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


validate = _load()
NAMES = [str(path.relative_to(FOLDER)) for path in validate.overlays()]


@functools.cache
def rendered(name: str) -> tuple[Document, ...]:
    """The documents of an overlay; skips the test where nothing can render it."""
    if validate.renderer() is None and not REQUIRED:
        pytest.skip("NOT TESTED: no kubectl; run 'make k8s-validate'")
    return tuple(validate.render(FOLDER / name))


def of_kind(documents: tuple[Document, ...], *kinds: str) -> list[Document]:
    return [document for document in documents if document["kind"] in kinds]


def workloads(documents: tuple[Document, ...]) -> list[Document]:
    return of_kind(documents, "StatefulSet", "Deployment")


def pod_of(workload: Document) -> Document:
    return workload["spec"]["template"]["spec"]  # type: ignore[no-any-return]


def containers(pod: Document) -> list[Document]:
    return [*pod.get("initContainers", ()), *pod["containers"]]


def namespace(document: Document) -> str:
    return str(document["metadata"]["namespace"])


def volume_of(pod: Document, name: str, workload: Document) -> Document:
    """A pod's volume, one of a claim template included."""
    for volume in pod.get("volumes", ()):
        if volume["name"] == name:
            return volume  # type: ignore[no-any-return]
    for claim in workload["spec"].get("volumeClaimTemplates", ()):
        if claim["metadata"]["name"] == name:
            return {"name": name, "persistentVolumeClaim": {}}
    raise AssertionError(f"there is no volume {name}")


def references(workload: Document) -> Iterator[tuple[str, str, str | None]]:
    """Kind, name and key (None: all) of every Secret and ConfigMap that a workload names."""
    pod = pod_of(workload)
    for volume in pod.get("volumes", ()):
        for source in (volume, *volume.get("projected", {}).get("sources", ())):
            if "secret" in source:
                one = source["secret"]
                yield "Secret", one.get("secretName") or one["name"], None
            if "configMap" in source:
                yield "ConfigMap", source["configMap"]["name"], None
    for container in containers(pod):
        assert "envFrom" not in container
        for variable in container.get("env", ()):
            source = variable.get("valueFrom", {})
            if "secretKeyRef" in source:
                yield "Secret", source["secretKeyRef"]["name"], source["secretKeyRef"]["key"]
            if "configMapKeyRef" in source:
                found = source["configMapKeyRef"]
                yield "ConfigMap", found["name"], found["key"]
