"""Kernels of the linear steps: im2col, sums over windows, a plain matrix product.

All integers are uint64 modulo 2^64. Sizes and offsets are signed; they are never mixed with ring
elements, because numba would turn the mixture into a signed number. Images are (samples, height,
width · channels); ``top`` and ``left`` count the rows and columns of zeros before the image, those
behind it follow from the output's size.
"""

from __future__ import annotations

from typing import Any

from libmpc.ring.jit import IN64_2D, IN64_3D, INT, OUT64_2D, OUT64_3D, kernel


@kernel(IN64_2D, IN64_2D, OUT64_2D)
def matmul_add(x: Any, w: Any, out: Any) -> None:
    """out (n, m) += x (n, k) · w (k, m), for matrices of few columns: see ``matmul``."""
    n, depth = x.shape
    m = w.shape[1]
    block = 64
    if n == 1 and depth <= block:  # too little for several rows at a time to pay
        for k in range(depth):
            a = x[0, k]
            for j in range(m):
                out[0, j] += a * w[k, j]
        return
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


@kernel(IN64_3D, INT, INT, INT, INT, INT, INT, INT, INT, INT, INT, INT, INT, OUT64_2D)
def im2col(
    x: Any,
    channels: int,
    kernel_h: int,
    kernel_w: int,
    stride_h: int,
    stride_w: int,
    dilation_h: int,
    dilation_w: int,
    top: int,
    left: int,
    first: int,
    out_h: int,
    out_w: int,
    out: Any,
) -> None:
    """out (samples · out_h · out_w, kernel_h · kernel_w · channels): one row per window.

    Of each image the ``out_h`` rows of windows from row ``first`` on.
    """
    samples, height, length = x.shape
    width = length // channels
    span = kernel_w * channels
    for s in range(samples):
        for oy in range(out_h):
            for ky in range(kernel_h):
                y = (first + oy) * stride_h + ky * dilation_h - top
                at = ky * span
                windows = out[(s * out_h + oy) * out_w : (s * out_h + oy + 1) * out_w]
                if not 0 <= y < height:
                    windows[:, at : at + span] = 0
                    continue
                line = x[s, y]
                for ox in range(out_w):
                    row = windows[ox]
                    z = ox * stride_w - left
                    if dilation_w == 1 and z >= 0 and z + kernel_w <= width:
                        for c in range(span):
                            row[at + c] = line[z * channels + c]
                        continue
                    for kx in range(kernel_w):
                        to = at + kx * channels
                        if 0 <= z < width:
                            for c in range(channels):
                                row[to + c] = line[z * channels + c]
                        else:
                            for c in range(channels):
                                row[to + c] = 0
                        z += dilation_w


@kernel(IN64_3D, INT, INT, INT, INT, INT, INT, INT, INT, INT, OUT64_3D)
def sum_pool(
    x: Any,
    channels: int,
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
    """out (samples, out_h, out_w · channels): sums over windows, channel by channel."""
    samples, height, length = x.shape
    width = length // channels
    out_h, out_w = out.shape[1], out.shape[2] // channels
    for s in range(samples):
        for oy in range(out_h):
            row = out[s, oy]
            row[:] = 0
            for ky in range(kernel_h):
                y = oy * stride_h + ky * dilation_h - top
                if not 0 <= y < height:
                    continue
                line = x[s, y]
                for kx in range(kernel_w):
                    z = kx * dilation_w - left
                    if stride_w == 1:  # the windows' places lie side by side
                        begin = max(0, -z) * channels
                        end = min(out_w, width - z) * channels
                        for c in range(begin, end):
                            row[c] += line[z * channels + c]
                        continue
                    for ox in range(out_w):
                        if 0 <= z < width:
                            for c in range(channels):
                                row[ox * channels + c] += line[z * channels + c]
                        z += stride_w
