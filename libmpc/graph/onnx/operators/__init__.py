"""One reader per ONNX operator, by name; and for well-known others why there is none."""

from __future__ import annotations

from libmpc.graph.onnx.operators import (
    convolution,
    elementwise,
    linear,
    moves,
    padding,
    pooling,
    reduce,
    resize,
    tails,
)
from libmpc.graph.onnx.operators.registry import Reader

__all__ = ["READERS", "Reader", "why_not"]

READERS: dict[str, Reader] = {
    **convolution.READERS,
    **elementwise.READERS,
    **linear.READERS,
    **moves.READERS,
    **padding.READERS,
    **pooling.READERS,
    **reduce.READERS,
    **resize.READERS,
    **tails.READERS,
}

_CURVED = "is not piecewise linear; train the network with Relu, HardSwish or HardSigmoid instead"
_BY_DATA = "normalises by statistics of the input itself; use BatchNormalization instead"
_LOOPS = "has a body that runs as often as values say; export the model without loops or branches"
_MEMORY = "is recurrent; only feed-forward networks are supported"
_INTEGERS = "is for integer arithmetic; export the model before it is quantised"
_SECRETS = "multiplies values that both depend on the input"
_WHY: dict[str, str] = {
    name: reason
    for reason, names in (
        (
            _CURVED,
            "Celu Cos Elu Erf Exp Gelu Log Mish Pow Reciprocal Selu Sin Softplus Softsign Sqrt "
            "Swish Tanh",
        ),
        (
            _BY_DATA,
            "GroupNormalization InstanceNormalization LRN LayerNormalization LpNormalization "
            "MeanVarianceNormalization RMSNormalization",
        ),
        (_LOOPS, "If Loop Scan SequenceMap"),
        (_MEMORY, "GRU LSTM RNN"),
        (_SECRETS, "Attention Einsum"),
        (
            _INTEGERS,
            "ConvInteger DequantizeLinear DynamicQuantizeLinear MatMulInteger QLinearConv "
            "QLinearMatMul QuantizeLinear",
        ),
    )
    for name in names.split()
}


def why_not(kind: str) -> str:
    """The reason why an operator without a reader has none, and what to do."""
    if kind in _WHY:
        return f"is not supported: it {_WHY[kind]}"
    listed = ", ".join(sorted(READERS))
    return f"this operator is not supported; supported are {listed}"
