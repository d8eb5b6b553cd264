"""Arrays by hand: fixed point, secret shares, and three parties in one process.

    python examples/by_hand.py

No sockets, no files: what the services do, small enough to step through in a notebook.
"""

from __future__ import annotations

import numpy as np

import libmpc
from libmpc import data


def fixed_point_and_shares() -> None:
    x = np.array([0.5, -1.25, 3.0])

    # Fixed point: round(x * 2^16) as a whole number modulo 2^48; negative ones wrap around.
    encoded = libmpc.encode(x)
    print("x:            ", x)
    print("encoded:      ", encoded)

    # Two shares: one is random, the other is what is missing. Either alone is pure noise. In a
    # log a share shows its shape and nothing else; its numbers have to be asked for.
    first, second = libmpc.split(encoded)
    print("a share:      ", first)
    print("party 0 holds:", first.values)
    print("party 1 holds:", second.values)

    back = libmpc.decode(libmpc.reconstruct(first, second), scale_bits=16)
    print("reconstructed:", back)
    assert np.array_equal(back, x)


def three_parties_in_one_process() -> None:
    images, labels = data.digits()
    images, labels = images[:8], labels[:8]

    model = libmpc.load_model(data.model_path("short-conv-mnist.h5"), input_range=(0, 1))
    simulation = libmpc.Simulation(model)  # shares the weights among parties 0, 1 and 2
    logits = simulation.query(images)

    print("predicted:    ", *logits.argmax(axis=1))
    print("labels:       ", *labels)
    assert np.array_equal(logits, model.reference(images))  # the same bits, not just close
    print("traffic:      ", simulation.traffic)


if __name__ == "__main__":
    fixed_point_and_shares()
    three_parties_in_one_process()
