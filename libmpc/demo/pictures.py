"""Pictures for a terminal."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

_INK = " .:-=+*#%@"

Image = NDArray[np.float64]


def picture(image: Image, rows: int, columns: int) -> list[str]:
    """Lines of characters, darker for larger values.

    Args:
        image: (height, width), values from 0 to 1; both are multiples of rows and columns.
        rows: lines.
        columns: characters in each.
    """
    height, width = image.shape
    blocks = image.reshape(rows, height // rows, columns, width // columns).mean(axis=(1, 3))
    levels = np.minimum((blocks * len(_INK)).astype(int), len(_INK) - 1)
    return ["".join(_INK[level] for level in row) for row in levels]


def side_by_side(blocks: Sequence[Sequence[str]], width: int, gap: int = 2) -> list[str]:
    """Blocks of lines next to each other; each is ``width`` characters wide."""
    space = " " * gap
    rows = zip(*blocks, strict=True)
    return [space.join(line.ljust(width) for line in row).rstrip() for row in rows]
