"""How a service's memory allocator treats large buffers."""

from __future__ import annotations

import ctypes
import logging
import sys

logger = logging.getLogger(__name__)

# From <malloc.h>.
_M_TRIM_THRESHOLD = -1
_M_TOP_PAD = -2
_M_MMAP_THRESHOLD = -3
_LARGEST_MMAP_THRESHOLD = 32 << 20
_KEEP = 128 << 20
_PAD = 16 << 20


def keep_large_buffers() -> bool:
    """Let glibc keep freed megabytes instead of giving them back to the kernel at once.

    By default every buffer of a megabyte is mapped, faulted in page by page, and unmapped again,
    which was most of the time of an exchange of 4 MB between two parties. This is for the whole
    process; call it once, at the start of a service.

    Returns:
        Whether it took effect; elsewhere than on glibc it does not.
    """
    if not sys.platform.startswith("linux"):
        return False
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):  # musl has none
        return False
    settings = (
        (_M_MMAP_THRESHOLD, _LARGEST_MMAP_THRESHOLD),
        (_M_TRIM_THRESHOLD, _KEEP),
        (_M_TOP_PAD, _PAD),
    )
    results = [mallopt(name, value) for name, value in settings]
    done = all(result == 1 for result in results)
    logger.debug("allocator keeps large buffers: %s", done)
    return done
