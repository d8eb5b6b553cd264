"""The plan: what the three parties run, step by step, as public data.

A plan has the architecture after folding and nothing that depends on a weight or an input. It is
the same for the owner, the parties and the reference; its digest is part of every bundle key and
of every run digest. Shapes are per sample (the batch dimension leads, and is not in the plan);
images are height, width, channels. A step reads values of earlier steps, given by index; a value
is read by as many steps as like to. Reshaping is implicit, since values are contiguous: a step
names the shape in which it sees what it reads.
"""

from libmpc.graph.plan.base import MAX_DIM, MAX_RANK, MAX_STEPS, MAX_VALUES, BaseStep, Kind
from libmpc.graph.plan.interactive import (
    InputStep,
    OutputStep,
    PositiveStep,
    ProductStep,
    RectifyStep,
    ReluStep,
    TruncateStep,
)
from libmpc.graph.plan.linear import BiasStep, ConvStep, DenseStep, ScaleStep
from libmpc.graph.plan.moves import (
    AddStep,
    ConcatStep,
    ExpandStep,
    LiftStep,
    PadStep,
    PermuteStep,
    SliceStep,
    SumPoolStep,
    SumStep,
)
from libmpc.graph.plan.plan import (
    MAX_JSON_BYTES,
    MAX_WEIGHTS,
    PLAN_VERSION,
    LinearStep,
    MoveStep,
    Plan,
    Step,
    WeightedStep,
)
from libmpc.graph.plan.tail import (
    IndexStep,
    LabelsStep,
    MaskStep,
    MatchStep,
    OffsetStep,
    OutputBitsStep,
    PickBitsStep,
    PickStep,
    ShiftStep,
    TailStep,
    TallyStep,
    TopStep,
    label_bits,
)
from libmpc.graph.plan.window import Window

__all__ = [
    "MAX_DIM",
    "MAX_JSON_BYTES",
    "MAX_RANK",
    "MAX_STEPS",
    "MAX_VALUES",
    "MAX_WEIGHTS",
    "PLAN_VERSION",
    "AddStep",
    "BaseStep",
    "BiasStep",
    "ConcatStep",
    "ConvStep",
    "DenseStep",
    "ExpandStep",
    "IndexStep",
    "InputStep",
    "Kind",
    "LabelsStep",
    "LiftStep",
    "LinearStep",
    "MaskStep",
    "MatchStep",
    "MoveStep",
    "OffsetStep",
    "OutputBitsStep",
    "OutputStep",
    "PadStep",
    "PermuteStep",
    "PickBitsStep",
    "PickStep",
    "Plan",
    "PositiveStep",
    "ProductStep",
    "RectifyStep",
    "ReluStep",
    "ScaleStep",
    "ShiftStep",
    "SliceStep",
    "Step",
    "SumPoolStep",
    "SumStep",
    "TailStep",
    "TallyStep",
    "TopStep",
    "TruncateStep",
    "WeightedStep",
    "Window",
    "label_bits",
]
