"""Arrays by hand, and three parties in one process, by their public names."""

from __future__ import annotations

import numpy as np
import pytest

import libmpc
from tests.client.fake import images, tiny_model


def test_encode_split_reconstruct_decode() -> None:
    x = np.array([[0.5, -1.25], [32767.0, -32768.0]])
    first, second = libmpc.split(libmpc.encode(x))
    assert np.array_equal(libmpc.decode(libmpc.reconstruct(first, second)), x)
    assert repr(first) == "AdditiveShare(shape=(2, 2))"


def test_simulation() -> None:
    model = tiny_model()
    simulation = libmpc.Simulation(model)
    assert np.array_equal(simulation.query(images()), model.reference(images()))
    assert simulation.traffic.rounds == 5
    with pytest.raises(libmpc.InputError, match="shape"):
        simulation.query(np.zeros(3))
