"""Three parties in this process, without sockets: to see how it works, and for notebooks."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from libmpc import fixedpoint
from libmpc.graph.model import Model
from libmpc.runtime.channel import Traffic
from libmpc.runtime.simulation import Simulation as _Simulation


class Simulation:
    """Shares a model among three parties in this process and answers queries.

    It shows the protocol, and protects nothing: one process sees everything.

    Args:
        model: from ``load_model``.
    """

    def __init__(self, model: Model) -> None:
        self._model = model
        self._simulation = _Simulation(model.plan, model.weights)

    @property
    def traffic(self) -> Traffic:
        """Rounds and bytes of all queries so far, counted in the channel."""
        return self._simulation.traffic

    def query(self, x: object) -> NDArray[np.float64]:
        """The logits (batch, *output_shape) for x (batch, *input_shape), computed on shares.

        Raises:
            InputError: ``x`` does not fit.
        """
        y = self._simulation.query(self._model.check_inputs(x))
        return fixedpoint.decode(y, fixedpoint.PRODUCT_BITS)

    def __repr__(self) -> str:
        return f"Simulation({self._model!r})"
