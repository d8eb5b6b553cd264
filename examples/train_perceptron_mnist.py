"""Train the 784-500-10 perceptron in PyTorch, carry its weights to Keras and save ``.keras``.

    python examples/train_perceptron_mnist.py --mnist DIR

The network of the old PyTorch tutorials on encrypted inference: flat images of 784 values, one
hidden layer with ReLU, logits. Needs PyTorch and Keras 3. The result ships with libmpc as
``perceptron-784-500-10.keras``; another run gives another, equally good file.
"""

from __future__ import annotations

import argparse
import os
import time
from pathlib import Path

os.environ.setdefault("KERAS_BACKEND", "torch")  # any backend would do; PyTorch is here anyway

import keras
import mnist_files
import numpy as np
import numpy.typing as npt
import torch
from keras import layers

BATCH = 128


def network() -> torch.nn.Sequential:
    """784 inputs, 500 hidden units with ReLU, 10 logits; 397,510 parameters."""
    return torch.nn.Sequential(
        torch.nn.Linear(784, 500),
        torch.nn.ReLU(),
        torch.nn.Linear(500, 10),
    )


def train(model: torch.nn.Module, images: torch.Tensor, labels: torch.Tensor, epochs: int) -> None:
    """Train in place for a fixed number of epochs."""
    optimiser = torch.optim.Adam(model.parameters(), lr=1e-3)
    steps = epochs * -(-len(images) // BATCH)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, steps)
    for epoch in range(epochs):
        total = 0.0
        for chosen in torch.randperm(len(images)).split(BATCH):
            loss = torch.nn.functional.cross_entropy(model(images[chosen]), labels[chosen])
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            schedule.step()
            total += loss.item() * len(chosen)
        print(f"epoch {epoch + 1}/{epochs}: loss {total / len(images):.4f}")


def to_keras(model: torch.nn.Sequential) -> keras.Model:
    """Return a Keras model with the same weights: PyTorch keeps (out, in), Keras (in, out)."""
    converted = keras.Sequential(
        [
            keras.Input((784,)),
            layers.Dense(500, activation="relu", name="fc1"),
            layers.Dense(10, name="fc2"),
        ],
        name="perceptron_784_500_10",
    )
    for name, source in (("fc1", model[0]), ("fc2", model[2])):
        kernel, bias = source.weight.detach().numpy(), source.bias.detach().numpy()
        converted.get_layer(name).set_weights([kernel.T, bias])
    return converted


def load_flat(folder: Path, part: str) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.int64]]:
    images, labels = mnist_files.load(folder, part)
    return images.reshape(-1, 784), labels


def main() -> None:
    parser = argparse.ArgumentParser(description="Train the 784-500-10 perceptron.")
    mnist_files.add_mnist_option(parser)
    parser.add_argument(
        "--out", type=Path, default=Path("perceptron-784-500-10.keras"), metavar="FILE"
    )
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()

    torch.manual_seed(options.seed)
    model = network()
    images, labels = load_flat(options.mnist, "train")
    started = time.monotonic()
    train(model, torch.from_numpy(images), torch.from_numpy(labels), options.epochs)
    print(f"trained in {time.monotonic() - started:.0f} s")

    images, labels = load_flat(options.mnist, "t10k")
    with torch.no_grad():
        expected = model(torch.from_numpy(images)).numpy()
    converted = to_keras(model)
    logits = np.asarray(converted.predict(images, batch_size=500, verbose=0))
    if not np.allclose(logits, expected, atol=1e-3):
        raise SystemExit("the Keras model does not compute what the PyTorch model does: not saved")
    accuracy = float((logits.argmax(axis=1) == labels).mean())
    print(f"accuracy on the 10,000 test digits: {accuracy:.2%}")
    if accuracy < 0.975:
        raise SystemExit("below 97.5 %: not saved; train for more epochs")
    converted.save(options.out)
    print(f"saved as {options.out}")


if __name__ == "__main__":
    main()
