"""Train the short convolutional network for MNIST in ordinary Keras and save it as ``.h5``.

    KERAS_BACKEND=torch python examples/train_short_conv_mnist.py --mnist DIR

Nothing in here knows about libmpc: a model is trained as always and shared afterwards. Runs with
Keras 3 on any of its backends (TensorFlow, JAX, PyTorch). The result ships with libmpc as
``short-conv-mnist.h5``; another run gives another, equally good file.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import keras
import mnist_files
from keras import layers

BATCH = 128


def network() -> keras.Model:
    """Three times convolution, average pooling and ReLU, and a dense layer; 22,158 parameters.

    Averaging shrinks values, so weights start larger (He) than by default: it learns faster.
    """
    return keras.Sequential(
        [
            keras.Input((28, 28, 1)),
            layers.Conv2D(10, (3, 3), kernel_initializer="he_normal"),
            layers.AveragePooling2D((2, 2)),
            layers.Activation("relu"),
            layers.Conv2D(32, (3, 3), kernel_initializer="he_normal"),
            layers.AveragePooling2D((2, 2)),
            layers.Activation("relu"),
            layers.Conv2D(64, (3, 3), kernel_initializer="he_normal"),
            layers.AveragePooling2D((2, 2)),
            layers.Activation("relu"),
            layers.Flatten(),
            layers.Dense(10, activation="softmax"),
        ],
        name="short_conv_mnist",
    )


def train(model: keras.Model, mnist: Path, epochs: int) -> float:
    """Train for a fixed number of epochs and return the accuracy on the test set.

    No early stopping: the weights are those of the last epoch, whatever the test set says.
    """
    images, labels = mnist_files.load(mnist, "train")
    steps = epochs * -(-len(images) // BATCH)
    model.compile(
        optimizer=keras.optimizers.Adam(keras.optimizers.schedules.CosineDecay(0.015, steps)),
        loss="sparse_categorical_crossentropy",
        metrics=["accuracy"],
    )
    model.fit(images, labels, batch_size=BATCH, epochs=epochs, verbose=2)
    test_images, test_labels = mnist_files.load(mnist, "t10k")
    scores = model.evaluate(test_images, test_labels, batch_size=500, verbose=0, return_dict=True)
    return float(scores["accuracy"])


def main() -> None:
    parser = argparse.ArgumentParser(description="Train the short convolutional network.")
    mnist_files.add_mnist_option(parser)
    parser.add_argument("--out", type=Path, default=Path("short-conv-mnist.h5"), metavar="FILE")
    parser.add_argument("--epochs", type=int, default=15)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()

    keras.utils.set_random_seed(options.seed)
    model = network()
    started = time.monotonic()
    accuracy = train(model, options.mnist, options.epochs)
    print(f"{keras.backend.backend()}: trained in {time.monotonic() - started:.0f} s")
    print(f"accuracy on the 10,000 test digits: {accuracy:.2%}")
    if accuracy < 0.98:
        raise SystemExit("below 98 %: not saved; train for more epochs")
    # The optimiser's state would triple the file, and nobody needs it for inference.
    model.save(options.out, include_optimizer=False)
    print(f"saved as {options.out}")


if __name__ == "__main__":
    main()
