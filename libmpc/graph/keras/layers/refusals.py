"""Why a class of layer is not supported, and what to do."""

from __future__ import annotations

_STATISTICS = (
    "it divides by a statistic of every input, which has no cheap exact form on shares; train with "
    "BatchNormalization, whose statistics are constants"
)
_RECURRENT = (
    "recurrent layers need tanh and sigmoid inside the network, which have no exact form on "
    "shares; use Conv1D, or Dense with relu"
)
_ATTENTION = (
    "attention needs softmax inside the network, which has no exact form on shares; use "
    "convolutions or Dense layers"
)
_SMOOTH = (
    "it has no exact form on shares; train with ReLU, LeakyReLU, or Activation('hard_swish') in "
    "place of swish, silu or gelu"
)
_SPACE = "layers of three dimensions are not supported, use those of one or two"
_ENCODING = "it needs whole numbers or text; do this before the query, on the client's side"

_REASONS = {
    "Lambda": "it holds code, which is never run; say the same with Keras' layers",
    **dict.fromkeys(
        (
            "GroupNormalization",
            "LayerNormalization",
            "RMSNormalization",
            "UnitNormalization",
        ),
        _STATISTICS,
    ),
    **dict.fromkeys(
        ("LSTM", "GRU", "SimpleRNN", "RNN", "Bidirectional", "ConvLSTM1D", "ConvLSTM2D"),
        _RECURRENT,
    ),
    **dict.fromkeys(
        ("MultiHeadAttention", "GroupQueryAttention", "Attention", "AdditiveAttention"), _ATTENTION
    ),
    **dict.fromkeys(("ELU", "SELU", "Softplus"), _SMOOTH),
    **dict.fromkeys(
        (
            "AveragePooling3D",
            "Conv3D",
            "Conv3DTranspose",
            "Cropping3D",
            "GlobalAveragePooling3D",
            "GlobalMaxPooling3D",
            "MaxPooling3D",
            "UpSampling3D",
            "ZeroPadding3D",
        ),
        _SPACE,
    ),
    **dict.fromkeys(
        (
            "CategoryEncoding",
            "Discretization",
            "Embedding",
            "Hashing",
            "IntegerLookup",
            "StringLookup",
            "TextVectorization",
        ),
        _ENCODING,
    ),
    "ThresholdedReLU": "use ReLU(threshold=...) and save again",
    "Resizing": "resize before the query, on the client's side",
    "Masking": "masks are not supported; give every input its full length",
    "SpectralNormalization": "copy the wrapped layer, with its weights, out of it",
}


def reason(kind: str, supported: str) -> str:
    """What to say of a class of layer that has no reader."""
    known = _REASONS.get(kind)
    if known is not None:
        return f"this kind of layer is not supported: {known}"
    return f"this kind of layer is not supported; supported are {supported}"
