"""Train in PyTorch; share the model, the data and the targets; open the count and nothing else.

    python examples/private_evaluation.py                  # the perceptron that ships: no PyTorch
    python examples/private_evaluation.py --train          # trained here, on the digits that ship
    python examples/private_evaluation.py --train --mnist DIR   # on all of MNIST

Alice has a network and wants to know how good it is. Bob has digits and knows what they are. She
does not show him the network, he shows her neither digits nor labels, and in the end Bob knows one
number: how many of his digits the network gets right. Nobody learns which.

``--train`` needs PyTorch (``pip install 'libmpc[torch]'``); all else runs without. Three parties
and a gateway run as processes of this machine, as in ``three_steps.py``.
"""

from __future__ import annotations

import argparse
import importlib.util
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

import libmpc
from libmpc import data

Digits = tuple[npt.NDArray[np.float32], npt.NDArray[np.int64]]


def train(images: npt.NDArray[np.float32], labels: npt.NDArray[np.int64], epochs: int) -> Any:
    """Ordinary PyTorch: nothing in here knows that the network is going to be shared."""
    import torch

    torch.manual_seed(1)
    model = torch.nn.Sequential(
        torch.nn.Linear(784, 500), torch.nn.ReLU(), torch.nn.Linear(500, 10)
    )
    optimiser = torch.optim.Adam(model.parameters(), lr=1e-3)
    x, y = torch.from_numpy(images), torch.from_numpy(labels)
    for epoch in range(epochs):
        for chosen in torch.randperm(len(x)).split(64):
            loss = torch.nn.functional.cross_entropy(model(x[chosen]), y[chosen])
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
        print(f"epoch {epoch + 1}/{epochs}: loss {loss.item():.4f}")
    return model


def alice(training: Digits | None, epochs: int) -> libmpc.Model:
    """The owner's network: trained now, or the one that ships, which was trained in PyTorch."""
    if training is None:
        path = data.model_path("perceptron-784-500-10.keras")
        return libmpc.load_model(path, input_range=(0, 1))
    import torch

    model = train(*training, epochs)
    return libmpc.load_model(model, torch.rand(1, 784), input_range=(0, 1))


def digits(given: argparse.Namespace) -> tuple[Digits | None, Digits]:
    """What Alice trains with, if she does, and what Bob has."""
    if given.mnist is not None:
        import mnist_files

        parts = [mnist_files.load(given.mnist, part) for part in ("train", "t10k")]
        training, test = ((x.reshape(-1, 784), y) for x, y in parts)
        return (training if given.train else None), test
    images, labels = data.digits()
    images = images.reshape(-1, 784)
    if not given.train:
        return None, (images, labels)
    return (images[:128], labels[:128]), (images[128:], labels[128:])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--train", action="store_true", help="train the network here, in PyTorch")
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--mnist", type=Path, metavar="DIR", help="MNIST's four original .gz files")
    given = parser.parse_args()
    if given.train and importlib.util.find_spec("torch") is None:
        raise SystemExit(
            "PyTorch is not installed, and --train needs it: pip install 'libmpc[torch]', or leave "
            "out --train to evaluate the network that ships with libmpc"
        )
    training, (images, labels) = digits(given)
    model = alice(training, given.epochs)

    with libmpc.LocalCluster() as cluster:
        # Alice: shares of the network go to three parties. Her policy, which two of them enforce:
        # counts over 100 samples or more, and no answer to a single image, whoever asks.
        cluster.share(model, name="digits", serve=True, output="count:100")

        # Bob: shares of digits and labels. The parties compute argmax, compare, and add up on
        # shares; the sum alone is opened, and for him only.
        with libmpc.Client(cluster.deployment) as bob:
            score = bob.evaluate("digits", images, labels)
            try:
                bob.query("digits", images[:1])
            except libmpc.InputError as error:
                print("one image:", error)

    assert score.accuracy is not None
    print(f"{score.correct} of {score.samples} are right: {100 * score.accuracy:.2f} %")
    # Here one program plays both, so it can compare: not "close", but the same count.
    if score.correct != int((model.reference(images).argmax(axis=1) == labels).sum()):
        raise SystemExit("the count differs from the reference: please report this as a bug")
    print("equal to the count of the plaintext reference")


if __name__ == "__main__":
    main()
