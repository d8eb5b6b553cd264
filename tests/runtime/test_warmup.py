"""No kernel is left for the first query."""

from __future__ import annotations

import importlib
import pkgutil
import sys
from typing import Any

import pytest
from numba.core.dispatcher import Dispatcher
from numba.core.types import none

import libmpc.protocol
import libmpc.ring
from libmpc.graph.plan import Step
from libmpc.runtime import warm_up, warmup
from libmpc.runtime.warmup import every_step, every_tail


def kernels() -> dict[int, tuple[str, Dispatcher]]:
    """What Python calls: kernels that fill an array. Those with a result are parts of others."""
    found = {}
    for package in (libmpc.ring, libmpc.protocol):
        for module in pkgutil.iter_modules(package.__path__, f"{package.__name__}."):
            loaded = importlib.import_module(module.name)
            for name in dir(loaded):
                value = getattr(loaded, name)
                # What is compiled with its caller has no types of its own, so more may be added.
                if (
                    isinstance(value, Dispatcher)
                    and not value._can_compile
                    and any(kind.return_type == none for kind in value.nopython_signatures)
                ):
                    found[id(value)] = (f"{value.py_func.__module__}.{name}", value)
    return found


def test_every_kernel_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    waiting = {name for name, _ in kernels().values()}
    assert "libmpc.ring.linear.matmul_add" in waiting

    def counted(name: str, kernel: Dispatcher) -> Any:
        def call(*args: Any) -> Any:
            waiting.discard(name)
            return kernel(*args)

        return call

    wrapped = {key: counted(*pair) for key, pair in kernels().items()}
    for module in [m for n, m in sys.modules.items() if n.startswith("libmpc.")]:
        for name, value in list(vars(module).items()):
            if id(value) in wrapped:
                monkeypatch.setattr(module, name, wrapped[id(value)])
    warm_up()
    assert not waiting


def test_every_step_runs() -> None:
    ops = {step.op for plan in (every_step(), *every_tail()) for step in plan.steps}
    assert ops == {step.model_fields["op"].default for step in Step.__args__}


def test_a_machine_that_computes_wrongly_does_not_serve(monkeypatch: pytest.MonkeyPatch) -> None:
    correct = warmup.run_reference
    monkeypatch.setattr(warmup, "run_reference", lambda *args: correct(*args) + 1)
    with pytest.raises(RuntimeError, match="numba"):
        warm_up()
