"""The plaintext fixed-point reference: what inference on shares returns, bit for bit.

Naive on purpose: plain numpy modulo 2^48, no kernel, no protocol, no share. Everything
is exact as long as every value that is truncated or compared lies in the range that its step
names, and every output in [-2^47, 2^47); range analysis sees to that before a model is accepted.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from libmpc.errors import InputError
from libmpc.graph import moves
from libmpc.graph.plan import (
    BiasStep,
    ConvStep,
    DenseStep,
    InputStep,
    LiftStep,
    OutputStep,
    Plan,
    PositiveStep,
    ProductStep,
    RectifyStep,
    ReluStep,
    ScaleStep,
    Step,
    TailStep,
    TruncateStep,
)
from libmpc.graph.reference_tail import run_tail

Ring = NDArray[np.uint64]
EncodedWeights = Mapping[int, tuple[Ring, Ring]]

_MASK = np.uint64(2**48 - 1)
_ONE = np.uint64(2**16)
_EXACT_DEPTH = 1 << 20
_CHUNK = 1 << 22  # values of one step that are in memory at a time, as samples allow


def run_reference(plan: Plan, weights: EncodedWeights, x: Ring, labels: Ring | None = None) -> Ring:
    """Run a plan on plain ring elements.

    Args:
        plan: the steps.
        weights: by linear step: W at scale 2^16, b at scale 2^32; the W of a bias step is empty.
        x: (batch, *input_shape) at scale 2^16, modulo 2^48.
        labels: bits of the labels, (batch, label_width), lowest first, for a plan that takes them.

    Returns:
        (batch, *output_shape) at scale 2^32, modulo 2^48; of a plan that ends in bits, these.

    Raises:
        InputError: ``x`` has another shape, or labels are missing.
    """
    if x.ndim < 1 or x.shape[1:] != plan.input_shape:
        raise InputError(
            f"the input has shape {x.shape}, the plan takes (batch, *{plan.input_shape})"
        )
    largest = max(step.size for step in plan.steps)
    samples = max(1, _CHUNK // largest)
    out = np.empty((len(x), *plan.output_shape), np.uint64)
    for start in range(0, len(x), samples):
        part = x[start : start + samples]
        given = None if labels is None else labels[start : start + samples]
        value = _run(plan, weights, part, given)
        out[start : start + samples] = value.reshape(-1, *plan.output_shape)
    return out


def relu(z: Ring) -> Ring:
    """max(⌊z / 2^16⌋, 0): additive scale 2^32 to scale 2^16.

    The residue 2^47 is read as +2^47, the upper end of the range in which the protocol is exact.
    """
    residue = z & _MASK
    signed = residue.astype(np.int64)
    signed[residue > np.uint64(2**47)] -= 2**48
    positive: Ring = np.maximum(signed >> 16, 0).astype(np.uint64)
    return positive


def truncate(z: Ring) -> Ring:
    """⌊z / 2^16⌋: additive scale 2^32 to scale 2^16."""
    return (_signed(z) >> 16).view(np.uint64)


def rectify(x: Ring) -> Ring:
    """max(x, 0), scale 2^16."""
    return np.maximum(_signed(x), 0).view(np.uint64)


def positive(x: Ring) -> Ring:
    """1 at scale 2^16 where x ≥ 1, else 0."""
    return (_signed(x) >= 1).astype(np.uint64) * _ONE


def matmul(x: Ring, w: Ring) -> Ring:
    """x·w, (n, k) times (k, m), modulo 2^48.

    numpy multiplies integers thirty times slower than float64. Numbers are therefore cut into
    three parts of 16 bits: sums of 2^20 products of such parts stay below 2^53, and are exact.
    """
    if x.shape[1] > _EXACT_DEPTH:
        return x @ w
    left, right = _parts(x), _parts(w)
    total = np.zeros((len(x), w.shape[1]), np.uint64)
    for i in range(3):
        for j in range(3 - i):  # parts that meet above bit 47 do not count
            total += (left[i] @ right[j]).astype(np.uint64) << np.uint64(16 * (i + j))
    return total


def _parts(values: Ring) -> list[NDArray[np.float64]]:
    """The lowest, middle and highest 16 of 48 bits."""
    return [(values >> np.uint64(at) & np.uint64(0xFFFF)).astype(np.float64) for at in (0, 16, 32)]


def _run(plan: Plan, weights: EncodedWeights, x: Ring, labels: Ring | None) -> Ring:
    values: dict[int, Ring] = {}
    for index, step in enumerate(plan.steps):
        sources = [values[read] for read in step.reads]
        for read in plan.last_reads[index]:
            del values[read]
        if isinstance(step, TailStep):
            values[index] = run_tail(step, sources, labels)
        else:
            values[index] = _step(step, weights.get(index), sources or [x])
    return values[len(plan.steps) - 1]


def _step(step: Step, constants: tuple[Ring, Ring] | None, sources: list[Ring]) -> Ring:
    assert not isinstance(step, TailStep)
    source = sources[0]
    if isinstance(step, (DenseStep, ConvStep, ScaleStep, BiasStep)):
        assert constants is not None
        return _linear(step, *constants, source).reshape(len(source), *step.output_shape)
    if isinstance(step, (InputStep, OutputStep)):
        return source & _MASK
    if isinstance(step, LiftStep):
        return source * _ONE
    if isinstance(step, ProductStep):
        first, second = (part.reshape(len(source), *step.shape) for part in sources)
        return first * second
    if isinstance(step, ReluStep):
        return relu(source)
    if isinstance(step, TruncateStep):
        return truncate(source)
    if isinstance(step, RectifyStep):
        return rectify(source)
    if isinstance(step, PositiveStep):
        return positive(source)
    return moves.apply(step, sources, fill=True)


def _linear(step: DenseStep | ConvStep | ScaleStep | BiasStep, w: Ring, b: Ring, x: Ring) -> Ring:
    if isinstance(step, DenseStep):
        return matmul(x.reshape(len(x) * step.rows, step.inputs), w) + b
    if isinstance(step, ConvStep):
        return _conv(x, step, w) + b
    values = x.reshape(len(x), *step.shape)
    return values * w + b if isinstance(step, ScaleStep) else values + b


def _conv(x: Ring, step: ConvStep, w: Ring) -> Ring:
    window, groups = step.window, step.groups
    channels, filters = window.channels // groups, step.filters // groups
    kernel = w.reshape(*window.kernel, channels, groups, filters)
    images = x.reshape(-1, window.height, window.width, window.channels)
    images = moves.padded(images, window)
    total = np.zeros((len(images) * int(np.prod(window.output_size)), step.filters), np.uint64)
    for place in np.ndindex(*window.kernel):
        pixels = moves.seen(images, window, place)
        if groups == 1:
            total += matmul(pixels.reshape(-1, channels), kernel[place].reshape(channels, filters))
        else:
            pixels = pixels.reshape(-1, groups, channels)
            part = sum(pixels[:, :, c, np.newaxis] * kernel[place][c] for c in range(channels))
            total += np.asarray(part).reshape(total.shape)
    return total


def _signed(values: Ring) -> NDArray[np.int64]:
    shifted: Ring = values << np.uint64(16)
    return shifted.view(np.int64) >> 16
