"""Arrays in files: ``.npy`` and ``.npz``, and nothing in them is ever executed."""

from __future__ import annotations

import contextlib
import io
import os
import secrets
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from libmpc.errors import ConfigError, InputError

ENDINGS = (".npy", ".npz")
_SAVE = "save it with numpy.save('file.npy', array)"

Array = NDArray[np.generic]


def read_array(path: Path, name: str | None = None) -> Array:
    """Read an array.

    Args:
        path: a ``.npy`` file, or a ``.npz`` file with one array.
        name: which array of a ``.npz`` file.

    Raises:
        InputError: the file is missing, is no array, has Python objects, or has several arrays.
    """
    try:
        if path.is_dir():
            raise InputError(f"{path} is a directory; a .npy or .npz file is needed")
        with path.open("rb") as file:
            magic = file.read(6)
            file.seek(0)
            if magic == b"\x93NUMPY":
                if name is not None:
                    raise InputError(f"{path} has one array and no names; leave out --array")
                return _load(file, path)
            if magic[:4] in (b"PK\x03\x04", b"PK\x05\x06"):
                return _member(file, path, name)
    except FileNotFoundError:
        raise InputError(f"there is no file {path}") from None
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror or 'it is damaged'}") from None
    what = "is empty" if not magic else "is no .npy or .npz file"
    raise InputError(f"{path} {what}; {_SAVE}")


def range_of(*arrays: Array | None) -> tuple[float, float]:
    """The least and the largest value of all; (0, 1) where one is going to be refused."""
    given = [array for array in arrays if array is not None]
    if all(x.dtype.kind in "fiub" and x.size and np.isfinite(x).all() for x in given):
        return min(float(x.min()) for x in given), max(float(x.max()) for x in given)
    return 0.0, 1.0


def check_output(path: Path) -> None:
    """Check that an array can be written, before anything is done for it.

    Raises:
        ConfigError: the ending is another, or the directory is not there or not writable.
    """
    if path.suffix not in ENDINGS:
        raise ConfigError(f"{path} must end in .npy or .npz")
    if path.is_dir():
        raise ConfigError(f"{path} is a directory")
    folder = path.absolute().parent
    if not folder.is_dir():
        raise ConfigError(f"there is no directory {folder} to write {path.name} into")
    if not os.access(folder, os.W_OK):
        raise ConfigError(f"cannot write into {folder}")


def write_array(path: Path, array: Array, name: str) -> None:
    """Write an array; the file appears whole or not at all.

    Args:
        name: what it is called in a ``.npz`` file.
    """
    content = io.BytesIO()
    if path.suffix == ".npz":
        np.savez(content, allow_pickle=False, **{name: array})
    else:
        np.save(content, array, allow_pickle=False)
    unfinished = path.with_name(f".{path.name}-{secrets.token_hex(4)}")
    try:
        unfinished.write_bytes(content.getbuffer())
        unfinished.replace(path)
    except BaseException:
        with contextlib.suppress(OSError):
            unfinished.unlink(missing_ok=True)
        raise


def _load(file: Any, path: Path) -> Array:
    try:
        array: Array = np.lib.format.read_array(file, allow_pickle=False)
    except Exception as error:  # noqa: BLE001 - parsing a damaged header raises all kinds
        if "Object arrays" in str(error):
            raise InputError(
                f"{path} has Python objects, which are not read; convert the array to numbers "
                "first: array.astype('float32')"
            ) from None
        raise InputError(f"{path} is cut short or damaged; {_SAVE}") from None
    return array


def _member(file: Any, path: Path, name: str | None) -> Array:
    try:
        archive = zipfile.ZipFile(file)
    except (zipfile.BadZipFile, ValueError):
        raise InputError(f"{path} is cut short or damaged; {_SAVE}") from None
    with archive:
        names = [entry[:-4] for entry in archive.namelist() if entry.endswith(".npy")]
        listed = ", ".join(names[:10])
        if not names:
            raise InputError(f"{path} has no arrays in it; {_SAVE}")
        if name is None and len(names) > 1:
            raise InputError(f"{path} has several arrays ({listed}); say which: --array NAME")
        if name is not None and name not in names:
            raise InputError(f"{path} has no array {name!r}; it has {listed}")
        try:
            member = archive.open(f"{name or names[0]}.npy")
        except (zipfile.BadZipFile, ValueError, RuntimeError):  # RuntimeError: encrypted
            raise InputError(f"{path} is cut short, damaged or encrypted; {_SAVE}") from None
        with member:
            return _load(member, path)
