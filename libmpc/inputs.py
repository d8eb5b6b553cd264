"""What a client checks before anything is shared: shape, type and range of its array.

It needs a model's public descriptor only. Messages speak of shapes, types and the array's extremes,
which never leave the client's own process.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from libmpc import fixedpoint
from libmpc.errors import InputError

_EXACT = 2.0**31  # activations at scale 2^16 in 48 bits


def check_inputs(
    x: object, *, shape: tuple[int, ...], input_range: tuple[float, float]
) -> NDArray[np.uint64]:
    """Check a batch and encode it at scale 2^16.

    Args:
        x: (batch, *shape), any real numeric type; what ``numpy.asarray`` takes.
        shape: one sample's shape.
        input_range: smallest and largest value that the model was checked for. A value is inside
            if its encoding is: the arithmetic never sees more of it than that.

    Returns:
        (batch, *shape), two's complement modulo 2^48.

    Raises:
        InputError: wrong shape or type, NaN, infinity, or out of range; says what to do.
    """
    array = _numbers(x)
    _check_shape(array.shape, shape)
    values = array.astype(np.float64)
    if not np.isfinite(values).all():
        bad = int(np.count_nonzero(~np.isfinite(values)))
        first = tuple(int(i) for i in np.argwhere(~np.isfinite(values))[0])
        raise InputError(
            f"{bad} of the input's values are NaN or infinite (the first at index {first}); "
            "replace or remove them"
        )
    scaled = np.rint(values * 65536.0)
    low, high = encoded_range(input_range)
    if scaled.min() < low or scaled.max() > high:
        raise InputError(_out_of_range(float(values.min()), float(values.max()), input_range))
    return fixedpoint.encode(values)


def encoded_range(input_range: tuple[float, float]) -> tuple[int, int]:
    """The declared range at scale 2^16.

    Raises:
        InputError: it is not two finite numbers in order, within ±2^31.
    """
    try:
        low, high = (float(bound) for bound in input_range)
    except (TypeError, ValueError):
        raise InputError("the input range must be two numbers, such as (0, 1)") from None
    if not (math.isfinite(low) and math.isfinite(high) and low <= high):
        raise InputError(f"the input range ({low}, {high}) must be two finite numbers in order")
    if low < -_EXACT or high >= _EXACT:
        raise InputError(f"the input range ({low:g}, {high:g}) is beyond ±2^31: scale the inputs")
    return round(low * 65536.0), round(high * 65536.0)


def _numbers(x: object) -> NDArray[np.generic]:
    if isinstance(x, np.ma.MaskedArray):
        raise InputError("the input is a masked array: fill it first, x.filled(value)")
    try:
        array = np.asarray(x)
    except Exception as error:  # noqa: BLE001 - ragged lists, tensors on a GPU or with gradients, ...
        raise InputError(
            f"the input ({type(x).__name__}) cannot be made an array: {type(error).__name__}"
        ) from None
    if array.dtype.kind not in "fiub":
        hint = {
            "O": "objects, perhaps rows of different lengths",
            "c": "complex numbers; take the real part or the absolute value",
            "U": "text; convert it with x.astype(float)",
            "S": "bytes; convert them with numpy.frombuffer",
        }.get(array.dtype.kind, "not real numbers")
        raise InputError(f"the input has dtype {array.dtype} ({hint}); use float32 or float64")
    return array


def _check_shape(got: tuple[int, ...], shape: tuple[int, ...]) -> None:
    if got[1:] == shape and got:
        if got[0] == 0:
            raise InputError("the input has no samples: its batch dimension is 0")
        return
    want = f"(batch, {', '.join(map(str, shape))})"
    size, per_sample = math.prod(got), math.prod(shape)
    hint = ""
    if got == shape:
        hint = "; for a single sample add the batch dimension: x[numpy.newaxis]"
    elif len(shape) == 3 and got[-3:] == (shape[2], *shape[:2]) and len(got) in (3, 4):
        axes = "(1, 2, 0)" if len(got) == 3 else "(0, 2, 3, 1)"
        extra = "[numpy.newaxis]" if len(got) == 3 else ""
        hint = f"; the channels must come last: x.transpose{axes}{extra}"
    elif size and size % per_sample == 0 and _same_values(got, shape):
        target = ", ".join(map(str, (-1, *shape)))
        hint = f"; if the order of values is right: x.reshape({target})"
    raise InputError(f"the input has shape {got}, the model takes {want}{hint}")


def _same_values(got: tuple[int, ...], shape: tuple[int, ...]) -> bool:
    """Whether only sizes of 1, a batch axis or flattening are between the two shapes."""
    core = tuple(d for d in shape if d != 1)
    rest = tuple(d for d in got if d != 1)
    flat = (math.prod(shape),)
    if len(shape) == 1:
        return any(math.prod(r) == shape[0] for r in (rest, rest[1:]))
    return any(r in (core, flat) for r in (rest, rest[1:]))


def _out_of_range(least: float, largest: float, declared: tuple[float, float]) -> str:
    low, high = declared
    text = (
        f"the input has values from {least:g} to {largest:g}, the model takes {low:g} to {high:g}"
    )
    reach = max(abs(low), abs(high))
    if low >= 0 and 0 <= least and reach <= 1 < largest <= 255:
        return f"{text}; these look like 8-bit values: divide by 255?"
    if low >= 0 and 0 <= least and reach <= 1 < largest <= 65535:
        return f"{text}; these look like 16-bit values: divide by 65535?"
    if low < 0 <= least and reach <= 1 < largest <= 255:
        return f"{text}; these look like 8-bit values: divide by 127.5 and subtract 1?"
    if low == 0 and least >= -1 and largest <= 1 and least < 0:
        return f"{text}; were they scaled to -1..1? use (x + 1) / 2"
    if low >= 0 and least < 0:
        return f"{text}; were they standardised (mean subtracted)? the model was declared otherwise"
    return f"{text}; scale the input, or load the model again with a wider input range"
