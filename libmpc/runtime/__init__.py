"""Runs a plan as party 0, 1 or 2, over a seam to the network."""

from libmpc.runtime.bundle import Bundle, PreparedBundle
from libmpc.runtime.channel import MemoryChannel, Traffic, memory_pair
from libmpc.runtime.cost import correction_sizes, plan_cost, step_costs
from libmpc.runtime.dealer import deal
from libmpc.runtime.evaluate import Program, evaluate
from libmpc.runtime.prepare import prepare
from libmpc.runtime.preparer import Preparer
from libmpc.runtime.simulation import Simulation
from libmpc.runtime.sizes import prepared_sizes
from libmpc.runtime.streamed import StreamedBundle
from libmpc.runtime.warmup import warm_up

__all__ = [
    "Bundle",
    "MemoryChannel",
    "PreparedBundle",
    "Preparer",
    "Program",
    "Simulation",
    "StreamedBundle",
    "Traffic",
    "correction_sizes",
    "deal",
    "evaluate",
    "memory_pair",
    "plan_cost",
    "prepare",
    "prepared_sizes",
    "step_costs",
    "warm_up",
]
