"""Kernels of grouped and depthwise convolution, for which a plain matrix product is too slow.

As in ``linear``: uint64 modulo 2^64, images are (samples, height, width, channels), ``top`` and
``left`` count the rows and columns of zeros before the image.
"""

from __future__ import annotations

from typing import Any

from libmpc.ring.jit import IN64_2D, IN64_4D, INT, OUT64_2D, OUT64_4D, kernel


@kernel(IN64_4D, IN64_2D, INT, INT, INT, INT, INT, INT, INT, INT, OUT64_4D)
def depthwise_add(
    x: Any,
    w: Any,
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
    """out (samples, out_h, out_w, channels) += each channel of x convolved with its column of w.

    ``w`` is (kernel_h · kernel_w, channels). The innermost loop runs over channels: they lie side
    by side in all three arrays.
    """
    samples, height, width, channels = x.shape
    out_h, out_w = out.shape[1], out.shape[2]
    for s in range(samples):
        for oy in range(out_h):
            for ky in range(kernel_h):
                y = oy * stride_h + ky * dilation_h - top
                if not 0 <= y < height:
                    continue
                for ox in range(out_w):
                    row = out[s, oy, ox]
                    for kx in range(kernel_w):
                        z = ox * stride_w + kx * dilation_w - left
                        if 0 <= z < width:
                            pixel = x[s, y, z]
                            tap = w[ky * kernel_w + kx]
                            for c in range(channels):
                                row[c] += pixel[c] * tap[c]


@kernel(IN64_2D, IN64_2D, INT, INT, OUT64_2D)
def grouped_matmul_add(x: Any, w: Any, channels: int, groups: int, out: Any) -> None:
    """out (n, filters) += windows x (n, places · channels) times w, group by group.

    ``w`` is (places · channels / groups, filters): a group's filters see its channels only.
    """
    n, depth = x.shape
    own = channels // groups
    filters = w.shape[1] // groups
    for i in range(n):
        for place in range(depth // channels):
            for g in range(groups):
                row = out[i, g * filters : (g + 1) * filters]
                for c in range(own):
                    a = x[i, place * channels + g * own + c]
                    factors = w[place * own + c, g * filters : (g + 1) * filters]
                    for j in range(filters):
                        row[j] += a * factors[j]
