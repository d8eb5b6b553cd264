"""How a service's memory is kept: the allocator, and what the compiler leaves behind."""

from __future__ import annotations

import ctypes
import logging
import sys
from pathlib import Path
from typing import Any

logger = logging.getLogger(__name__)

# From <malloc.h>.
_M_TRIM_THRESHOLD = -1
_M_TOP_PAD = -2
_M_MMAP_THRESHOLD = -3
_M_ARENA_MAX = -8
_LARGEST_MMAP_THRESHOLD = 32 << 20
_KEEP = 32 << 20
_PAD = 16 << 20

_MADV_DONTNEED = 4  # from <sys/mman.h>
_COMPILER = "libllvmlite"


def keep_large_buffers() -> bool:
    """Let glibc keep freed megabytes instead of giving them back to the kernel at once.

    By default every buffer of a megabyte is mapped, faulted in page by page, and unmapped again,
    which was most of the time of an exchange of 4 MB between two parties. All threads share what is
    kept: a bundle is prepared in one and spent in another. This is for the whole process; call it
    once, at the start of a service.

    Returns:
        Whether it took effect; elsewhere than on glibc it does not.
    """
    if (libc := _libc()) is None:
        return False
    try:
        mallopt = libc.mallopt
    except AttributeError:  # musl has none
        return False
    settings = (
        (_M_MMAP_THRESHOLD, _LARGEST_MMAP_THRESHOLD),
        (_M_TRIM_THRESHOLD, _KEEP),
        (_M_TOP_PAD, _PAD),
        (_M_ARENA_MAX, 1),
    )
    results = [mallopt(name, value) for name, value in settings]
    done = all(result == 1 for result in results)
    logger.debug("allocator keeps large buffers: %s", done)
    return done


def forget_compiler() -> int:
    """Give back the pages of the compiler's code, which nobody needs once the kernels are there.

    They are mapped from a file and never written, so they come back by themselves if they are
    called after all.

    Returns:
        Bytes of code that need not be in memory any more; 0 elsewhere than on Linux.
    """
    if (libc := _libc()) is None:
        return 0
    libc.madvise.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int)
    done = 0
    for line in Path("/proc/self/maps").read_text().splitlines():
        addresses, rights, *others = line.split(maxsplit=5)
        # Code only: pages that were written, as those with relocations, would be lost.
        if rights == "r-xp" and Path(others[-1]).name.startswith(_COMPILER):
            first, last = (int(address, 16) for address in addresses.split("-"))
            if libc.madvise(first, last - first, _MADV_DONTNEED) == 0:
                done += last - first
    logger.debug("given back %d bytes of the compiler's code", done)
    return done


def _libc() -> Any:
    if not sys.platform.startswith("linux"):
        return None
    try:
        return ctypes.CDLL(None)
    except OSError:
        return None
