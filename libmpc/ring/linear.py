"""Kernels of the linear steps: im2col, sums over windows, a plain matrix product.

All integers are uint64 modulo 2^64. Sizes and offsets are signed; they are never mixed with ring
elements, because numba would turn the mixture into a signed number. Images are (samples, height,
width, channels); ``top`` and ``left`` count the rows and columns of zeros before the image, those
behind it follow from the output's size.
"""

from __future__ import annotations

from typing import Any

from libmpc.ring.jit import IN64_2D, IN64_4D, INT, OUT64_2D, OUT64_4D, kernel


@kernel(IN64_2D, IN64_2D, OUT64_2D)
def matmul_add(x: Any, w: Any, out: Any) -> None:
    """out (n, m) += x (n, k) · w (k, m), for matrices of few columns: see ``matmul``."""
    n, depth = x.shape
    m = w.shape[1]
    block = 64
    for k0 in range(0, depth, block):
        k1 = min(depth, k0 + block)
        for i in range(n):
            row = out[i]
            k = k0
            while k + 3 < k1:
                a = x[i, k]
                b = x[i, k + 1]
                c = x[i, k + 2]
                d = x[i, k + 3]
                for j in range(m):
                    row[j] += a * w[k, j] + b * w[k + 1, j] + c * w[k + 2, j] + d * w[k + 3, j]
                k += 4
            while k < k1:
                a = x[i, k]
                for j in range(m):
                    row[j] += a * w[k, j]
                k += 1


@kernel(IN64_4D, INT, INT, INT, INT, INT, INT, INT, INT, INT, INT, OUT64_2D)
def im2col(
    x: Any,
    kernel_h: int,
    kernel_w: int,
    stride_h: int,
    stride_w: int,
    dilation_h: int,
    dilation_w: int,
    top: int,
    left: int,
    out_h: int,
    out_w: int,
    out: Any,
) -> None:
    """out (samples · out_h · out_w, kernel_h · kernel_w · channels): one row per window."""
    samples, height, width, channels = x.shape
    for s in range(samples):
        for oy in range(out_h):
            for ox in range(out_w):
                row = out[(s * out_h + oy) * out_w + ox]
                at = 0
                for ky in range(kernel_h):
                    y = oy * stride_h + ky * dilation_h - top
                    for kx in range(kernel_w):
                        z = ox * stride_w + kx * dilation_w - left
                        if 0 <= y < height and 0 <= z < width:
                            for c in range(channels):
                                row[at + c] = x[s, y, z, c]
                        else:
                            for c in range(channels):
                                row[at + c] = 0
                        at += channels


@kernel(IN64_4D, INT, INT, INT, INT, INT, INT, INT, INT, OUT64_4D)
def sum_pool(
    x: Any,
    kernel_h: int,
    kernel_w: int,
    stride_h: int,
    stride_w: int,
    dilation_h: int,
    dilation_w: int,
    top: int,
    left: int,
    out: Any,
) -> None:
    """out (samples, out_h, out_w, channels): sums over windows, channel by channel."""
    samples, height, width, channels = x.shape
    out_w = out.shape[2]
    reach = (kernel_w - 1) * dilation_w + 1
    for s in range(samples):
        for oy in range(out.shape[1]):
            if stride_w == 1 and left == 0 and out_w + reach - 1 <= width:
                # All windows of a row at once: sums of pieces of the image's rows.
                sums = out[s, oy].reshape(-1)
                sums[:] = 0
                for ky in range(kernel_h):
                    y = oy * stride_h + ky * dilation_h - top
                    if 0 <= y < height:
                        for kx in range(kernel_w):
                            at = kx * dilation_w * channels
                            piece = x[s, y].reshape(-1)[at : at + sums.size]
                            for c in range(sums.size):
                                sums[c] += piece[c]
                continue
            for ox in range(out_w):
                row = out[s, oy, ox]
                for c in range(channels):
                    row[c] = 0
                for ky in range(kernel_h):
                    y = oy * stride_h + ky * dilation_h - top
                    for kx in range(kernel_w):
                        z = ox * stride_w + kx * dilation_w - left
                        if 0 <= y < height and 0 <= z < width:
                            for c in range(channels):
                                row[c] += x[s, y, z, c]
