"""The machine code of the matrix product: what it consists of, and that it is compiled once."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import llvmlite.binding as llvm
import pytest
from llvmlite import ir

import libmpc
from libmpc.ring import matmul_tiles
from libmpc.ring.jit import WrittenArray

_PACKAGE = Path(libmpc.__file__).parent
_SCRIPT = """
import numpy as np
from libmpc.ring import matmul, matmul_pack, matmul_tiles
out = np.zeros((3, 18), np.uint64)
packed = matmul.PackedMatrix.of(np.full((5, 18), 2**64 - 3, np.uint64))
matmul.matmul_add(np.full((3, 5), 2**64 - 7, np.uint64), packed, out)
assert (out == 105).all()
for kernel in (matmul_pack.pack_tiles, matmul_tiles.tiles_matmul_add):
    print(sum(kernel.stats.cache_hits.values()), sum(kernel.stats.cache_misses.values()))
"""


def _inner_loop(triple: str, processor: str) -> list[str]:
    """Assembler of the loop over a tile's rows, two rows of x at a time."""
    word = ir.IntType(64)
    module = ir.Module()
    kind = ir.FunctionType(ir.VoidType(), [word.as_pointer()] * 3 + [word] * 8)
    function = ir.Function(module, kind, "tile")
    builder = ir.IRBuilder(function.append_basic_block())
    x, tiles, out, inputs, outputs, row, k, depth, t, r, c = function.args
    arrays = (
        WrittenArray(x, (row, inputs)),
        WrittenArray(tiles, (t, inputs, c)),
        WrittenArray(out, (row, outputs)),
    )
    matmul_tiles._write(2, 1)(builder, arrays[0], row, k, depth, arrays[1], t, arrays[2], r, c)
    builder.ret_void()
    llvm.initialize_all_targets()
    llvm.initialize_all_asmprinters()
    machine = llvm.Target.from_triple(triple).create_target_machine(cpu=processor, opt=3)
    code = machine.emit_assembly(llvm.parse_assembly(str(module)))
    blocks = re.split(r"^\.LBB\d+_\d+:.*$", code, flags=re.MULTILINE)
    loops = [re.split(r"\n\s*j|\n\s*b\.", block)[0] for block in blocks]
    return max(loops, key=lambda loop: len(re.findall("mul|ml", loop))).split("\n")


@pytest.mark.parametrize(
    ("triple", "processor", "wide", "narrow"),
    [
        ("x86_64-unknown-linux-gnu", "x86-64-v3", ("vpmuludq", 8), ("vpmullw", 4)),
        ("x86_64-unknown-linux-gnu", "x86-64", ("pmuludq", 16), ("pmullw", 8)),
        ("aarch64-unknown-linux-gnu", "generic", ("umlal", 16), ("mla", 8)),
    ],
)
def test_few_instructions(
    triple: str, processor: str, wide: tuple[str, int], narrow: tuple[str, int]
) -> None:
    words = [line.split() for line in _inner_loop(triple, processor) if line.strip()]
    names = [re.sub(r"2$", "", line[0]) for line in words]
    for name, count in (wide, narrow):
        assert names.count(name) == count
    multiplications = [name for name in names if "mul" in name or "mla" in name or "madd" in name]
    assert len(multiplications) == wide[1] + narrow[1]
    if processor == "x86-64-v3":
        assert not any("rsp" in part for line in words for part in line), "sums left the registers"


def _hits_and_misses(env: dict[str, str], folder: Path) -> list[str]:
    result = subprocess.run(
        [sys.executable, "-c", _SCRIPT],
        cwd=folder,  # the first place where libmpc is looked for
        env={**os.environ, **env},
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    return result.stdout.split("\n")[:2]


def test_a_second_process_compiles_nothing(tmp_path: Path) -> None:
    env = {"NUMBA_CACHE_DIR": str(tmp_path)}
    assert _hits_and_misses(env, _PACKAGE.parent) == ["0 1"] * 2
    assert _hits_and_misses(env, _PACKAGE.parent) == ["1 0"] * 2


def test_an_image_has_compiled_code_beside_its_source(tmp_path: Path) -> None:
    """As in images: for any processor of the kind, found by our own locator."""
    target = tmp_path / "libmpc"
    target.mkdir()
    for name in ("__init__.py", "_version.py", "errors.py"):
        shutil.copy(_PACKAGE / name, target)
    shutil.copytree(_PACKAGE / "ring", target / "ring", ignore=lambda *_: ["__pycache__"])
    env = {
        "PYTHONDONTWRITEBYTECODE": "1",
        "NUMBA_CPU_NAME": "generic",
        "NUMBA_CPU_FEATURES": "",
        "NUMBA_CACHE_LOCATOR_CLASSES": "libmpc.ring.shipped.ShippedKernels",
    }
    assert _hits_and_misses(env, tmp_path) == ["0 1"] * 2
    assert list((target / "ring" / "__pycache__").glob("matmul_tiles.*.nbc"))
    assert _hits_and_misses(env, tmp_path) == ["1 0"] * 2
