"""The protocol's steps, one file each.

In each the dealer's half, the evaluators' half and the declared cost stand side by side. A step
takes what it needs (randomness, channel) as arguments; one that takes no channel does not talk.
"""

from pkgutil import iter_modules

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
from libmpc.ring.lazy import lazy_modules

# What a step costs is known without its kernels.
lazy_modules(__name__, *(m.name for m in iter_modules(__path__) if m.name.endswith("_kernels")))

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
