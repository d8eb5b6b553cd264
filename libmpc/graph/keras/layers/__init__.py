"""One reader per class of layer."""

from __future__ import annotations

from libmpc.errors import ModelError
from libmpc.graph.keras import activations
from libmpc.graph.keras.call import Call
from libmpc.graph.keras.layers import (
    convolution,
    dense,
    merging,
    moves,
    noops,
    normalization,
    operations,
    pooling,
)
from libmpc.graph.keras.layers.refusals import reason

LAYERS = {
    **dense.READERS,
    **convolution.READERS,
    **normalization.READERS,
    **pooling.READERS,
    **moves.READERS,
    **merging.READERS,
    **activations.READERS,
    **noops.READERS,
}
"""Readers of layers, by class."""


def read_layer(call: Call) -> str:
    """Add the nodes of one call of a layer; returns the name of its result.

    Raises:
        ModelError: the layer, or a setting of it, is not supported, or its weights do not fit.
    """
    kind = call.layer.kind
    reader = operations.find(call) or LAYERS.get(kind)
    if reader is None:
        supported = ", ".join(sorted(set(LAYERS) - set(noops.AUGMENTATION)))
        raise call.refuse(reason(kind, supported))
    try:
        return reader(call)
    except ModelError as error:
        own, text = str(call.refuse("")), str(error)
        if text.startswith(own) or not text.startswith("layer "):
            raise
        # A node's own error, which names a class of node.
        raise call.refuse(text.partition("): ")[2]) from None
