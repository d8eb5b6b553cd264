from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import BaseModel, ConfigDict

from libmpc.errors import ConfigError
from libmpc.identity.yamlfile import dump, read_mapping, read_model


class Sample(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid")

    name: str
    count: int = 0
    items: tuple[int, ...] = ()


def read(tmp_path: Path, text: str | bytes) -> Sample:
    path = tmp_path / "sample.yaml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return read_model(path, Sample, "a sample")


def test_reads(tmp_path: Path) -> None:
    assert read(tmp_path, "name: x\ncount: 3\nitems: [1, 2]") == Sample(
        name="x", count=3, items=(1, 2)
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("name: x\nname: y", "'name' occurs twice"),
        ("name: &a x\ncount: *a", "anchors and aliases"),
        ("name: x\n<<: {count: 1}", "merging"),
        ("name: 5", "name"),
        ("name: x\ncount: '5'", "count"),
        ("name: x\ncount: 5.0", "count"),
        ("name: x\ncount: yes", "count"),
        ("name: x\nmore: 1", "unknown field"),
        ("name: 2020-01-01", "does not fit"),
        ("name: !!binary aGk=", "does not fit"),
        ("name: !!python/object/apply:os.system [ls]", "not valid YAML"),
        ("name: x\ncount: .nan", "does not fit"),
        ("name: 2020-99-99", "not valid YAML"),
        ("? [a]\n: 1", "names must be plain"),
        ("name: [", "line 1"),
        ("- a", "a mapping"),
        ("", "a mapping"),
        ("name", "a mapping"),
        ("name: x\n---\nname: y", "not valid YAML"),
        ("name: " + "[" * 100 + "]" * 100, "too deeply"),
        ("name: " + "[" * 3000, "not valid YAML"),
        (b"name: \xff", "not valid YAML"),
        (b"name: \x00", "not valid YAML"),
    ],
)
def test_refused(tmp_path: Path, text: str | bytes, message: str) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        read(tmp_path, text)
    assert "(a sample)" in str(caught.value)


scalars = st.none() | st.booleans() | st.integers() | st.text() | st.from_regex(r"[0-9a-f]{8}")
names = st.from_regex(r"[a-z_]{1,10}", fullmatch=True)


@settings(max_examples=40)
@given(st.dictionaries(names, scalars | st.lists(scalars, max_size=3), min_size=1), st.text())
def test_dump_round_trip(
    tmp_path_factory: pytest.TempPathFactory, fields: dict[str, Any], comment: str
) -> None:
    path = tmp_path_factory.getbasetemp() / "round.yaml"
    printable = "".join(c for c in comment if c.isprintable() or c == "\n")
    path.write_bytes(dump(fields, printable))
    assert read_mapping(path, "a sample") == fields


@pytest.mark.parametrize("rest", ["\nabc\n", "\n\nabc\n", "\r\n", "", "\n abc\n", "\nabc \n"])
def test_blocks(tmp_path: Path, rest: str) -> None:
    text = f"-----BEGIN X{rest}"
    path = tmp_path / "block.yaml"
    path.write_bytes(dump({"pem": text, "count": 1}))
    assert read_mapping(path, "a sample") == {"pem": text, "count": 1}
