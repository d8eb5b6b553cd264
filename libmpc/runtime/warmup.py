"""Run every kernel once, so that no query waits for a compiler or a cold library."""

from __future__ import annotations

import numpy as np

from libmpc.graph.plan import (
    ConvStep,
    DenseStep,
    InputStep,
    OutputStep,
    Plan,
    ReluStep,
    SumPoolStep,
    Window,
)
from libmpc.runtime.simulation import Simulation


def warm_up() -> None:
    """Compile what is not compiled, and run a tiny network with every kind of step in it.

    Raises:
        RuntimeError: the tiny network's answer is wrong: this machine must not serve.
    """
    pool = Window(height=4, width=4, channels=1, kernel=(2, 2))
    conv = Window(height=3, width=3, channels=1, kernel=(2, 2))
    plan = Plan(
        steps=(
            InputStep(shape=(4, 4, 1)),
            SumPoolStep(source=0, window=pool),
            ConvStep(source=1, window=conv, filters=1),
            ReluStep(source=2, shape=(2, 2, 1)),
            DenseStep(source=3, inputs=4, outputs=1),
            OutputStep(source=4, shape=(1,)),
        )
    )
    one = np.uint64(1 << 16)
    weights = {
        2: (np.full((4, 1), one), np.zeros(1, np.uint64)),
        4: (np.full((4, 1), one), np.zeros(1, np.uint64)),
    }
    answer = Simulation(plan, weights).query(np.full((1, 4, 4, 1), one))
    if answer.tolist() != [[64 << 32]]:
        raise RuntimeError("the kernels give wrong results on this machine; reinstall numba")
