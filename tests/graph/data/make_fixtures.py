"""Makes the model files in this folder; run it where Keras 3 is installed.

    KERAS_BACKEND=torch python tests/graph/data/make_fixtures.py

``expected.npz`` has, for each network, some inputs and what Keras itself answers.
"""

from __future__ import annotations

from pathlib import Path

import keras  # type: ignore[import-not-found]
import numpy as np

HERE = Path(__file__).parent


def sequential() -> keras.Model:
    return keras.Sequential(
        [
            keras.Input((8, 8, 1)),
            keras.layers.Conv2D(2, 3),
            keras.layers.AveragePooling2D(2),
            keras.layers.Activation("relu"),
            keras.layers.Dropout(0.25),
            keras.layers.Flatten(),
            keras.layers.Dense(3, activation="softmax"),
        ]
    )


def functional() -> keras.Model:
    """A chain whose layers' names disagree with the order in which Keras counts classes."""
    x = inputs = keras.Input((6, 5, 2), name="picture")
    x = keras.layers.Conv2D(3, (3, 2), strides=2, padding="same", activation="relu")(x)
    x = keras.layers.AveragePooling2D((1, 2), strides=1)(x)
    x = keras.layers.Flatten()(x)
    x = keras.layers.Dense(4, use_bias=False, name="dense_1")(x)
    x = keras.layers.ReLU()(x)
    x = keras.layers.Dense(4, name="dense")(x)
    return keras.Model(inputs, x)


def main() -> None:
    expected = {}
    for build in (sequential, functional):
        keras.utils.clear_session()
        keras.utils.set_random_seed(7)
        model = build()
        rng = np.random.default_rng(3)
        model.set_weights([rng.normal(0, 0.4, w.shape) for w in model.get_weights()])
        x = rng.random((5, *model.input_shape[1:]))
        expected[f"{build.__name__}_x"] = x
        expected[f"{build.__name__}_y"] = np.asarray(model.predict(x, verbose=0))
        assert np.ptp(expected[f"{build.__name__}_y"], axis=0).min() > 0.01, "dead ReLUs"
        for ending in ("h5", "keras"):
            model.save(HERE / f"{build.__name__}.{ending}")
    np.savez_compressed(HERE / "expected.npz", **expected)  # type: ignore[arg-type]


if __name__ == "__main__":
    main()
