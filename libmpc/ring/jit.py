"""One typed door to numba, whose decorators have no types of their own.

Every kernel is compiled for explicit argument types, without the interpreter lock, and cached on
disk. Array arguments that are only read may be read-only and unaligned, so that a frame from the
network can be used without a copy; those that are changed (INOUT) may be unaligned, so that one can
be written in place.
"""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from libmpc.ring.turns import turn

_numba: Any = importlib.import_module("numba")
_types: Any = importlib.import_module("numba.core.types")
_cgutils: Any = importlib.import_module("numba.core.cgutils")
_runtime: Any = importlib.import_module("numba.core.runtime")
_compiler_lock: Any = importlib.import_module("numba.core.compiler_lock").global_compiler_lock
llvm: Any = importlib.import_module("llvmlite.ir")
"""What ``written`` functions are written with."""

F = TypeVar("F", bound=Callable[..., Any])


def _array(dtype: Any, ndim: int, *, out: bool) -> Any:
    if out:
        return _types.Array(dtype, ndim, "C")
    return _types.Array(dtype, ndim, "C", readonly=True, aligned=False)


U64: Any = _types.uint64
INT: Any = _types.int64
IN8: Any = _array(_types.uint8, 1, out=False)
IN16: Any = _array(_types.uint16, 1, out=False)
IN64: Any = _array(_types.uint64, 1, out=False)
IN64_2D: Any = _array(_types.uint64, 2, out=False)
IN64_3D: Any = _array(_types.uint64, 3, out=False)
IN64_4D: Any = _array(_types.uint64, 4, out=False)
INOUT16: Any = _types.Array(_types.uint16, 1, "C", aligned=False)
INOUT64_2D: Any = _types.Array(_types.uint64, 2, "C", aligned=False)
OUT8: Any = _array(_types.uint8, 1, out=True)
OUT16: Any = _array(_types.uint16, 1, out=True)
OUT64: Any = _array(_types.uint64, 1, out=True)
OUT64_2D: Any = _array(_types.uint64, 2, out=True)
OUT64_3D: Any = _array(_types.uint64, 3, out=True)
OUT64_4D: Any = _array(_types.uint64, 4, out=True)


def kernel(*arguments: Any) -> Callable[[F], F]:
    """Compile a function for these argument types now; the return type is inferred."""

    def compile_now(function: F) -> F:
        options = {"nogil": True, "boundscheck": False, "error_model": "numpy"}
        try:
            compiled = _numba.njit(cache=True, **options)(function)
            if not _numba.config.DISABLE_JIT:
                _compile(compiled, arguments)
        except (OSError, RuntimeError) as error:
            if isinstance(error, RuntimeError) and "no locator available" not in str(error):
                raise
            # A read-only installation without a writable cache directory, or an image's kernels
            # for another processor: compile every time.
            compiled = _numba.njit([arguments], **options)(function)
        result: F = compiled
        return result

    return compile_now


def _compile(dispatcher: Any, arguments: tuple[Any, ...]) -> None:
    """Load or compile a kernel for these types, once for all processes, and for no others."""
    name = f"{dispatcher.py_func.__module__}.{dispatcher.py_func.__qualname__}"
    with turn(Path(dispatcher.stats.cache_path), name):
        if not _load(dispatcher, arguments):
            dispatcher.compile(arguments)
    dispatcher.disable_compile()


def _load(dispatcher: Any, arguments: tuple[Any, ...]) -> bool:
    """Take a kernel out of the cache, as numba's ``compile`` does; says whether it was there.

    Numba imports everything that it can compile with before it looks, which takes as long as all
    the rest of a party's start. A kernel that is compiled needs its runtime only.
    """
    try:
        context, cache = dispatcher.targetctx, dispatcher._cache
        _runtime.rtsys.initialize(context)
        with cache._guard_against_spurious_io_errors(), _compiler_lock:
            result = cache._load_overload(arguments, context)
            if result is None:
                return False
            dispatcher._cache_hits[arguments] += 1
            context.insert_user_function(result.entry_point, result.fndesc, [result.library])
            dispatcher.add_overload(result)
    except AttributeError:  # these names are numba's own; another release may have others
        return False
    return bool(dispatcher.overloads)


def inline(function: F) -> F:
    """A small function for use inside kernels of the same file; compiled with its caller."""
    compiled: F = _numba.njit(inline="never", nogil=True, error_model="numpy")(function)
    return compiled


@dataclass(frozen=True)
class WrittenArray:
    """A C-contiguous array argument in LLVM's language.

    Attributes:
        data: pointer to the first element.
        shape: one 64-bit number per dimension.
    """

    data: Any
    shape: tuple[Any, ...]


def written(plain: F, *arguments: Any) -> Callable[[Callable[..., None]], F]:
    """A function without result for use inside kernels, as LLVM instructions of our own.

    The decorated function writes them: it is called with llvmlite's builder and one value per
    argument, a ``WrittenArray`` for an array. It must be in the file of the kernels that use it:
    cached kernels are compiled again when that file has changed, and no other.

    Args:
        plain: the same in Python, used where numba's compiler is switched off.
        arguments: the types of its arguments.
    """

    def wrap(write: Callable[..., None]) -> F:
        if _numba.config.DISABLE_JIT:
            return plain

        def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
            given = []
            for kind, value in zip(signature.args, values, strict=True):
                if isinstance(kind, _types.Array):
                    array = context.make_array(kind)(context, builder, value)
                    shape = tuple(_cgutils.unpack_tuple(builder, array.shape))
                    given.append(WrittenArray(array.data, shape))
                else:
                    given.append(value)
            write(builder, *given)
            return context.get_dummy_value()

        def define(typing_context: Any, *given: Any) -> Any:
            return _types.void(*arguments), generate

        # Numba reads the number of arguments here.
        first = list(inspect.signature(define).parameters.values())[:1]
        others = list(inspect.signature(plain).parameters.values())
        define.__signature__ = inspect.Signature(first + others)  # type: ignore[attr-defined]
        compiled: F = _numba.extending.intrinsic(define)
        return compiled

    return wrap
