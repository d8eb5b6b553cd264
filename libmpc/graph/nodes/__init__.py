"""A network as data: one frozen node type per operation, joined by the names of what they read.

Shapes are per sample. Images are height, width, channels, as the last three axes; axes before them
count images. Weights are float64 arrays (importers widen float32, which is exact); a node's
``repr`` has shapes and never a weight. Importers make these nodes with ``builder.GraphBuilder``;
what is not here is made of what is.
"""

from libmpc.graph.nodes.base import (
    Floats,
    Node,
    Padding,
    Pair,
    Shape,
    check_shape,
    require_image,
    slide,
)
from libmpc.graph.nodes.graph import Graph, Input
from libmpc.graph.nodes.linear import Add, Conv, Dense, Scale, Sum, SumPool
from libmpc.graph.nodes.moves import Concat, Expand, Pad, Reshape, Slice, Transpose
from libmpc.graph.nodes.nonlinear import (
    Final,
    FinalActivation,
    Maximum,
    MaxPool,
    Minimum,
    Multiply,
    Relu,
    Sign,
)

__all__ = [
    "Add",
    "Concat",
    "Conv",
    "Dense",
    "Expand",
    "Final",
    "FinalActivation",
    "Floats",
    "Graph",
    "Input",
    "MaxPool",
    "Maximum",
    "Minimum",
    "Multiply",
    "Node",
    "Pad",
    "Padding",
    "Pair",
    "Relu",
    "Reshape",
    "Scale",
    "Shape",
    "Sign",
    "Slice",
    "Sum",
    "SumPool",
    "Transpose",
    "check_shape",
    "require_image",
    "slide",
]
