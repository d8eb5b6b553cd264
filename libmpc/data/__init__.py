"""What ships with libmpc for the demo, the examples and the tests.

``short-conv-mnist.h5``: three convolutions with average pooling and ReLU, a dense layer; input
(28, 28, 1). ``perceptron-784-500-10.keras``: input (784,). Both want pixels from 0 to 1 and were
trained by the scripts in ``examples/``. ``digits.npy`` and ``labels.npy``: the first 256 digits
of MNIST's test set (CC BY-SA 3.0, see ``MNIST-NOTICE.md``). ``python -m libmpc.data FOLDER``
copies all of them to a folder.
"""

from __future__ import annotations

from importlib import resources
from pathlib import Path

import numpy as np
import numpy.typing as npt

from libmpc.errors import ModelError

MODELS = ("short-conv-mnist.h5", "perceptron-784-500-10.keras")
FILES = (*MODELS, "digits.npy", "labels.npy", "MNIST-NOTICE.md")


def model_path(name: str) -> Path:
    """Return where the shipped model file of that name is.

    Raises:
        ModelError: no such model is shipped; the message lists those that are.
    """
    if name not in MODELS:
        raise ModelError(f"no model {name!r} ships with libmpc; there are {', '.join(MODELS)}")
    return folder() / name


def digits() -> tuple[npt.NDArray[np.float32], npt.NDArray[np.int64]]:
    """Return 256 handwritten digits that the shipped networks were not trained on.

    Returns:
        Images, float32 of shape (256, 28, 28, 1), each value k/255 for a whole k from 0 to 255;
        labels, int64 of shape (256,), from 0 to 9.
    """
    images: npt.NDArray[np.float32] = np.load(folder() / "digits.npy", allow_pickle=False)
    labels: npt.NDArray[np.int64] = np.load(folder() / "labels.npy", allow_pickle=False)
    return images, labels


def folder() -> Path:
    """Return the folder that has ``FILES``; to read from, not to write to."""
    return Path(str(resources.files(__name__)))
