"""YAML files that people edit, read as strictly as what comes from the network.

No value may occur twice, no anchors, no tags; the result is checked by a pydantic model in the same
strict mode as JSON.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ValidationError

from libmpc.errors import ConfigError
from libmpc.identity.files import read_private, read_public
from libmpc.wire.document import describe

MAX_DEPTH = 16

ModelT = TypeVar("ModelT", bound=BaseModel)


def read_model(path: Path, kind: type[ModelT], what: str, *, private: bool = False) -> ModelT:
    """Read a YAML file into a model.

    Raises:
        ConfigError: missing, too large, not YAML, not valid, or private and open to others. The
            message names the file and the field, and never the value.
    """
    data = read_private(path, what) if private else read_public(path, what)
    fields = _load(path, what, data)
    try:
        return kind.model_validate_json(json.dumps(fields, allow_nan=False))
    except ValidationError as error:
        raise ConfigError(f"{path} ({what}) is not valid: {describe(error)}") from None
    except (TypeError, ValueError):
        raise ConfigError(f"{path} ({what}) has a value of a kind that does not fit") from None


def read_mapping(path: Path, what: str) -> dict[str, Any]:
    """Read a YAML file whose values somebody else checks.

    Raises:
        ConfigError: missing, too large, or not a YAML mapping.
    """
    return _load(path, what, read_public(path, what))


def dump(fields: Mapping[str, Any], comment: str = "") -> bytes:
    """Write YAML in the order given; texts of several lines, such as certificates, as they are."""
    plain = {k: v for k, v in fields.items() if not _is_block(v)}
    lines = [f"# {line}".rstrip() for line in comment.splitlines()]
    if plain:
        text: str = yaml.safe_dump(plain, sort_keys=False)
        lines.append(text.rstrip("\n"))
    for name, value in fields.items():
        if _is_block(value):
            lines.append(f"{name}: |")
            lines += [f"  {line}" for line in value.rstrip("\n").split("\n")]
    return ("\n".join(lines) + "\n").encode()


def _is_block(value: object) -> bool:
    if not isinstance(value, str) or not value.startswith("-----BEGIN "):
        return False
    # Only what YAML gives back to the letter: printable lines, none of them empty or padded.
    lines = value.removesuffix("\n").split("\n")
    return value.endswith("\n") and all(
        line.isascii() and line.isprintable() and line and line == line.strip() for line in lines
    )


def _load(path: Path, what: str, data: bytes) -> dict[str, Any]:
    loader = None
    try:
        loader = yaml.SafeLoader(data.decode())
        node = loader.get_single_node()
        _check(node, set(), 0)
        fields = None if node is None else loader.construct_document(node)
    except _UnsafeError as error:
        raise ConfigError(f"{path} ({what}): {error}") from None
    # ValueError: also what the constructor makes of an impossible date or a huge number.
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        mark = getattr(error, "problem_mark", None)
        where = f", line {mark.line + 1}" if mark is not None else ""
        raise ConfigError(f"{path} ({what}) is not valid YAML{where}") from None
    finally:
        if loader is not None:
            loader.dispose()
    if not isinstance(fields, dict):
        raise ConfigError(f"{path} ({what}) is not valid: a mapping of names to values is expected")
    return fields


class _UnsafeError(Exception):
    pass


def _check(node: Any, seen: set[int], depth: int) -> None:
    if node is None:
        return
    if id(node) in seen:
        raise _UnsafeError("anchors and aliases are not supported")
    seen.add(id(node))
    if depth > MAX_DEPTH:
        raise _UnsafeError("too deeply nested")
    if isinstance(node, yaml.MappingNode):
        names = [key.value for key, _ in node.value if isinstance(key, yaml.ScalarNode)]
        if len(names) != len(node.value):
            raise _UnsafeError("names must be plain text")
        # A merge ("<<") would be another way to give a name twice.
        if any(key.tag == "tag:yaml.org,2002:merge" for key, _ in node.value):
            raise _UnsafeError("merging is not supported")
        if len(set(names)) != len(names):
            twice = next(name for name in names if names.count(name) > 1)
            raise _UnsafeError(f"{twice!r} occurs twice")
        for _, value in node.value:
            _check(value, seen, depth + 1)
    elif isinstance(node, yaml.SequenceNode):
        for value in node.value:
            _check(value, seen, depth + 1)
