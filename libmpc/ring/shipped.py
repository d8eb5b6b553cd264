"""Where numba finds kernels that were compiled when an image was built.

numba's own locators take a directory only if they can write to it, so on a read-only file system
every start would compile everything again. This one is named in the environment
(``NUMBA_CACHE_LOCATOR_CLASSES``) of images; nothing else uses it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, Self


class ShippedKernels:
    """Compiled kernels beside their source, in ``__pycache__``, read-only or not."""

    def __init__(self, function: Callable[..., Any], file: str) -> None:
        self._source = Path(file)
        self._line = function.__code__.co_firstlineno

    @classmethod
    def from_function(cls, function: Callable[..., Any], file: str) -> Self:
        """Numba's way to ask; every kernel of ours has a file."""
        return cls(function, file)

    def ensure_cache_path(self) -> None:
        """Make the directory, where it is missing; writing is the compiler's problem."""
        self._directory.mkdir(exist_ok=True)

    def get_cache_path(self) -> str:
        """The directory with the compiled kernels."""
        return str(self._directory)

    def get_source_stamp(self) -> bytes:
        """What must be the same for a compiled kernel to be used: the source, to the byte."""
        return hashlib.sha256(self._source.read_bytes()).digest()

    def get_disambiguator(self) -> str:
        """Tells functions of the same name apart."""
        return str(self._line)

    @property
    def _directory(self) -> Path:
        return self._source.parent / "__pycache__"
