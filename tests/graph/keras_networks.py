"""Small networks with the shapes of well-known ones, made by Keras."""

from __future__ import annotations

from typing import Any

from tests.graph.real_keras import keras, layers


def lenet() -> Any:
    return keras.Sequential(
        [
            keras.Input((16, 16, 1)),
            layers.Conv2D(4, 5, padding="same", activation="relu"),
            layers.AveragePooling2D(2),
            layers.Conv2D(6, 5, activation="relu"),
            layers.MaxPooling2D(),
            layers.Flatten(),
            layers.Dense(20, activation="relu"),
            layers.Dense(10, activation="softmax"),
        ]
    )


def vgg() -> Any:
    model = keras.Sequential([keras.Input((12, 12, 3))])
    for filters in (4, 8):
        for _ in range(2):
            model.add(layers.Conv2D(filters, 3, padding="same", use_bias=False))
            model.add(layers.BatchNormalization())
            model.add(layers.ReLU())
        model.add(layers.MaxPooling2D())
        model.add(layers.Dropout(0.3))
    model.add(layers.Flatten())
    model.add(layers.Dense(16, activation="relu"))
    model.add(layers.Dense(5))
    return model


def resnet() -> Any:
    def normal(x: Any, filters: int, size: int, stride: int = 1) -> Any:
        x = layers.Conv2D(filters, size, stride, padding="same", use_bias=False)(x)
        return layers.BatchNormalization()(x)

    first = keras.Input((12, 12, 3))
    x = layers.ReLU()(normal(layers.ZeroPadding2D(1)(first), 4, 3, 2))
    x = layers.MaxPooling2D(3, 2, padding="same")(x)
    for filters, stride in ((4, 1), (8, 2)):
        y = layers.ReLU()(normal(x, filters, 3, stride))
        y = normal(y, filters, 3)
        x = x if stride == 1 else normal(x, filters, 1, stride)
        x = layers.Activation("relu")(layers.Add()([x, y]))
    x = layers.GlobalAveragePooling2D()(x)
    return keras.Model(first, layers.Dense(5, activation="softmax")(x))


def mobilenet() -> Any:
    """Inverted residuals with ReLU6, and an excitation with hard sigmoid and hard swish."""

    def normal(x: Any) -> Any:
        return layers.BatchNormalization()(x)

    first = keras.Input((12, 12, 3))
    x = layers.Rescaling(2, -1)(first)
    x = layers.ReLU(6)(normal(layers.Conv2D(4, 3, 2, padding="same", use_bias=False)(x)))
    for filters, stride in ((4, 1), (6, 2)):
        y = layers.ReLU(6)(normal(layers.Conv2D(8, 1, use_bias=False)(x)))
        y = layers.DepthwiseConv2D(3, stride, padding="same", use_bias=False)(y)
        y = layers.Activation("hard_swish")(normal(y))
        s = layers.GlobalAveragePooling2D(keepdims=True)(y)
        s = layers.Conv2D(8, 1, activation="hard_sigmoid")(
            layers.Conv2D(2, 1, activation="relu")(s)
        )
        y = normal(layers.Conv2D(filters, 1, use_bias=False)(layers.Multiply()([y, s])))
        x = layers.Add()([x, y]) if stride == 1 else y
    x = layers.SeparableConv2D(6, 3, dilation_rate=2, padding="same", activation="relu6")(x)
    x = layers.GlobalAveragePooling2D()(x)
    return keras.Model(first, layers.Dense(5)(x))


NETWORKS = {"lenet": lenet, "vgg": vgg, "resnet": resnet, "mobilenet": mobilenet}
