"""One reader per class of layer."""

from __future__ import annotations

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
    if (operation := operations.find(call)) is not None:
        return operation(call)
    if kind not in LAYERS:
        supported = ", ".join(sorted(set(LAYERS) - set(noops.AUGMENTATION)))
        raise call.refuse(reason(kind, supported))
    return LAYERS[kind](call)
