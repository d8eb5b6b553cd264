"""Runs a plan as party 0, 1 or 2, over a seam to the network."""

from libmpc.runtime.bundle import PreparedBundle
from libmpc.runtime.channel import MemoryChannel, Traffic, memory_pair
from libmpc.runtime.cost import correction_sizes, plan_cost, step_costs
from libmpc.runtime.dealer import deal
from libmpc.runtime.evaluate import evaluate
from libmpc.runtime.prepare import prepare
from libmpc.runtime.simulation import Simulation
from libmpc.runtime.warmup import warm_up

__all__ = [
    "MemoryChannel",
    "PreparedBundle",
    "Simulation",
    "Traffic",
    "correction_sizes",
    "deal",
    "evaluate",
    "memory_pair",
    "plan_cost",
    "prepare",
    "step_costs",
    "warm_up",
]
