"""Random chains of layers."""

from __future__ import annotations

from hypothesis import strategies as st

from tests.graph.naive import Sketch


@st.composite
def networks(draw: st.DrawFn) -> Sketch:
    """Chains whose folded weights are multiples of 2^-16, so that nothing is rounded but ReLU."""
    image = draw(st.booleans())
    sizes = st.integers(1, 9)
    shape = (draw(sizes), draw(sizes), draw(st.integers(1, 2))) if image else (draw(sizes),)
    sketch = Sketch(shape, draw(st.integers(0, 2**16)), bits=2)
    budget = 16
    small = st.integers(1, 3)
    for _ in range(draw(st.integers(1, 6))):
        rows, columns = (sketch.shape[0], sketch.shape[1]) if len(sketch.shape) == 3 else (0, 0)
        kind = draw(st.sampled_from(["conv", "pool", "dense", "relu", "flatten", "norm"]))
        if kind == "conv" and rows and budget >= 2:
            kernel = (min(draw(small), rows), min(draw(small), columns))
            pad = draw(st.tuples(*[st.integers(0, 1)] * 4))
            strides = (draw(small), draw(small))
            spread = (draw(small) if kernel[0] <= (rows + 2) // 3 else 1, 1)
            sketch.conv(draw(st.integers(1, 3)), kernel, strides, spread, pad)
            budget -= 2
        elif kind == "pool" and rows >= 2 and columns >= 2 and budget >= 2:
            sketch.pool((2, draw(st.integers(1, 2))), (draw(small), draw(small)))
            budget -= 2
        elif kind == "dense" and budget >= 2:
            sketch.dense(draw(small))
            budget -= 2
        elif kind == "norm" and budget >= 2:
            sketch.norm()
            budget -= 2
        elif kind == "relu":
            sketch.relu()
            budget = 16
        elif kind == "flatten":
            sketch.flatten()
    return sketch
