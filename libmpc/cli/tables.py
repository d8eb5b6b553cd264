"""Tables for people: aligned columns, as wide as the terminal; in a file as wide as they need."""

from __future__ import annotations

import io
import os
import shutil
import sys
from collections.abc import Sequence
from dataclasses import dataclass

_ENDLESS = 10_000


@dataclass(frozen=True)
class Column:
    """A column's title, and how its cells are set.

    Attributes:
        right: numbers stand on the right.
        longest: cells beyond this many characters go on in the next line.
    """

    title: str
    right: bool = False
    longest: int | None = None


def table(
    columns: Sequence[Column], rows: Sequence[Sequence[str]], last: Sequence[str] | None = None
) -> str:
    """Rows under titles, and perhaps a last row apart from them, without trailing spaces.

    Cells are printed as they are: nothing in them is taken for markup.
    """
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    terminal = sys.stdout.isatty()
    made = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    for column in columns:
        made.add_column(
            column.title,
            justify="right" if column.right else "left",
            max_width=column.longest,
            overflow="fold",
            no_wrap=column.longest is None,
        )
    for row in rows:
        made.add_row(*(Text(cell) for cell in row))
    if last is not None:
        made.add_row(*(Text(cell, style="bold") for cell in last))
    file = io.StringIO()
    console = Console(
        file=file,
        force_terminal=terminal,
        no_color=True if "NO_COLOR" in os.environ else None,
        width=shutil.get_terminal_size().columns if terminal else _ENDLESS,
    )
    console.print(made)
    return "\n".join(line.rstrip() for line in file.getvalue().splitlines())
