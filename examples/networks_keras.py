"""LeNet-, VGG-, ResNet- and MobileNet-shaped networks in ordinary Keras, saved as ``.keras``.

    KERAS_BACKEND=torch python examples/networks_keras.py resnet20
    libmpc explain resnet20.keras
    libmpc check resnet20.keras resnet20-inputs.npy --input-range 0 1
    libmpc push resnet20.keras --name resnet20 --input-range 0 1 --serve
    libmpc query resnet20 resnet20-inputs.npy --out logits.npy

``resnet20-outputs.npy`` has what Keras itself answers. Nothing in here knows about libmpc. Runs
with Keras 3 on any of its backends. LeNet is trained, on the 256 digits that ship with libmpc or
with ``--mnist DIR`` on all; the others have random weights, and batch norms that have seen a few
random images. ``resnet50`` and ``mobilenet`` are those of ``keras.applications``, for 224×224×3.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

import keras
import mnist_files
import numpy as np
from keras import layers

Tensor = keras.KerasTensor


def lenet() -> keras.Model:
    """LeNet-5 of 1998 with ReLU and max pooling, for 28×28 digits."""
    return keras.Sequential(
        [
            keras.Input((28, 28, 1)),
            layers.Conv2D(6, 5, padding="same", activation="relu"),
            layers.MaxPooling2D(),
            layers.Conv2D(16, 5, activation="relu"),
            layers.MaxPooling2D(),
            layers.Flatten(),
            layers.Dense(120, activation="relu"),
            layers.Dense(84, activation="relu"),
            layers.Dense(10),
        ]
    )


def conv(x: Tensor, filters: int, size: int, stride: int = 1) -> Tensor:
    """Convolution without bias and batch norm; the size stays, but for the stride."""
    x = layers.Conv2D(filters, size, stride, padding="same", use_bias=False)(x)
    return layers.BatchNormalization()(x)


def vgg() -> keras.Model:
    """Pairs of 3×3 convolutions, max pooling, three dense layers with dropout; for 32×32×3."""
    inputs = x = keras.Input((32, 32, 3))
    for filters in (32, 64, 128):
        for _ in range(2):
            x = layers.ReLU()(conv(x, filters, 3))
        x = layers.MaxPooling2D()(x)
    x = layers.Flatten()(x)
    x = layers.Dropout(0.5)(layers.Dense(256, activation="relu")(x))
    x = layers.Dense(256, activation="relu")(x)
    return keras.Model(inputs, layers.Dense(10)(x))


def resnet20() -> keras.Model:
    """The ResNet of CIFAR-10: 19 convolutions in basic blocks, global average pooling."""
    inputs = keras.Input((32, 32, 3))
    x = layers.ReLU()(conv(inputs, 16, 3))
    for filters in (16, 32, 64):
        for _ in range(3):
            stride = filters // x.shape[-1]
            branch = conv(layers.ReLU()(conv(x, filters, 3, stride)), filters, 3)
            shortcut = conv(x, filters, 1, stride) if stride > 1 else x
            x = layers.ReLU()(layers.Add()([branch, shortcut]))
    x = layers.GlobalAveragePooling2D()(x)
    return keras.Model(inputs, layers.Dense(10)(x))


def resnet50() -> keras.Model:
    """ResNet-50 for 224×224×3: 4.1 billion multiplications, 25.6 million weights."""
    return keras.applications.ResNet50(weights=None, classifier_activation=None)


def mobilenet() -> keras.Model:
    """MobileNetV2 for 224×224×3: depthwise and 1×1 convolutions, ReLU6, residual adds."""
    return keras.applications.MobileNetV2(weights=None, classifier_activation=None)


NETWORKS: dict[str, Callable[[], keras.Model]] = {
    "lenet": lenet,
    "vgg": vgg,
    "resnet20": resnet20,
    "resnet50": resnet50,
    "mobilenet": mobilenet,
}


def make(name: str) -> keras.Model:
    """A network with random weights, whose batch norms know the sizes of their inputs."""
    keras.utils.set_random_seed(1)
    network = NETWORKS[name]()
    norms = [x for x in network.layers if isinstance(x, layers.BatchNormalization)]
    for norm in norms:
        norm.momentum = 0.0  # the last batch counts
    if norms:
        network(pictures(network), training=True)
    for norm in norms:
        norm.momentum = 0.99
    return network


def pictures(network: keras.Model) -> np.ndarray:
    """Eight inputs of random values."""
    random = np.random.default_rng(1)
    return random.uniform(0, 1, (8, *network.input_shape[1:])).astype(np.float32)


def train(network: keras.Model, images: np.ndarray, labels: np.ndarray, steps: int = 200) -> None:
    """Train in place."""
    network.compile(
        optimizer=keras.optimizers.Adam(1e-3),
        loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=["accuracy"],
    )
    epochs = max(1, steps * 64 // len(images))
    history = network.fit(images, labels, batch_size=64, epochs=epochs, verbose=0)
    print(f"accuracy on digits it was trained on: {history.history['accuracy'][-1]:.1%}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("name", choices=NETWORKS)
    parser.add_argument("--out", type=Path, metavar="FILE", help="by default NAME.keras")
    parser.add_argument("--mnist", type=Path, metavar="DIR", help="MNIST's files, for lenet")
    options = parser.parse_args()
    out = options.out or Path(f"{options.name}.keras")

    network = make(options.name)
    inputs = pictures(network)
    if options.name == "lenet":
        images, labels = mnist_files.digits(options.mnist)
        train(network, images, labels)
        inputs = images[:8]
    network.save(out)
    outputs = keras.ops.convert_to_numpy(network(inputs, training=False))
    np.save(out.with_name(f"{out.stem}-inputs.npy"), inputs)
    np.save(out.with_name(f"{out.stem}-outputs.npy"), outputs)
    print(f"saved as {out}, with inputs to try and Keras' answers to them beside it")


if __name__ == "__main__":
    main()
