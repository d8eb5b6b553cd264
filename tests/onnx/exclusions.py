"""ONNX's tests that are left out, each with its reason; names without ``test_``."""

from __future__ import annotations

_GROUPS: dict[str, str] = {
    "NaN or infinity among its inputs, which fixed point does not have": """
        cast_BFLOAT16_to_FLOAT cast_DOUBLE_to_FLOAT cast_DOUBLE_to_FLOAT16
        cast_FLOAT16_to_DOUBLE cast_FLOAT16_to_FLOAT cast_FLOAT16_to_FLOAT4E2M1
        cast_FLOAT16_to_FLOAT8E4M3FN cast_FLOAT16_to_FLOAT8E4M3FNUZ cast_FLOAT16_to_FLOAT8E5M2
        cast_FLOAT16_to_FLOAT8E5M2FNUZ cast_FLOAT8E4M3FNUZ_to_FLOAT
        cast_FLOAT8E4M3FNUZ_to_FLOAT16 cast_FLOAT8E4M3FN_to_FLOAT cast_FLOAT8E4M3FN_to_FLOAT16
        cast_FLOAT8E5M2FNUZ_to_FLOAT cast_FLOAT8E5M2FNUZ_to_FLOAT16 cast_FLOAT8E5M2_to_FLOAT
        cast_FLOAT8E5M2_to_FLOAT16 cast_FLOAT_to_BFLOAT16 cast_FLOAT_to_DOUBLE
        cast_FLOAT_to_FLOAT16 cast_FLOAT_to_FLOAT4E2M1 cast_FLOAT_to_FLOAT8E4M3FN
        cast_FLOAT_to_FLOAT8E4M3FNUZ cast_FLOAT_to_FLOAT8E5M2 cast_FLOAT_to_FLOAT8E5M2FNUZ
        cast_no_saturate_FLOAT16_to_FLOAT8E4M3FN cast_no_saturate_FLOAT16_to_FLOAT8E4M3FNUZ
        cast_no_saturate_FLOAT16_to_FLOAT8E5M2 cast_no_saturate_FLOAT16_to_FLOAT8E5M2FNUZ
        cast_no_saturate_FLOAT_to_FLOAT8E4M3FN cast_no_saturate_FLOAT_to_FLOAT8E4M3FNUZ
        cast_no_saturate_FLOAT_to_FLOAT8E5M2 cast_no_saturate_FLOAT_to_FLOAT8E5M2FNUZ
        castlike_BFLOAT16_to_FLOAT_expanded castlike_DOUBLE_to_FLOAT16_expanded
        castlike_DOUBLE_to_FLOAT_expanded castlike_FLOAT16_to_DOUBLE_expanded
        castlike_FLOAT16_to_FLOAT4E2M1_expanded castlike_FLOAT16_to_FLOAT8E4M3FNUZ_expanded
        castlike_FLOAT16_to_FLOAT8E4M3FN_expanded castlike_FLOAT16_to_FLOAT8E5M2FNUZ_expanded
        castlike_FLOAT16_to_FLOAT8E5M2_expanded castlike_FLOAT16_to_FLOAT_expanded
        castlike_FLOAT8E4M3FNUZ_to_FLOAT16_expanded castlike_FLOAT8E4M3FNUZ_to_FLOAT_expanded
        castlike_FLOAT8E4M3FN_to_FLOAT16_expanded castlike_FLOAT8E4M3FN_to_FLOAT_expanded
        castlike_FLOAT8E5M2FNUZ_to_FLOAT16_expanded castlike_FLOAT8E5M2FNUZ_to_FLOAT_expanded
        castlike_FLOAT8E5M2_to_FLOAT16_expanded castlike_FLOAT8E5M2_to_FLOAT_expanded
        castlike_FLOAT_to_BFLOAT16_expanded castlike_FLOAT_to_DOUBLE_expanded
        castlike_FLOAT_to_FLOAT16_expanded castlike_FLOAT_to_FLOAT4E2M1_expanded
        castlike_FLOAT_to_FLOAT8E4M3FNUZ_expanded castlike_FLOAT_to_FLOAT8E4M3FN_expanded
        castlike_FLOAT_to_FLOAT8E5M2FNUZ_expanded castlike_FLOAT_to_FLOAT8E5M2_expanded
        castlike_no_saturate_FLOAT16_to_FLOAT8E4M3FNUZ_expanded
        castlike_no_saturate_FLOAT16_to_FLOAT8E4M3FN_expanded
        castlike_no_saturate_FLOAT16_to_FLOAT8E5M2FNUZ_expanded
        castlike_no_saturate_FLOAT16_to_FLOAT8E5M2_expanded
        castlike_no_saturate_FLOAT_to_FLOAT8E4M3FNUZ_expanded
        castlike_no_saturate_FLOAT_to_FLOAT8E4M3FN_expanded
        castlike_no_saturate_FLOAT_to_FLOAT8E5M2FNUZ_expanded
        castlike_no_saturate_FLOAT_to_FLOAT8E5M2_expanded
    """,
    "division of integers, which rounds towards zero; layers divide real numbers": """
        div_int16 div_int32_trunc div_int8 div_uint16 div_uint32 div_uint64 div_uint8
    """,
    "training mode; the answer depends on the batch, or on chance": """
        batchnorm_epsilon_training_mode batchnorm_example_training_mode training_dropout
        training_dropout_default training_dropout_default_mask training_dropout_mask
    """,
    "its inputs are uninitialised memory, up to 10^200; fixed point ends at 32768": """
        operator_add_broadcast operator_add_size1_right_broadcast
        operator_add_size1_singleton_broadcast operator_addconstant
    """,
    "asks for the places of the largest values too, integers that depend on the input": """
        maxpool_with_argmax_2d_precomputed_pads maxpool_with_argmax_2d_precomputed_strides
    """,
    (
        "a sigmoid amid the network; it is no piecewise-linear function, and is left to the "
        "client at the end"
    ): """
        GLU GLU_dim
    """,
    "its input is a sequence or an optional value, not a tensor": """
        identity_opt identity_sequence
    """,
    (
        "its made-up weights lead to values beyond 32768, where fixed point ends; refused before "
        "it runs"
    ): """
        resnet50 squeezenet
    """,
    "144 million weights made of nothing: constants in a file may not grow that far": """
        vgg19
    """,
}

EXCLUDED: dict[str, str] = {
    f"test_{name}": reason for reason, names in _GROUPS.items() for name in names.split()
}
