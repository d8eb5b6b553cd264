"""How a service keeps and gives back memory."""

from __future__ import annotations

import os
import sys

import numba

from libmpc.runtime import warm_up
from services.common.memory import forget_compiler, keep_large_buffers


def test_large_buffers_are_kept() -> None:
    assert keep_large_buffers() is (
        sys.platform == "linux" and bool(os.confstr("CS_GNU_LIBC_VERSION"))
    )


def test_the_compiler_comes_back_when_it_is_called() -> None:
    warm_up()
    assert (forget_compiler() > 1 << 20) is (sys.platform == "linux")
    assert numba.njit([(numba.uint64,)])(lambda x: x * x)(3) == 9
