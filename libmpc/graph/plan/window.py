"""A sliding window over an image."""

from __future__ import annotations

from functools import cached_property
from typing import Annotated

from pydantic import Field, model_validator

from libmpc.graph.plan.base import MAX_DIM, Dim, Part


class Window(Part):
    """A sliding window over a height × width × channels image."""

    height: Dim
    width: Dim
    channels: Dim
    kernel: tuple[Dim, Dim]
    strides: tuple[Dim, Dim] = (1, 1)
    dilation: tuple[Dim, Dim] = (1, 1)
    padding: Annotated[
        tuple[int, int, int, int], Field(description="zeros at top, bottom, left, right")
    ] = (0, 0, 0, 0)

    @cached_property
    def output_size(self) -> tuple[int, int]:
        """Output height and width."""
        top, bottom, left, right = self.padding
        span_h = (self.kernel[0] - 1) * self.dilation[0] + 1
        span_w = (self.kernel[1] - 1) * self.dilation[1] + 1
        return (
            (self.height + top + bottom - span_h) // self.strides[0] + 1,
            (self.width + left + right - span_w) // self.strides[1] + 1,
        )

    @cached_property
    def geometry(self) -> tuple[int, int, int, int, int, int, int, int]:
        """Kernel, strides, dilation; zeros at top and left: as kernels take them."""
        top, _, left, _ = self.padding
        return (*self.kernel, *self.strides, *self.dilation, top, left)

    @cached_property
    def is_pixel(self) -> bool:
        """Whether every window is one pixel, each pixel once."""
        return (*self.kernel, *self.strides) == (1, 1, 1, 1) and not any(self.padding)

    @property
    def input_size(self) -> int:
        """Values of one image."""
        return self.height * self.width * self.channels

    @model_validator(mode="after")
    def _sensible(self) -> Window:
        if any(p < 0 or p > MAX_DIM for p in self.padding):
            raise ValueError("padding must not be negative")
        if min(self.output_size) < 1:
            raise ValueError("the window is larger than the image")
        return self
