"""LeNet-, VGG-, ResNet- and MobileNet-shaped networks in ordinary PyTorch, saved as ``.onnx``.

    python examples/networks_torch.py lenet
    libmpc explain lenet.onnx
    libmpc check lenet.onnx lenet-inputs.npy --input-range 0 1
    libmpc push lenet.onnx --name lenet --input-range 0 1 --serve
    libmpc query lenet lenet-inputs.npy --out logits.npy

``lenet-outputs.npy`` has what PyTorch itself answers. Nothing in here knows about libmpc. In
Python a module needs no file: ``libmpc.load_model(module, example_input, input_range=(0, 1))``.
LeNet is trained, on the 256 digits that ship with libmpc or with ``--mnist DIR`` on all; the
others have random weights, and batch norms that have seen a few random images. Needs torch, onnx
and onnxscript: ``pip install 'libmpc[torch]'``.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

import mnist_files
import numpy as np
import torch
from torch import Tensor, nn


def lenet() -> nn.Module:
    """LeNet-5 of 1998 with ReLU and max pooling, for 28×28 digits."""
    return nn.Sequential(
        nn.Conv2d(1, 6, 5, padding=2),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(6, 16, 5),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(400, 120),
        nn.ReLU(),
        nn.Linear(120, 84),
        nn.ReLU(),
        nn.Linear(84, 10),
    )


def conv(inputs: int, outputs: int, size: int, stride: int = 1, **options: int) -> nn.Sequential:
    """Convolution without bias and batch norm; the size stays, but for the stride."""
    padding = (size // 2) * options.get("dilation", 1)
    layer = nn.Conv2d(inputs, outputs, size, stride, padding, bias=False, **options)
    return nn.Sequential(layer, nn.BatchNorm2d(outputs))


def vgg() -> nn.Module:
    """Pairs of 3×3 convolutions, max pooling, three dense layers with dropout; for 32×32×3."""
    layers: list[nn.Module] = []
    for inputs, outputs in ((3, 32), (32, 64), (64, 128)):
        layers += [conv(inputs, outputs, 3), nn.ReLU(), conv(outputs, outputs, 3), nn.ReLU()]
        layers.append(nn.MaxPool2d(2))
    layers += [nn.Flatten(), nn.Linear(2048, 256), nn.ReLU(), nn.Dropout(0.5)]
    return nn.Sequential(*layers, nn.Linear(256, 256), nn.ReLU(), nn.Linear(256, 10))


class Residual(nn.Module):
    """ReLU of a branch plus what it branched from, brought to its shape where need be."""

    def __init__(self, branch: nn.Module, shortcut: nn.Module | None = None) -> None:
        super().__init__()
        self.branch = branch
        self.shortcut = shortcut or nn.Identity()
        self.relu = nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        return self.relu(self.branch(x) + self.shortcut(x))


def resnet20() -> nn.Module:
    """The ResNet of CIFAR-10: 19 convolutions in basic blocks, global average pooling."""
    layers: list[nn.Module] = [conv(3, 16, 3), nn.ReLU()]
    inputs = 16
    for width in (16, 32, 64):
        for _ in range(3):
            stride = width // inputs
            branch = nn.Sequential(conv(inputs, width, 3, stride), nn.ReLU(), conv(width, width, 3))
            layers.append(Residual(branch, conv(inputs, width, 1, stride) if stride > 1 else None))
            inputs = width
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(64, 10))


def resnet50() -> nn.Module:
    """ResNet-50 for 224×224×3: 4.1 billion multiplications, 25.6 million weights."""
    layers: list[nn.Module] = [conv(3, 64, 7, 2), nn.ReLU(), nn.MaxPool2d(3, 2, padding=1)]
    inputs = 64
    for width, blocks in ((64, 3), (128, 4), (256, 6), (512, 3)):
        for block in range(blocks):
            stride = 2 if block == 0 and width > 64 else 1
            branch = nn.Sequential(
                conv(inputs, width, 1),
                nn.ReLU(),
                conv(width, width, 3, stride),
                nn.ReLU(),
                conv(width, 4 * width, 1),
            )
            shortcut = conv(inputs, 4 * width, 1, stride) if block == 0 else None
            layers.append(Residual(branch, shortcut))
            inputs = 4 * width
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(2048, 1000))


def mobilenet() -> nn.Module:
    """MobileNet for 64×64×3: depthwise and 1×1 convolutions, ReLU6, the last ones dilated."""
    layers: list[nn.Module] = [conv(3, 16, 3, 2), nn.ReLU6()]
    plan = ((16, 32, 1, 1), (32, 64, 2, 1), (64, 128, 2, 1), (128, 128, 1, 2), (128, 256, 1, 2))
    for inputs, outputs, stride, dilation in plan:
        layers += [conv(inputs, inputs, 3, stride, groups=inputs, dilation=dilation), nn.ReLU6()]
        layers += [conv(inputs, outputs, 1), nn.ReLU6()]
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(256, 10))


NETWORKS: dict[str, tuple[Callable[[], nn.Module], tuple[int, int, int]]] = {
    "lenet": (lenet, (1, 28, 28)),
    "vgg": (vgg, (3, 32, 32)),
    "resnet20": (resnet20, (3, 32, 32)),
    "resnet50": (resnet50, (3, 224, 224)),
    "mobilenet": (mobilenet, (3, 64, 64)),
}


def make(name: str) -> nn.Module:
    """A network with random weights, whose batch norms know the sizes of their inputs."""
    build, shape = NETWORKS[name]
    torch.manual_seed(1)
    network = build()
    for part in network.modules():
        if isinstance(part, nn.BatchNorm2d):
            part.momentum = None  # plain averages
    with torch.no_grad():
        for _ in range(3):
            network(torch.rand(8, *shape))
    return network


def train(network: nn.Module, images: Tensor, labels: Tensor, steps: int = 200) -> None:
    """Train in place; the images and their order are random."""
    optimiser = torch.optim.Adam(network.parameters(), lr=1e-3)
    for _ in range(steps):
        chosen = torch.randint(len(images), (64,))
        loss = nn.functional.cross_entropy(network(images[chosen]), labels[chosen])
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    with torch.no_grad():
        right = network.eval()(images[:5000]).argmax(1) == labels[:5000]
    print(f"accuracy on digits it was trained on: {right.float().mean():.1%}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("name", choices=NETWORKS)
    parser.add_argument("--out", type=Path, metavar="FILE", help="by default NAME.onnx")
    parser.add_argument("--mnist", type=Path, metavar="DIR", help="MNIST's files, for lenet")
    options = parser.parse_args()
    out = options.out or Path(f"{options.name}.onnx")

    network = make(options.name)
    inputs = torch.rand(8, *NETWORKS[options.name][1])
    if options.name == "lenet":
        digits, labels = mnist_files.digits(options.mnist)
        images = torch.from_numpy(digits).permute(0, 3, 1, 2)
        train(network, images, torch.from_numpy(labels))
        inputs = images[:8]
    torch.onnx.export(network.eval(), (inputs[:1],), out, external_data=False, verbose=False)
    with torch.no_grad():
        outputs = network(inputs)
    np.save(out.with_name(f"{out.stem}-inputs.npy"), inputs.numpy())
    np.save(out.with_name(f"{out.stem}-outputs.npy"), outputs.numpy())
    print(f"saved as {out}, with inputs to try and PyTorch's answers to them beside it")


if __name__ == "__main__":
    main()
