"""The threads in which a party deals and prepares bundles."""

from __future__ import annotations

import os
import sys
from concurrent.futures import Executor, ThreadPoolExecutor

NICE = 10


def make_executor(index: int, workers: int) -> Executor:
    """The threads of party ``index``."""
    # Evaluators prepare at full priority: a thread that waits for the processor may hold the
    # interpreter's lock, which the queries of the same process need.
    return ThreadPoolExecutor(workers, "libmpc-deal", give_way if index == 2 else None)


def give_way() -> None:
    """Let whatever else wants the processor go before this thread.

    The dealer serves no query: on a machine of its own it is as fast as ever, beside others it
    uses what they leave, which is everything once they wait for it.
    """
    if sys.platform == "linux":  # elsewhere it would be the whole process
        os.nice(NICE)
