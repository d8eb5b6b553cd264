"""A picture of measured points and a fitted curve on two logarithmic axes, as SVG."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from html import escape

_WIDTH, _HEIGHT = 480, 320
_LEFT, _RIGHT, _TOP, _BOTTOM = 64, 16, 32, 44
_STEPS = 60


def plot(
    x_title: str,
    y_title: str,
    points: Sequence[tuple[float, float]],
    curve: Callable[[float], float],
) -> str:
    """An SVG document.

    Args:
        points: x and y, all above 0.
        curve: drawn where it is above 0, over the range of the points.
    """
    xs, ys = zip(*points, strict=True)
    across, up = _Axis(xs, _LEFT, _WIDTH - _RIGHT), _Axis(ys, _HEIGHT - _BOTTOM, _TOP)
    drawn = [(x, curve(x)) for x in across.steps() if curve(x) > 0]
    line = " ".join(f"{across(x):.1f},{up(y):.1f}" for x, y in drawn if up.holds(y))
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {_HEIGHT}" '
        'font-family="sans-serif" font-size="12">',
        f'<rect width="{_WIDTH}" height="{_HEIGHT}" fill="white"/>',
        *(_tick(across(x), _TOP, across(x), _HEIGHT - _BOTTOM, x) for x in across.ticks()),
        *(_tick(_WIDTH - _RIGHT, up(y), _LEFT, up(y), y) for y in up.ticks()),
        f'<polyline points="{line}" fill="none" stroke="#888" stroke-width="1.5"/>',
        *(f'<circle cx="{across(x):.1f}" cy="{up(y):.1f}" r="4" fill="#06c"/>' for x, y in points),
        f'<text x="{_WIDTH / 2}" y="{_HEIGHT - 8}" text-anchor="middle">{escape(x_title)}</text>',
        f'<text x="8" y="18">{escape(y_title)}</text>',
        "</svg>",
    ]
    return "\n".join(parts) + "\n"


def _tick(x1: float, y1: float, x2: float, y2: float, value: float) -> str:
    """A line of the grid from one end to the axis, where its number stands."""
    at_bottom = x1 == x2
    x, y, anchor = (x2, y2 + 16, "middle") if at_bottom else (x2 - 6, y2 + 4, "end")
    return (
        f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" stroke="#ddd"/>'
        f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{value:g}</text>'
    )


class _Axis:
    """From values to places, logarithmically."""

    def __init__(self, values: Sequence[float], begin: float, end: float) -> None:
        self._low, self._high = 0.8 * min(values), 1.25 * max(values)
        self._begin, self._end = begin, end

    def __call__(self, value: float) -> float:
        share = math.log(value / self._low) / math.log(self._high / self._low)
        return self._begin + share * (self._end - self._begin)

    def holds(self, value: float) -> bool:
        return self._low <= value <= self._high

    def steps(self) -> list[float]:
        ratio = self._high / self._low
        return [self._low * ratio ** (step / _STEPS) for step in range(_STEPS + 1)]

    def ticks(self) -> Iterator[float]:
        """1, 2 and 5 times powers of ten; of a long axis the powers alone."""
        decades = math.log10(self._high / self._low)
        for power in range(
            math.floor(math.log10(self._low)), math.ceil(math.log10(self._high)) + 1
        ):
            for factor in (1, 2, 5) if decades < 2.5 else (1,):
                if self.holds(value := factor * 10.0**power):
                    yield value
