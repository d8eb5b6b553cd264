"""Every parser that meets strangers."""

from __future__ import annotations

from tests.fuzz import (
    targets_client,
    targets_files,
    targets_gateway,
    targets_link,
    targets_wire,
)
from tests.fuzz.harness import Target


def all_targets() -> list[Target]:
    """In the order of the table."""
    tables = (targets_wire, targets_link, targets_gateway, targets_client, targets_files)
    return [target for table in tables for target in table.targets()]
