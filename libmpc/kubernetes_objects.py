"""Secrets and ConfigMaps of Kubernetes, as ``kubectl apply`` takes them."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from typing import Any

import yaml

Document = dict[str, Any]


def secret(namespace: str, name: str, files: Mapping[str, bytes], kind: str = "Opaque") -> Document:
    """A Secret with files in it."""
    data = {file: base64.b64encode(content).decode() for file, content in files.items()}
    return {**_head("Secret", namespace, name), "type": kind, "data": data}


def config(namespace: str, name: str, data: Mapping[str, str]) -> Document:
    """A ConfigMap with texts in it."""
    return {**_head("ConfigMap", namespace, name), "data": dict(data)}


def _head(kind: str, namespace: str, name: str) -> Document:
    labels = {"app.kubernetes.io/part-of": "libmpc"}
    metadata = {"name": name, "namespace": namespace, "labels": labels}
    return {"apiVersion": "v1", "kind": kind, "metadata": metadata}


def to_yaml(documents: list[Document], comment: str) -> bytes:
    """All of them in one file, to be read by people too."""
    text: str = yaml.dump_all(documents, Dumper=_Dumper, sort_keys=False, allow_unicode=True)
    return f"# {comment}\n{text}".encode()


class _Dumper(yaml.SafeDumper):
    """Writes texts of several lines as they are, so that people can read them."""


def _represent(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    return dumper.represent_scalar(
        "tag:yaml.org,2002:str", text, style="|" if "\n" in text else None
    )


_Dumper.add_representer(str, _represent)
