"""Linear layer: a masked value times a secret matrix, dense or as a convolution.

1. z = x·W = m_x·m_W − m_x·λ_W − λ_x·m_W + λ_x·λ_W, with m_x = x + λ_x and m_W = W + λ_W.
2. P_0 holds [z]_0 = m_x·(m_W − λ_W0) − λ_x0·m_W + [b]_0,
   P_1 holds [z]_1 = m_x·(−λ_W1)      − λ_x1·m_W + [b]_1.
   Everything but the first product is prepared before the input is known.
3. λ_x·λ_W is missing, and only the dealer knows it: the opening or the output that follows makes
   up for it (``relu``, ``output``).

Rounds: 0.  Sends: nothing.  Source: Beaver's trick with the triple's product left to the dealer,
as in "masked evaluation" (Gordon, Ranellucci and Wang, 2018) and ASTRA (Chaudhari et al., 2019).
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from libmpc.graph.plan import ConvStep, DenseStep, SumPoolStep
from libmpc.protocol.cost import Cost
from libmpc.ring import linear as kernels

Ring = NDArray[np.uint64]
_IM2COL_WORDS = 1 << 19  # a block of rows that stays in the cache


def cost(count: int) -> Cost:
    """Of any number of values."""
    return Cost()


def multiply_add(step: DenseStep | ConvStep, x: Ring, weights: Ring, out: Ring) -> None:
    """out += x·W for ``batch`` samples; the bilinear map that all three parties use.

    Args:
        x: (batch · values of the source,), any shape.
        weights: ``step.weight_shape``.
        out: (batch · values of the step,), contiguous, any shape; overwritten.
    """
    depth, columns = step.weight_shape
    if isinstance(step, DenseStep):
        kernels.matmul_add(x.reshape(-1, depth), weights, out.reshape(-1, columns))
        return
    window = step.window
    images = x.reshape(-1, window.height, window.width, window.channels)
    out_h, out_w = window.output_size
    rows = out.reshape(-1, columns)
    per_block = max(1, _IM2COL_WORDS // (out_h * out_w * depth))
    for start in range(0, len(images), per_block):
        block = images[start : start + per_block]
        patches = np.empty((len(block) * out_h * out_w, depth), np.uint64)
        kernels.im2col(
            block,
            *window.kernel,
            *window.strides,
            *window.dilation,
            window.padding[0],
            window.padding[2],
            out_h,
            out_w,
            patches,
        )
        first = start * out_h * out_w
        kernels.matmul_add(patches, weights, rows[first : first + len(patches)])


def prepare(step: DenseStep | ConvStep, mask: Ring, masked_weights: Ring, bias_share: Ring) -> Ring:
    """An evaluator's [b]_j − λ_xj·m_W, flat: all of [z]_j that does not depend on the input."""
    batch = mask.size // _values_taken(step)
    prepared = np.empty((batch * step.size // bias_share.size, bias_share.size), np.uint64)
    prepared[:] = bias_share
    multiply_add(step, np.negative(mask), masked_weights, prepared)
    return prepared.reshape(-1)


def deal(step: DenseStep | ConvStep, mask: Ring, weight_mask: Ring) -> Ring:
    """The dealer's λ_x·λ_W, flat, with λ_x = λ_x0 + λ_x1 and λ_W = λ_W0 + λ_W1."""
    product = np.zeros(mask.size // _values_taken(step) * step.size, np.uint64)
    multiply_add(step, mask, weight_mask, product)
    return product


def sum_pool(step: SumPoolStep, value: Ring) -> Ring:
    """Sums over windows, flat; of m and of each λ_j alike, so it needs no message."""
    window = step.window
    images = value.reshape(-1, window.height, window.width, window.channels)
    out = np.empty((len(images), *step.output_shape), np.uint64)
    kernels.sum_pool(
        images,
        *window.kernel,
        *window.strides,
        *window.dilation,
        window.padding[0],
        window.padding[2],
        out,
    )
    return out.reshape(-1)


def macs(step: DenseStep | ConvStep, batch: int) -> int:
    """Multiplications in the ring for one product; used to choose where it runs."""
    return step.macs * batch


def _values_taken(step: DenseStep | ConvStep) -> int:
    if isinstance(step, DenseStep):
        return step.rows * step.inputs
    window = step.window
    return math.prod((window.height, window.width, window.channels))
