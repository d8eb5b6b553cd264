"""Test instrumentation, loaded by Python itself: writes every message that this process receives.

Put this folder on PYTHONPATH and name a folder in LIBMPC_TEST_TAP. It is no part of the product,
which has no code that could show a frame.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any


def _install(folder: Path) -> None:
    try:
        from libmpc.link.session import Link
    except ImportError:
        return  # some other Python program

    start = Link.start

    def tapped(self: Any, handler: Callable[[Any], None], *rest: Any, **named: Any) -> None:
        file = (folder / f"{self._local}-from-{self.peer}-{os.getpid()}.bin").open("ab")

        def take(message: Any) -> None:
            file.write(bytes([message.kind]) + bytes(message.payload))
            file.flush()
            handler(message)

        start(self, take, *rest, **named)

    Link.start = tapped  # type: ignore[method-assign]


if "LIBMPC_TEST_TAP" in os.environ:
    _install(Path(os.environ["LIBMPC_TEST_TAP"]))
