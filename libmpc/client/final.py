"""What a network does last, with its logits in the clear at the client: softmax, argmax, ..."""

from __future__ import annotations

from typing import TypeAlias, cast

import numpy as np
from numpy.typing import NDArray

from libmpc.wire.descriptor import Descriptor
from libmpc.wire.final import read_final

Answer: TypeAlias = NDArray[np.float64] | NDArray[np.int64]

_NAMES = {
    "softmax": "probabilities",
    "log_softmax": "log-probabilities",
    "sigmoid": "probabilities",
    "argmax": "labels",
}


def finish(descriptor: Descriptor, logits: Answer) -> Answer:
    """The model's final activation of a batch of logits; floating point, so not exact to the bit.

    Returns:
        as the logits, or for argmax the integer indices, without the axis.
    """
    from libmpc.graph.floating import apply_final
    from libmpc.graph.nodes import FinalActivation

    kind, axis = read_final(descriptor.final_activation)
    return apply_final(cast(FinalActivation | None, kind), logits.astype(np.float64), axis)


def describe_output(descriptor: Descriptor) -> str:
    """What ``finish`` returns, in a word."""
    kind, _ = read_final(descriptor.final_activation)
    return _NAMES.get(kind or "", "logits")
