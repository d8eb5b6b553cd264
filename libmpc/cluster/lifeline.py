"""Child processes that end when their parent ends, even by ``kill -9``.

The parent holds the writing end of a pipe and never writes; the child reads. However the parent
ends, the operating system closes the pipe, and the child sees the end of it. Works wherever pipes
do, needs no process ids, and cannot hit a process that got an old number.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import threading
from collections.abc import Callable

VARIABLE = "LIBMPC_LIFELINE_FD"
GRACE_SECONDS = 3.0


def watch(stop: Callable[[], None] | None = None, grace: float = GRACE_SECONDS) -> bool:
    """Stop this process when its parent is gone.

    Does nothing unless the parent has said in the environment which file descriptor is the
    lifeline; only the first call does anything.

    Args:
        stop: what stops this process: called on the event loop that runs now, if one does, or else
            on a thread. By default the process sends itself SIGTERM.
        grace: after so many seconds the process ends, whatever it is doing.

    Returns:
        whether this call follows a parent.
    """
    number = os.environ.pop(VARIABLE, "")
    if not number.isdecimal():
        return False
    descriptor = int(number)
    # A grandchild could not keep us alive with it, but it has no business with it either.
    os.set_inheritable(descriptor, False)
    ask = _on_this_loop(stop) if stop is not None else _terminate
    arguments = (descriptor, ask, grace)
    threading.Thread(target=_wait, args=arguments, name="lifeline", daemon=True).start()
    return True


def _wait(descriptor: int, ask: Callable[[], None], grace: float) -> None:
    try:
        while os.read(descriptor, 1):
            pass
    except OSError:
        pass
    # Should asking not help (a handler that hangs), the process ends all the same.
    ending = threading.Timer(grace, os._exit, args=(1,))
    ending.daemon = True
    ending.start()
    ask()


def _terminate() -> None:
    os.kill(os.getpid(), signal.SIGTERM)


def _on_this_loop(stop: Callable[[], None]) -> Callable[[], None]:
    try:
        loop = asyncio.get_running_loop()
    except RuntimeError:
        return stop
    return lambda: _call_on(loop, stop)


def _call_on(loop: asyncio.AbstractEventLoop, stop: Callable[[], None]) -> None:
    with contextlib.suppress(RuntimeError):  # the loop is closed: the process is ending by itself
        loop.call_soon_threadsafe(stop)
