"""No kernel mixes ring elements with signed or floating numbers.

In numba ``uint64 op int`` silently becomes int64 for +, - and *, and float64 elsewhere; a right
shift of it would then be another operation.
"""

import importlib
import re
from pathlib import Path
from typing import Any

import numba
import pytest
from numba.core import compiler, ir, registry, typed_passes, types

import libmpc

MODULES = (
    "libmpc.ring.conv",
    "libmpc.ring.linear",
    "libmpc.ring.matmul_pack",
    "libmpc.ring.matmul_tiles",
    "libmpc.ring.transfer",
    "libmpc.protocol.combine_kernels",
    "libmpc.protocol.compare_kernels",
    "libmpc.protocol.compare_deal_kernels",
    "libmpc.protocol.select_kernels",
    "libmpc.protocol.select_deal_kernels",
    "libmpc.protocol.pick_kernels",
    "libmpc.protocol.top_kernels",
    "libmpc.protocol.wide_deal_kernels",
    "libmpc.protocol.wide_kernels",
)


def kernels() -> list[Any]:
    found = []
    for name in MODULES:
        module = importlib.import_module(name)
        values = (getattr(module, name) for name in dir(module))
        found += [value for value in values if getattr(value, "nopython_signatures", None)]
    return found


def is_word(kind: Any) -> bool:
    return kind == types.uint64


def infer(kernel: Any) -> tuple[Any, dict[str, Any]]:
    frontend = compiler.run_frontend(kernel.py_func)
    for block in frontend.blocks.values():  # numba's own passes do this before types are inferred
        block.body = [
            ir.StaticRaise(None, None, statement.loc)
            if isinstance(statement, ir.Raise)
            else statement
            for statement in block.body
        ]
    arguments = kernel.nopython_signatures[0].args
    target = registry.cpu_target
    target.target_context.refresh()
    target.typing_context.refresh()
    inferred = typed_passes.type_inference_stage(
        target.typing_context, target.target_context, frontend, arguments, None
    )
    return frontend, inferred.typemap


def test_all_kernels_are_found() -> None:
    names = {kernel.py_func.__name__ for kernel in kernels()}
    assert {"matmul_add", "im2col", "sum_pool", "pack_words", "add_pack"} <= names
    assert {"depthwise_add", "grouped_matmul_add", "pack_tiles", "tiles_matmul_add"} <= names
    for step in ("relu", "truncate", "sign"):
        assert {f"compare_{step}", f"combine_{step}"} <= names
    assert {"deal_sign", "deal_borrow"} <= names
    assert {"compare_wide", "combine_wide", "deal_wide", "deal_one_hot", "choose_pick"} <= names
    for step in ("relu", "truncate", "rectify", "positive"):
        assert {f"choose_{step}", f"deal_{step}"} <= names


def test_every_module_with_kernels_is_looked_at() -> None:
    package = Path(libmpc.__file__).parent
    files = [*package.glob("ring/*.py"), *package.glob("protocol/*.py")]
    found = {
        f"libmpc.{file.parent.name}.{file.stem}"
        for file in files
        if re.search(r"^@kernel\(", file.read_text(), re.MULTILINE)
    }
    assert found == set(MODULES)


@pytest.mark.parametrize("kernel", kernels(), ids=lambda kernel: kernel.py_func.__name__)
def test_kernel_computes_in_uint64(kernel: Any) -> None:
    returned = kernel.nopython_signatures[0].return_type
    parts = list(returned) if isinstance(returned, types.BaseTuple) else [returned]
    assert all(is_word(part) or part == types.none for part in parts)

    frontend, typemap = infer(kernel)
    assert not [name for name, kind in typemap.items() if isinstance(kind, types.Float)]
    for block in frontend.blocks.values():
        for statement in block.body:
            if isinstance(statement, ir.SetItem):
                array = typemap[statement.target.name]
                value = typemap[statement.value.name]
                stores_zero = isinstance(value, types.IntegerLiteral) and value.literal_value == 0
                if array.dtype == types.uint64:
                    assert is_word(value) or stores_zero, statement
            value = getattr(statement, "value", None)
            if isinstance(value, ir.Expr) and value.op in ("binop", "inplace_binop"):
                sides = {is_word(typemap[side.name]) for side in (value.lhs, value.rhs)}
                assert len(sides) == 1, f"mixed types in {statement}"


def test_the_check_notices_a_literal() -> None:
    def careless(x: Any) -> Any:
        return x + 1

    compiled = numba.njit([(types.uint64,)])(careless)
    with pytest.raises(AssertionError):
        test_kernel_computes_in_uint64(compiled)
