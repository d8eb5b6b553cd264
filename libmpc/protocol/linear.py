"""Linear layer: a masked value times a secret matrix, convolution or scaling.

1. z = x·W = m_x·m_W − m_x·λ_W − λ_x·m_W + λ_x·λ_W, with m_x = x + λ_x and m_W = W + λ_W.
2. P_0 holds [z]_0 = m_x·(m_W − λ_W0) − λ_x0·m_W + [b]_0,
   P_1 holds [z]_1 = m_x·(−λ_W1)      − λ_x1·m_W + [b]_1.
   Everything but the first product is prepared before the input is known.
3. λ_x·λ_W is missing, and only the dealer knows it: the opening or the output that follows makes
   up for it (``opening``, ``output``).

Rounds: 0.  Sends: nothing.  Source: Beaver's trick with the triple's product left to the dealer,
as in "masked evaluation" (Gordon, Ranellucci and Wang, 2018) and ASTRA (Chaudhari et al., 2019).
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from libmpc.graph.plan import BiasStep, ConvStep, DenseStep, SumPoolStep, WeightedStep, Window
from libmpc.protocol.cost import Cost
from libmpc.ring import conv as conv_kernels
from libmpc.ring import linear as kernels
from libmpc.ring.matmul import Matrix, PackedMatrix, matmul_add, pack_matrix

Ring = NDArray[np.uint64]
_BLOCK_WORDS = 1 << 17  # of patches at a time, so that they stay in the cache


def cost(count: int) -> Cost:
    """Of any number of values."""
    return Cost()


def pack_weights(step: WeightedStep, weights: Ring) -> Matrix:
    """A step's weights, or masks of weights, in the form for ``multiply_add``: modulo 2^48.

    Args:
        weights: ``step.weight_shape``, contiguous; it may be part of the result.
    """
    if isinstance(step, DenseStep) or (isinstance(step, ConvStep) and step.groups == 1):
        return pack_matrix(weights)
    return weights


def multiply_add(step: WeightedStep, x: Ring, weights: Matrix, out: Ring) -> None:
    """out += x·W modulo 2^48 for ``batch`` samples; the bilinear map that all three parties use.

    Args:
        x: (batch · values of the source,), contiguous, any shape.
        weights: ``step.weight_shape``, from ``pack_weights`` where it is used more than once.
        out: (batch · values of the step,), contiguous, any shape; overwritten.
    """
    if isinstance(step, DenseStep):
        rows = out.reshape(-1, step.outputs)
        matmul_add(x.reshape(-1, step.inputs), weights, rows)
    elif isinstance(step, ConvStep):
        _convolve_add(step, x, weights, out)
    else:
        assert not isinstance(weights, PackedMatrix)
        values, result = x.reshape(-1, *step.shape), out.reshape(-1, *step.shape)
        for sample, into in zip(values, result, strict=True):
            into += sample * weights


def prepare(step: WeightedStep, mask: Ring, masked_weights: Matrix, bias_share: Ring) -> Ring:
    """An evaluator's [b]_j − λ_xj·m_W, flat: all of [z]_j that does not depend on the input.

    Args:
        mask: λ_xj, (batch · values of the source,), any shape.
        masked_weights: m_W, ``step.weight_shape``, or from ``pack_weights``.
        bias_share: [b]_j, ``step.bias_shape``.
    """
    prepared = np.empty((mask.size // step.read_sizes[0], *_biased_shape(step)), np.uint64)
    prepared[:] = bias_share
    multiply_add(step, np.negative(mask), masked_weights, prepared)
    return prepared.reshape(-1)


def deal(step: WeightedStep, mask: Ring, weight_mask: Matrix) -> Ring:
    """The dealer's λ_x·λ_W, flat, with λ_x = λ_x0 + λ_x1 and λ_W = λ_W0 + λ_W1."""
    product = np.zeros(mask.size // step.read_sizes[0] * step.size, np.uint64)
    multiply_add(step, mask, weight_mask, product)
    return product


def deal_part(
    step: WeightedStep, mask: Ring, party: int, masked_weights: Matrix, factor: Matrix
) -> Ring:
    """Evaluator j's summand λ_x·λ_Wj of what is missing, flat; for audits.

    Args:
        mask: λ_x = λ_x0 + λ_x1, (batch · values of the source,), any shape.
        masked_weights, factor: m_W, and m_W − λ_W0 at party 0, −λ_W1 at party 1.
    """
    part = deal(step, np.negative(mask), factor)
    if party == 0:
        multiply_add(step, mask, masked_weights, part)
    return part


def add_bias(step: BiasStep, share: Ring, bias_share: Ring) -> Ring:
    """[z]_j + [b]_j, flat; what only the dealer knows of z stays as it is."""
    result: Ring = share.reshape(-1, *step.shape) + bias_share
    return result.reshape(-1)


def sum_pool(step: SumPoolStep, value: Ring) -> Ring:
    """Sums over windows, flat; alike for every part of a value, so it needs no message."""
    window = step.window
    lines = _lines(value, window)
    out_h, out_w = window.output_size
    out = np.empty((len(lines), out_h, out_w * window.channels), np.uint64)
    kernels.sum_pool(lines, window.channels, *window.geometry, out)
    return out.reshape(-1)


def macs(step: WeightedStep, batch: int) -> int:
    """Multiplications in the ring for one product; used to choose where it runs."""
    return step.macs * batch


def _convolve_add(step: ConvStep, x: Ring, weights: Matrix, out: Ring) -> None:
    window, channels = step.window, step.window.channels
    if step.groups == channels > 1:
        assert not isinstance(weights, PackedMatrix)
        _depthwise_add(step, _images(x, window), weights, out)
        return
    depth = weights.shape[0] * step.groups
    rows = out.reshape(-1, step.filters)
    if window.is_pixel:
        _multiply_rows(step, x.reshape(-1, depth), weights, rows)
        return
    lines, out_w = _lines(x, window), window.output_size[1]
    for block, first_row, rows_out, out_rows in _blocks(window, lines, depth, rows):
        patches = np.empty((len(out_rows), depth), np.uint64)
        kernels.im2col(block, channels, *window.geometry, first_row, rows_out, out_w, patches)
        _multiply_rows(step, patches, weights, out_rows)


def _blocks(
    window: Window, images: Ring, depth: int, out: Ring
) -> Iterator[tuple[Ring, int, int, Ring]]:
    """Some images, their first row of windows, the number of rows, and their part of ``out``.

    A block's patches are few enough for the cache, or one row: of a large image they would take
    many times its memory.
    """
    if len(out) * depth <= _BLOCK_WORDS:
        yield images, 0, window.output_size[0], out
        return
    out_h, out_w = window.output_size
    rows = max(1, _BLOCK_WORDS // (out_w * depth))
    if rows >= out_h:
        many = rows // out_h
        for start in range(0, len(images), many):
            block = images[start : start + many]
            first = start * out_h * out_w
            yield block, 0, out_h, out[first : first + len(block) * out_h * out_w]
        return
    for index in range(len(images)):
        for row in range(0, out_h, rows):
            some = min(rows, out_h - row)
            first = (index * out_h + row) * out_w
            yield images[index : index + 1], row, some, out[first : first + some * out_w]


def _multiply_rows(step: ConvStep, patches: Ring, weights: Matrix, out: Ring) -> None:
    if step.groups == 1:
        matmul_add(patches, weights, out)
    else:
        assert not isinstance(weights, PackedMatrix)
        channels = step.window.channels
        conv_kernels.grouped_matmul_add(patches, weights, channels, step.groups, out)


def _depthwise_add(step: ConvStep, images: Ring, weights: Ring, out: Ring) -> None:
    window = step.window
    per_channel = step.filters // window.channels
    out_h, out_w = window.output_size
    result = out.reshape(-1, out_h, out_w, step.filters)
    for start in range(len(images)):
        block = images[start : start + 1]
        if per_channel > 1:
            block = np.repeat(block, per_channel, axis=3)
        conv_kernels.depthwise_add(
            block,
            weights,
            *window.geometry,
            result[start : start + 1],
        )


def _lines(values: Ring, window: Window) -> Ring:
    """(images, height, width · channels)."""
    return values.reshape(-1, window.height, window.width * window.channels)


def _images(values: Ring, window: Window) -> Ring:
    return values.reshape(-1, window.height, window.width, window.channels)


def _biased_shape(step: WeightedStep) -> tuple[int, ...]:
    """One sample of the result, in the shape to which the bias repeats."""
    if isinstance(step, DenseStep):
        return (step.rows, step.outputs)
    if isinstance(step, ConvStep):
        return (step.images, *step.window.output_size, step.filters)
    return step.shape
