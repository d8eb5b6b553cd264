"""From a network (``graph.nodes``) to a plan (``graph.plan``)."""

from libmpc.graph.lowering.lower import lower
from libmpc.graph.lowering.lowered import Lowered

__all__ = ["Lowered", "lower"]
