"""Services that start together compile each kernel once: the others wait for it, and load it.

Numba's cache alone does not do that: all find it empty, and all compile everything.
"""

from __future__ import annotations

import contextlib
import os
import sys
import time
import zlib
from collections.abc import Iterator
from pathlib import Path

FILE_NAME = "libmpc-kernels.lock"
PATIENCE_SECONDS = 60.0
"""Longer than any kernel takes: whoever is ahead for so long is stopped or stuck."""
_POLL_SECONDS = 0.01
_PLACES = 1 << 30


@contextlib.contextmanager
def turn(folder: Path, kernel: str, patience: float = PATIENCE_SECONDS) -> Iterator[None]:
    """Be the only process that looks for, compiles or stores a kernel in a cache.

    The operating system lets go when a process ends, however it ends. Where nothing can be locked
    (a read-only folder, some network file systems), or after ``patience`` seconds, the block
    begins without: then a kernel may be compiled twice, and nothing else happens.

    Args:
        folder: the cache; made if it is missing.
        kernel: processes that name different ones do not wait for each other.
    """
    place = zlib.crc32(kernel.encode()) % _PLACES
    with contextlib.ExitStack() as stack:
        with contextlib.suppress(OSError):
            folder.mkdir(parents=True, exist_ok=True)
            descriptor = os.open(folder / FILE_NAME, os.O_RDWR | os.O_CREAT, 0o644)
            stack.callback(os.close, descriptor)
            deadline = time.monotonic() + patience
            while not _lock(descriptor, place) and time.monotonic() < deadline:
                time.sleep(_POLL_SECONDS)
        yield


if sys.platform == "win32":
    import msvcrt

    def _lock(descriptor: int, place: int) -> bool:
        os.lseek(descriptor, place, os.SEEK_SET)
        try:
            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
        except PermissionError:
            return False
        return True

else:
    import fcntl

    def _lock(descriptor: int, place: int) -> bool:
        """Whether this byte of the file is ours now."""
        try:
            fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, place)
        except (BlockingIOError, PermissionError):
            return False
        return True
