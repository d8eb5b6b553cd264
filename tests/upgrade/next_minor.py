"""What a later minor version may change, written into a copy of the code.

Each change is one that the rules in docs/upgrade.md allow: more fields in what parties say to
gateways and gateways to clients, more fields between parties where the link's minor says that both
know them, more columns and tables in files, another kind of record in the audit log.
"""

from __future__ import annotations

import re
from pathlib import Path

_MESSAGES = """

class PartyStatus(PartyStatus):
    color: str = "next"


class ModelState(ModelState):
    color: str = "next"


class ModelList(ModelList):
    models: Annotated[tuple[ModelState, ...], Field(max_length=MAX_MODELS), FailFast()]
    color: str = "next"


class Refusal(Refusal):
    color: str = "next"
"""

_SYNC = """

class ModelReport(ModelReport):
    color: str = "next"


class CatalogReport(CatalogReport):
    models: Annotated[tuple[ModelReport, ...], Field(max_length=MAX_MODELS), FailFast()]


_report = report


def report(catalog, minor):
    import json

    document = json.loads(_report(catalog, minor))
    if minor < {minor}:
        for model in document["models"]:
            del model["color"]
    return json.dumps(document).encode()
"""

_RECORDS = """

_init = Records.__init__


def _next(self, *arguments):
    _init(self, *arguments)
    columns = [row[1] for row in self._db.execute("PRAGMA table_info(models)")]
    if "color" not in columns:
        self._db.execute("ALTER TABLE models ADD COLUMN color TEXT NOT NULL DEFAULT 'next'")
        self._db.execute("CREATE TABLE colors (model TEXT PRIMARY KEY)")


Records.__init__ = _next
"""

_RECORD = """

class Record(Record):
    color: str | None = None


class NewRecord(NewRecord):
    color: str | None = None
    event: str
"""

_WRITER = """

_append = AuditLog.append


def _next(self, entries):
    colored = [Entry(e.event, {**e.fields, "color": "next"}) for e in entries]
    if any(e.event == "started" for e in entries):
        colored.append(Entry("painted", {"color": "next"}))
    _append(self, colored)


AuditLog.append = _next
"""

_DOCUMENTS = """

class SealedModel(SealedModel):
    color: str = "next"


class ModelMetadata(ModelMetadata):
    libmpc: SealedModel


class ListedModel(ListedModel):
    color: str = "next"


class ModelIndex(ModelIndex):
    models: list[ListedModel]
"""


def apply(directory: Path, version: str, minor: int) -> None:
    """Change the copy in ``directory``, whose links speak up to ``minor`` so far."""
    libmpc = directory / "libmpc"
    _replace(libmpc / "_version.py", r'( = )"[^"]+"', rf'\g<1>"{version}"')
    _replace(libmpc / "link" / "hello.py", r"( highest: int = ).+", rf"\g<1>{minor + 1}")
    _add(libmpc / "party" / "messages.py", _MESSAGES)
    _add(libmpc / "party" / "sync.py", _SYNC.replace("{minor}", str(minor + 1)))
    _add(libmpc / "party" / "records.py", _RECORDS)
    _add(libmpc / "audit" / "record.py", _RECORD)
    _add(libmpc / "audit" / "writer.py", _WRITER)
    _add(directory / "services" / "gateway" / "documents.py", _DOCUMENTS)


def _replace(path: Path, pattern: str, by: str) -> None:
    text, count = re.subn(pattern, by, path.read_text())
    assert count == 1, (path, pattern, count)
    path.write_text(text)


def _add(path: Path, code: str) -> None:
    path.write_text(path.read_text() + code)
