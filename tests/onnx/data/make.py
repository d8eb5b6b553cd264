"""Makes the files beside it: small networks from both of PyTorch's exporters and from Keras.

    KERAS_BACKEND=torch python tests/onnx/data/make.py

Needs torch, onnx, onnxscript and keras; the tests need none of them but onnx. For each network
there is an .onnx file, and in answers.npz inputs (``<name>/x``) and what the framework made of
them (``<name>/y``), without softmax.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import keras
import numpy as np
import onnx
import torch
from torch import nn
from torch.nn import functional

HERE = Path(__file__).parent


class Residual(nn.Module):
    """Batch norm, max pooling, residual sums, dilation, an unfolded mean."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 6, 3, stride=2, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(6)
        self.conv1 = nn.Conv2d(6, 6, 3, padding=2, dilation=2)
        self.norm1 = nn.BatchNorm2d(6)
        self.conv2 = nn.Conv2d(6, 8, 3, stride=2, padding=1)
        self.short = nn.Conv2d(6, 8, 1, stride=2)
        self.pool = nn.MaxPool2d(3, 2, 1)
        self.fc = nn.Linear(8, 5)

    def forward(self, x: Any) -> Any:
        x = self.pool(functional.relu(self.norm(self.stem(x))))
        y = functional.relu(self.norm1(self.conv1(x)) + x)
        y = functional.relu(self.conv2(y) + self.short(y))
        return self.fc(y.mean((2, 3)))


