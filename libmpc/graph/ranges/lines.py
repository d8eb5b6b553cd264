"""Straight lines below and above the steps that are not linear, between the bounds of what they
read: the relaxations of CROWN (Zhang, Weng, Chen, Hsieh, Daniel: "Efficient Neural Network
Robustness Certification with General Activation Functions", NeurIPS 2018)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from libmpc.graph.nodes import Floats
from libmpc.graph.plan import PositiveStep, RectifyStep, ReluStep, TruncateStep
from libmpc.graph.ranges.floats import ONE

Ends = tuple[Floats, Floats]
Curved = ReluStep | TruncateStep | RectifyStep | PositiveStep

# A truncation drops less than one unit: floor(z / 2^16) >= (z - 65535) / 2^16.
_FLOOR = (ONE - 1.0) / ONE


@dataclass(frozen=True, eq=False)
class Lines:
    """For every value: slope·z + offset, once never above the step's result, once never below."""

    low_slope: Floats
    low_offset: Floats
    high_slope: Floats
    high_offset: Floats


def lines(step: Curved, low: Floats, high: Floats) -> Lines:
    """The lines for one step whose source lies between ``low`` and ``high``, which are integers."""
    zero = np.zeros_like(low)
    if isinstance(step, TruncateStep):
        slope = np.full_like(low, 1.0 / ONE)
        return Lines(slope, np.full_like(low, -_FLOOR), slope, zero)
    if isinstance(step, PositiveStep):
        sure, never = low >= 1.0, high < 1.0
        return Lines(zero, np.where(sure, ONE, 0.0), zero, np.where(never, 0.0, ONE))
    unit, floor = (1.0 / ONE, _FLOOR) if isinstance(step, ReluStep) else (1.0, 0.0)
    off, on = high < 1.0 / unit, low >= 0.0
    # Not on, not off: above lies the chord; below lies 0 or z, whichever is nearer.
    with np.errstate(divide="ignore", invalid="ignore"):
        chord = high * unit / (high - low)
    high_slope = np.where(off, 0.0, np.where(on, unit, chord))
    high_offset = np.where(off | on, 0.0, -high_slope * low)
    steep = ~off & (high >= -low)
    low_slope = np.where(steep, unit, 0.0)
    low_offset = np.where(steep, -floor, 0.0)
    return Lines(low_slope, low_offset, high_slope, high_offset)


def clip_lines(low: Floats, high: Floats, upper: Floats, lower: Floats) -> Lines:
    """The lines for relu(z + upper) - relu(z + lower), z between ``low`` and ``high``.

    In real numbers it is min(max(t, 0), top) with t = z + upper; floors make less than 1 of it.
    """
    top = upper - lower
    least, most = low + upper, high + upper
    begin, end = np.clip(least, 0.0, top), np.clip(most, 0.0, top)
    still = (most <= 0.0) | (least >= top) | (least == most)
    with np.errstate(divide="ignore", invalid="ignore"):
        # Above: from the left end to where it becomes flat. Below: from where it rises.
        rise = (end - begin) / (np.minimum(most, top) - least)
        climb = (end - begin) / (most - np.maximum(least, 0.0))
    flat = still | ((most > top) & (begin + rise * (most - least) / 2.0 > top))
    high_slope = np.where(flat, 0.0, rise)
    high_offset = np.where(flat, end, begin - rise * least)
    flat = still | ((least < 0.0) & (end - climb * (most - least) / 2.0 < 0.0))
    low_slope = np.where(flat, 0.0, climb)
    low_offset = np.where(flat, begin, end - climb * most)
    loss = np.where(np.mod(top, ONE) == 0.0, 0.0, 1.0)
    return Lines(
        low_slope / ONE,
        (low_offset + low_slope * upper) / ONE - np.where(still & (begin == 0.0), 0.0, 1.0),
        high_slope / ONE,
        (high_offset + high_slope * upper) / ONE + loss,
    )


@dataclass(frozen=True, eq=False)
class Planes:
    """For every value: p·a + q·b + r, once never above the result, once never below."""

    low: tuple[Floats, Floats, Floats]
    high: tuple[Floats, Floats, Floats]


def extreme_planes(a: Ends, b: Ends, *, largest: bool) -> Planes:
    """Planes for the larger of a and b, or the smaller."""
    if not largest:
        turned = extreme_planes((-a[1], -a[0]), (-b[1], -b[0]), largest=True)
        low, high = ((p, q, -r) for p, q, r in (turned.high, turned.low))
        return Planes(low, high)
    zero, one = np.zeros_like(a[0]), np.ones_like(a[0])
    first, second = a[0] >= b[1], b[0] >= a[1]
    middle = a[0] + a[1] >= b[0] + b[1]  # below lies either; which is higher in the middle
    low = np.where(middle, one, zero), np.where(middle, zero, one), zero
    open_ = ~first & ~second
    second = second & ~first
    high = (
        np.where(first, one, zero),
        np.where(second, one, zero),
        np.where(open_, np.maximum(a[1], b[1]), 0.0),
    )
    return Planes(low, high)


def product_planes(a: Ends, b: Ends) -> Planes:
    """Planes for a·b (McCormick)."""
    (al, ah), (bl, bh) = a, b
    below = _higher((bl, al, -al * bl), (bh, ah, -ah * bh), a, b, 1.0)
    above = _higher((bh, al, -al * bh), (bl, ah, -ah * bl), a, b, -1.0)
    return Planes(below, above)


def _higher(
    one: tuple[Floats, Floats, Floats],
    two: tuple[Floats, Floats, Floats],
    a: Ends,
    b: Ends,
    sign: float,
) -> tuple[Floats, Floats, Floats]:
    """For every value the plane that is higher in the middle; lower, for a sign of -1."""
    centre = (a[0] + a[1]) / 2.0, (b[0] + b[1]) / 2.0
    heights = [sign * (p * centre[0] + q * centre[1] + r) for p, q, r in (one, two)]
    first = heights[0] >= heights[1]
    p, q, r = (np.where(first, x, y) for x, y in zip(one, two, strict=True))
    return p, q, r
