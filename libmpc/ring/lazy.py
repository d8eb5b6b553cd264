"""Modules that are loaded when they are first used.

Kernels take a second to load, with the compiler that comes along; what a plan costs can be counted
without them.
"""

from __future__ import annotations

import sys
from importlib.machinery import ModuleSpec
from importlib.util import find_spec, module_from_spec
from threading import RLock
from types import ModuleType
from typing import Any

_lock = RLock()


class _LazyModule(ModuleType):
    """Loads itself when somebody asks for a name that it does not have yet."""

    __spec__: ModuleSpec

    def __getattr__(self, name: str) -> Any:
        if not name.startswith("__"):
            self._load()
        if name in self.__dict__:
            return self.__dict__[name]
        raise AttributeError(f"module {self.__name__!r} has no attribute {name!r}")

    def __dir__(self) -> list[str]:
        self._load()
        return list(self.__dict__)

    def _load(self) -> None:
        # Two threads may be the first at the same time; the second waits for the whole of it.
        with _lock:
            if self.__dict__.setdefault("_state", "absent") != "absent":
                return
            self._state = "loading"
            try:
                assert self.__spec__.loader is not None
                self.__spec__.loader.exec_module(self)
            except BaseException:
                self._state = "absent"
                raise
            self._state = "loaded"
            self.__class__ = ModuleType  # type: ignore[assignment]  # whose names are found quicker


def lazy_modules(package: str, *names: str) -> None:
    """Let these modules of a package be loaded at their first use, and not when it is imported."""
    parent = sys.modules[package]
    for name in names:
        full = f"{package}.{name}"
        spec = find_spec(full)
        assert spec is not None, full
        module = module_from_spec(spec)
        module.__class__ = _LazyModule
        sys.modules[full] = module
        setattr(parent, name, module)