class Mobile(nn.Module):
    """Depthwise convolutions, ReLU6, hard swish, and a squeeze and excitation."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3, 2, 1)
        self.depth = nn.Conv2d(8, 8, 3, 1, 1, groups=8)
        self.point = nn.Conv2d(8, 12, 1)
        self.squeeze = nn.Conv2d(12, 4, 1)
        self.excite = nn.Conv2d(4, 12, 1)
        self.out = nn.Linear(12, 4)

    def forward(self, x: Any) -> Any:
        x = functional.hardswish(self.stem(x))
        x = self.point(functional.relu6(self.depth(x)))
        scale = functional.adaptive_avg_pool2d(x, 1)
        scale = functional.hardsigmoid(self.excite(functional.relu(self.squeeze(scale))))
        x = functional.adaptive_avg_pool2d(x * scale, 1)
        return functional.softmax(self.out(torch.flatten(x, 1)), dim=1)


class Mixed(nn.Module):
    """Branches, slices, transposed convolution, padding, shapes that are computed."""

    def __init__(self) -> None:
        super().__init__()
        self.left = nn.Conv2d(2, 4, 3, padding=1, groups=2)
        self.right = nn.Conv2d(2, 4, (1, 3), padding=(0, 1))
        self.slope = nn.PReLU(4)
        self.up = nn.ConvTranspose2d(8, 3, 3, stride=2, padding=1, output_padding=1)
        self.out = nn.Linear(3 * 7 * 7, 6)

    def forward(self, x: Any) -> Any:
        a, b = self.slope(self.left(x)), functional.leaky_relu(self.right(x), 0.2)
        x = self.up(torch.cat([a, b], 1))
        x = functional.avg_pool2d(functional.pad(x, (1, 0, 1, 0), value=0.5), 3, 2, 1)
        x = torch.clamp(x[:, :, :7, 1:8], -0.5, 0.75)
        p, q, r = x.chunk(3, dim=1)
        x = torch.cat([torch.maximum(p, q), torch.minimum(q, r), torch.abs(p - r)], 1)
        return functional.log_softmax(self.out(x.reshape(x.size(0), -1)), dim=-1)


class Line(nn.Module):
    """One-dimensional convolutions and poolings."""

    def __init__(self) -> None:
        super().__init__()
        self.one = nn.Conv1d(3, 6, 5, stride=2, padding=2)
        self.two = nn.Conv1d(6, 6, 3, padding=2, dilation=2)
        self.norm = nn.BatchNorm1d(6)
        self.out = nn.Linear(24, 3)

    def forward(self, x: Any) -> Any:
        x = functional.max_pool1d(functional.relu(self.one(x)), 2)
        x = functional.avg_pool1d(functional.relu(self.norm(self.two(x))), 2, ceil_mode=True)
        return self.out(x.flatten(1))


NETWORKS: dict[str, tuple[type[nn.Module], tuple[int, ...]]] = {
    "residual": (Residual, (3, 16, 16)),
    "mobile": (Mobile, (3, 12, 12)),
    "mixed": (Mixed, (2, 7, 8)),
    "line": (Line, (3, 30)),
}


def seasoned(module: nn.Module, shape: tuple[int, ...]) -> nn.Module:
    """With statistics in its batch norms that are not 0 and 1."""
    module.train()
    for _ in range(3):
        module(torch.randn(8, *shape) * 2 + 0.5)
    return module.eval()


def from_torch(answers: dict[str, Any]) -> None:
    """Each network by each exporter; the batch is of any size."""
    for name, (kind, shape) in NETWORKS.items():
        torch.manual_seed(len(name))
        module = seasoned(kind(), shape)
        x = torch.rand(3, *shape)
        with torch.no_grad():
            y = module(x).numpy()
        for exporter in ("script", "dynamo"):
            path = str(HERE / f"torch_{exporter}_{name}.onnx")
            example = (torch.rand(2, *shape),)
            if exporter == "dynamo":
                batch = ({0: torch.export.Dim("batch")},)
                program = torch.onnx.export(
                    module, example, dynamo=True, dynamic_shapes=batch, verbose=False
                )
                program.save(path, include_initializers=True)
            else:
                axes = {"x": {0: "batch"}, "y": {0: "batch"}}
                torch.onnx.export(
                    module,
                    example,
                    path,
                    dynamo=False,
                    input_names=["x"],
                    output_names=["y"],
                    dynamic_axes=axes,
                    opset_version=17,
                )
            answers[f"torch_{exporter}_{name}/x"] = x.numpy()
            answers[f"torch_{exporter}_{name}/y"] = y


def from_keras(answers: dict[str, Any]) -> None:
    """A functional network with channels last, as Keras exports it."""
    layers = keras.layers
    keras.utils.set_random_seed(3)
    image = keras.Input((12, 12, 3))
    x = layers.Conv2D(6, 3, padding="same", strides=2)(image)
    x = layers.ReLU()(layers.BatchNormalization()(x))
    y = layers.DepthwiseConv2D(3, padding="same")(x)
    x = layers.Add()([x, layers.LeakyReLU(0.1)(y)])
    x = layers.MaxPooling2D(2)(x)
    x = layers.Concatenate()([x, layers.AveragePooling2D(2, padding="same")(y)])
    x = layers.GlobalAveragePooling2D()(layers.ZeroPadding2D(1)(x))
    model = keras.Model(image, layers.Dense(4, activation="softmax")(x))
    model.compile("sgd", "mse")
    rng = np.random.default_rng(5)
    model.fit(rng.random((32, 12, 12, 3)), rng.random((32, 4)), verbose=0)
    path = HERE / "keras_functional.onnx"
    signature = [keras.InputSpec(shape=(None, 12, 12, 3), dtype="float32")]
    model.export(path, format="onnx", verbose=False, input_signature=signature)
    answers["keras_functional/x"] = rng.random((3, 12, 12, 3)).astype(np.float32)
    answers["keras_functional/y"] = model.predict(answers["keras_functional/x"], verbose=0)


def strip(path: Path) -> None:
    """Without the exporters' notes, which name files of this machine."""
    model = onnx.load(path)
    del model.metadata_props[:]
    model.doc_string = model.graph.doc_string = ""
    parts = [model.graph, *model.graph.node, *model.graph.initializer, *model.graph.value_info]
    for part in (*parts, *model.graph.input, *model.graph.output, *model.functions):
        part.doc_string = ""
        del part.metadata_props[:]
    onnx.save(model, path)


def main() -> int:
    answers: dict[str, Any] = {}
    from_torch(answers)
    from_keras(answers)
    np.savez_compressed(HERE / "answers.npz", **answers)
    for path in HERE.glob("*.onnx"):
        strip(path)
    for path in sorted(HERE.iterdir()):
        sys.stdout.write(f"{path.name}: {path.stat().st_size} bytes\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
