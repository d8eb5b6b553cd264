"""Where kernels run."""

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from libmpc.protocol import Compute


def where() -> str:
    return threading.current_thread().name


def test_short_here_and_long_in_the_executor() -> None:
    with ThreadPoolExecutor(1, thread_name_prefix="kernels") as pool:
        compute = Compute(pool, threshold=1e-3)
        assert asyncio.run(compute.run(0.9e-3, where)) == where()
        assert asyncio.run(compute.run(1.1e-3, where)).startswith("kernels")


@pytest.mark.parametrize("seconds", [0.0, 1.0])
def test_errors_come_through(seconds: float) -> None:
    def fail() -> None:
        raise KeyError

    with pytest.raises(KeyError):
        asyncio.run(Compute().run(seconds, fail))
