"""The files of an audit log: each named after the number of its first record."""

from __future__ import annotations

import re
from pathlib import Path

_NAME = re.compile(r"audit-([0-9]{12})\.jsonl")


def file_name(first: int) -> str:
    """The name of the file whose first record has this number."""
    return f"audit-{first:012d}.jsonl"


def is_log(path: Path) -> bool:
    """Whether a file has the name of one."""
    return _NAME.fullmatch(path.name) is not None


def log_files(directory: Path) -> list[Path]:
    """A log's files, oldest first."""
    return sorted(path for path in directory.iterdir() if is_log(path))
