"""The OpenAPI documents, the REST page and the list of messages against the code."""

from __future__ import annotations

import ast
import json
import re
import shlex
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest

import libmpc
from docs import generate

ROOT = Path(__file__).resolve().parent.parent
DOCS = ROOT / "docs"
SERVICES = ("gateway", "party")


def published(service: str) -> dict[str, Any]:
    document: dict[str, Any] = json.loads((DOCS / "openapi" / f"{service}.json").read_text())
    return document


# ---- the documents


def routes(document: dict[str, Any]) -> dict[tuple[str, str], tuple[str, list[str]]]:
    """Summary and statuses by path and method; schemas differ in spelling between FastAPIs."""
    return {
        (path, method): (operation["summary"], sorted(operation["responses"]))
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
    }


@pytest.mark.parametrize("service", SERVICES)
def test_the_document_is_up_to_date(service: str) -> None:
    hint = "run 'python docs/generate.py'"
    assert routes(published(service)) == routes(generate.openapi()[service]), hint
    assert published(service)["info"]["version"] == libmpc.__version__


def test_generation_is_stable() -> None:
    assert generate.openapi() == generate.openapi()


def test_a_change_of_a_document_is_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stale = {tmp_path / "gateway.json": "new"}
    (tmp_path / "gateway.json").write_text("old")
    monkeypatch.setattr(generate, "ROOT", tmp_path)
    monkeypatch.setattr(generate, "outputs", lambda: stale)
    assert generate.main(["--check"]) == 1
    assert generate.main([]) == 0
    assert generate.main(["--check"]) == 0


# ---- docs/rest.md

REST = (DOCS / "rest.md").read_text()


def test_only_health_needs_no_token() -> None:
    free = {
        path for _, path, op in generate.operations(published("gateway")) if not op.get("security")
    }
    assert free == {"/v2/health/live", "/v2/health/ready"}


def test_the_page_explains_every_status() -> None:
    explained = set(
        re.findall(r"\d{3}", " ".join(re.findall(r"^\| ([\d, ]+) \|", REST, re.MULTILINE)))
    )
    documented = {
        status
        for _, _, operation in generate.operations(published("gateway"))
        for status in operation["responses"]
        if status >= "400"
    }
    # Those that any route may answer are in the text only.
    assert explained == documented | {"415", "500"}


def test_the_page_explains_every_route_of_a_party() -> None:
    for method, path, operation in generate.operations(published("party")):
        assert f"| `{method} {path}` |" in REST
        schema = operation["responses"]["200"]["content"]["application/json"]["schema"]["$ref"]
        fields = published("party")["components"]["schemas"][schema.rsplit("/", 1)[-1]]
        row = next(line for line in REST.splitlines() if f"`{method} {path}`" in line)
        assert {f"`{name}`" for name in fields["properties"]} <= set(re.findall(r"`\w+`", row))
    assert "| `POST /link/v1` |" in REST


def requests() -> Iterator[tuple[str, str]]:
    """Method and path of every curl command of the page."""
    for block in re.findall(r"^```sh\n(.*?)^```$", REST, re.MULTILINE | re.DOTALL):
        for line in block.splitlines():
            words = shlex.split(line, comments=True)
            if words and words[0] in ("api", "curl") and words[-1].startswith("$URL"):
                named = [words[i + 1] for i, word in enumerate(words) if word == "--request"]
                sends = any(word.startswith("--data") for word in words)
                yield (named or ["POST" if sends else "GET"])[0], words[-1].removeprefix("$URL")


def test_every_route_has_a_command_and_every_command_a_route() -> None:
    routes = {(method, path) for method, path, _ in generate.operations(published("gateway"))}
    found = {
        (method, path.replace("/mnist", "/{name}").replace("/0123456789ab", "/{token}"))
        for method, path in requests()
    }
    assert found == routes


def test_commands_without_a_token_are_those_for_health() -> None:
    for path in re.findall(r"^curl .*\$URL(\S+)$", REST, re.MULTILINE):
        assert path.startswith("/v2/health/")


# ---- docs/troubleshooting.md

GAP = "\0"
MESSAGES = re.findall(r"^\*\*`(.+)`\*\*$", (DOCS / "troubleshooting.md").read_text(), re.MULTILINE)


@cache
def texts() -> tuple[str, ...]:
    """Every string of the code, with a gap for each value that is put in."""
    found = []
    for folder in ("libmpc", "services"):
        for path in sorted((ROOT / folder).rglob("*.py")):
            for node in ast.walk(ast.parse(path.read_text())):
                if isinstance(node, ast.JoinedStr):
                    parts = (v.value if isinstance(v, ast.Constant) else GAP for v in node.values)
                    found.append("".join(map(str, parts)))
                elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                    found.append(re.sub("%[rsd]", GAP, node.value))  # of a log, perhaps
    return tuple(found)


def occurs(message: str) -> bool:
    # A value in the page stands where the code puts one in, and nowhere else.
    fixed = [re.escape(part) for part in message.split("…")]
    pattern = re.compile(GAP.join(fixed))
    return any(pattern.search(text) for text in texts())


@pytest.mark.parametrize("message", MESSAGES)
def test_every_explained_message_occurs(message: str) -> None:
    assert len(message.replace("…", "").strip()) >= 12
    assert occurs(message)


def test_a_message_that_is_gone_is_noticed() -> None:
    assert len(MESSAGES) >= 25
    assert len(set(MESSAGES)) == len(MESSAGES)
    assert not occurs("party … cannot be reached by carrier pigeon")
