"""Networks to be measured: the shipped ones, and some of random weights, in any size."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from libmpc import data
from libmpc.graph.builder import GraphBuilder
from libmpc.graph.floating import run_float
from libmpc.graph.loading import read_file
from libmpc.graph.model import Model, build_model
from libmpc.graph.nodes import Graph
from libmpc.graph.ranges import RangeWarning

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Network:
    """A network, as its owner has it.

    Attributes:
        title: what people call it.
        read: makes it.
    """

    title: str
    read: Callable[[], Graph]

    @cached_property
    def graph(self) -> Graph:
        return self.read()

    @cached_property
    def model(self) -> Model:
        """Encoded for inputs from 0 to 1. Random weights mean nothing: no proof is looked for."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RangeWarning)
            return build_model(self.graph, (0, 1), name="bench", time_limit=0)

    def inputs(self, count: int) -> Floats:
        """Inputs from 0 to 1, always the same: shipped digits where they fit, else random."""
        shape = self.model.input_shape
        images = data.digits()[0]
        if int(np.prod(shape)) == images[0].size:
            return np.resize(images, (count, *shape)).astype(np.float64)
        return np.random.default_rng(0).random((count, *shape))

    def plaintext(self, x: Floats) -> Floats:
        """What numpy makes of it in float64, without anything of ours."""
        return run_float(self.graph, x)


def shipped(file: str, title: str) -> Network:
    """One of the networks that libmpc ships."""
    return Network(title, lambda: read_file(data.model_path(file)))


CNN = shipped("short-conv-mnist.h5", "tutorial CNN")
PERCEPTRON = shipped("perceptron-784-500-10.keras", "784-500-10")


def resnet(blocks: int = 3, side: int = 32, seed: int = 0) -> Network:
    """Stages of 16, 32 and 64 channels with so many residual blocks each, as in He et al. 2016.

    3 blocks: ResNet-20, 41 M multiplications and 188,416 ReLUs for 32x32x3.
    """
    return Network(f"ResNet-{6 * blocks + 2}", lambda: _resnet(blocks, side, seed))


def perceptron(width: int, depth: int = 1, inputs: int = 784, seed: int = 0) -> Network:
    """``depth`` hidden layers of ``width`` units, and 10 outputs."""
    return Network(f"{inputs}-{depth}×{width}-10", lambda: _perceptron(width, depth, inputs, seed))


def _resnet(blocks: int, side: int, seed: int) -> Graph:
    rng = np.random.default_rng(seed)
    net = GraphBuilder((side, side, 3))

    def conv(layer: str, x: str, filters: int, stride: int, size: int, gain: float) -> str:
        kernel = _random(rng, (size, size, net.shapes[x][-1], filters), gain)
        # As frameworks pad for "same": with a stride of 2 more behind than before.
        spare = max(size - stride, 0)
        before, after = spare // 2, spare - spare // 2
        padding = (before, after, before, after)
        return net.conv(layer, x, kernel, strides=(stride, stride), padding=padding)

    x = net.relu("stem/relu", conv("stem", net.input, 16, 1, 3, 2.0))
    for stage, filters in enumerate((16, 32, 64)):
        for block in range(blocks):
            name = f"stage{stage}/block{block}"
            stride = 2 if stage and not block else 1
            y = net.relu(f"{name}/relu", conv(f"{name}/first", x, filters, stride, 3, 2.0))
            y = conv(f"{name}/second", y, filters, 1, 3, 0.2)
            if stride == 2:
                x = conv(f"{name}/shortcut", x, filters, stride, 1, 1.0)
            x = net.relu(f"{name}/out", net.sum_of(f"{name}/add", (y, x)))
    x = net.mean_over("pool", x, (0, 1))
    return net.graph(net.dense("dense", x, _random(rng, (net.shapes[x][-1], 10), 1.0)))


def _perceptron(width: int, depth: int, inputs: int, seed: int) -> Graph:
    rng = np.random.default_rng(seed)
    net = GraphBuilder((inputs,))
    x = net.input
    for layer in range(depth):
        weights = _random(rng, (net.shapes[x][-1], width), 2.0)
        x = net.relu(f"relu{layer}", net.dense(f"dense{layer}", x, weights))
    return net.graph(net.dense("out", x, _random(rng, (width, 10), 1.0)))


def _random(rng: np.random.Generator, shape: tuple[int, ...], gain: float) -> Floats:
    """Weights that keep values as large as they are, times the root of ``gain``."""
    fan_in = int(np.prod(shape[:-1]))
    return rng.normal(0.0, (gain / fan_in) ** 0.5, shape)
