"""The protocol's steps, one file each.

In each the dealer's half, the evaluators' half and the declared cost stand side by side. A step
takes what it needs (randomness, channel) as arguments; one that takes no channel does not talk.
"""

from libmpc.protocol.compute import Compute
from libmpc.protocol.cost import Cost
from libmpc.protocol.errors import ProtocolError
from libmpc.protocol.exchange import Exchange, Payload, round_tag
from libmpc.protocol.weights import (
    DealerWeights,
    EncodedWeights,
    EvaluatorWeights,
    WeightShares,
    payload_bytes,
    share_weights,
)

__all__ = [
    "Compute",
    "Cost",
    "DealerWeights",
    "EncodedWeights",
    "EvaluatorWeights",
    "Exchange",
    "Payload",
    "ProtocolError",
    "WeightShares",
    "payload_bytes",
    "round_tag",
    "share_weights",
]
