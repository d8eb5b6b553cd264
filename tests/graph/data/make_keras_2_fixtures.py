"""Makes ``keras_2.*``; run it with TensorFlow 2.15, the last whose Keras is Keras 2.

    python tests/graph/data/make_keras_2_fixtures.py

What is written differently there: references between layers, models in models, functions in the
place of layers, names of layers and of weights, and hard sigmoid itself.
"""

from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np
import tensorflow as tf  # type: ignore[import-not-found]

HERE = Path(__file__).parent
keras = tf.keras
layers = keras.layers


def network() -> keras.Model:
    x = picture = keras.Input((8, 8, 3), name="picture")
    x = layers.Conv2D(4, 3, padding="same", use_bias=False, name="block1/conv")(x)
    x = layers.BatchNormalization(name="block1/bn")(x)
    y = layers.ReLU(6.0)(x)
    y = layers.DepthwiseConv2D(3, padding="same")(y)
    y = layers.LeakyReLU(0.2)(y)
    y = layers.SeparableConv2D(4, 3, padding="same", activation="hard_sigmoid")(y)
    x = x + y
    x = tf.nn.relu(x * 0.5 - 0.1)
    x = layers.PReLU(shared_axes=[1, 2])(x)
    x = layers.MaxPooling2D(2)(x)

    convolution = layers.Conv2D(4, 3, padding="same", name="c")
    steps = [convolution, layers.BatchNormalization(name="b"), layers.ReLU()]
    inner = keras.Sequential([keras.Input((4, 4, 4)), *steps], name="inner")
    x = inner(inner(x, training=False))
    first = keras.Input((4, 4, 4))
    residual = layers.Add()([layers.Conv2D(4, 1, name="c")(first), first])
    functional = keras.Model(first, residual, name="residual")
    x = functional(functional(x))
    late = keras.Sequential([layers.Conv2D(4, 1, name="l"), layers.Activation("relu")])
    x = late(x)
    x = layers.Concatenate()([late(x), x])

    x = 2.0 - x
    x = layers.Normalization(mean=[0.1] * 8, variance=[2.0] * 8)(x)
    x = layers.Conv2DTranspose(3, 3, strides=2, padding="same")(x)
    x = layers.GlobalAveragePooling2D()(x)
    return keras.Model(picture, layers.Dense(5, activation="softmax")(x))


def packed(path: Path) -> None:
    """The same zip file, compressed."""
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in members.items():
            archive.writestr(name, data)


def main() -> None:
    model, rng = network(), np.random.default_rng(3)
    for weight in model.weights:
        positive = "variance" in weight.name
        sizes = (
            rng.uniform(0.5, 1.5, weight.shape) if positive else rng.normal(0, 0.5, weight.shape)
        )
        weight.assign(sizes)
    x = rng.normal(0, 1, (5, 8, 8, 3)).astype("f4")
    np.savez_compressed(HERE / "keras_2_expected.npz", x=x, y=model.predict(x, verbose=0))
    model.save(HERE / "keras_2.h5", include_optimizer=False)
    model.save(HERE / "keras_2.keras")
    packed(HERE / "keras_2.keras")


if __name__ == "__main__":
    main()
