"""The outer shell of a model file: what it is, and a zip's members, with bounds on every size."""

from __future__ import annotations

import io
import os
import stat
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

from libmpc.errors import ModelError

MAX_FILE_BYTES = 2 << 30
_HDF5 = b"\x89HDF\r\n\x1a\n"
_ZIP = b"PK\x03\x04"
_SAVE = "save the whole model with model.save('model.keras') or model.save('model.h5')"


def file_kind(path: Path) -> Literal["hdf5", "zip"]:
    """Tell what a file is by its first bytes.

    Raises:
        ModelError: missing, a directory, not a regular file, unreadable, empty, too large, or
            neither HDF5 nor a zip.
    """
    name = ascii(os.fspath(path))
    try:
        status = path.stat()
        if stat.S_ISDIR(status.st_mode):
            raise ModelError(
                f"{name} is a directory, perhaps a TensorFlow SavedModel; load it in Keras and "
                f"{_SAVE}"
            )
        if not stat.S_ISREG(status.st_mode):
            raise ModelError(f"{name} is not a regular file")
        if status.st_size > MAX_FILE_BYTES:
            raise ModelError(f"{name} has more than {MAX_FILE_BYTES} bytes")
        with path.open("rb") as file:
            start = file.read(8)
    except FileNotFoundError:
        raise ModelError(f"there is no file {name}") from None
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "not a usable path"
        raise ModelError(f"cannot read {name}: {reason}") from None
    if not start:
        raise ModelError(f"{name} is empty")
    if start == _HDF5:
        return "hdf5"
    if start.startswith(_ZIP):
        return "zip"
    raise ModelError(
        f"{name} is not a Keras model (.keras or .h5), nor named as an ONNX one (.onnx); "
        f"in Keras, {_SAVE}"
    )


@contextmanager
def opened_zip(path: Path) -> Iterator[zipfile.ZipFile]:
    """A zip file; what Python's reader stumbles over becomes a ``ModelError``."""
    try:
        with zipfile.ZipFile(path) as archive:
            yield archive
    except (
        zipfile.BadZipFile,
        zlib.error,
        EOFError,
        OSError,
        ValueError,
        NotImplementedError,
        RuntimeError,
        KeyError,
        UnicodeError,
        OverflowError,
    ) as error:
        raise ModelError(
            f"{os.fspath(path)!a} is damaged or cut short: not a readable zip file "
            f"({type(error).__name__}); copy or save it again"
        ) from None


def member(archive: zipfile.ZipFile, name: str, limit: int) -> bytes:
    """A member's bytes, unpacked.

    Raises:
        ModelError: missing, there twice, encrypted, packed in an unusual way, or larger than
            ``limit``, whatever its header says.
    """
    found = [info for info in archive.infolist() if info.filename == name]
    if not found:
        raise ModelError(f"the zip file has no {name}: not a Keras model; {_SAVE}")
    info = found[0]
    if len(found) > 1 or info.flag_bits & 1:
        raise ModelError(f"{name} is in the zip file twice, or encrypted")
    if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise ModelError(f"{name} is compressed in a way that is not supported")
    with archive.open(info) as file:
        out = io.BytesIO()
        while block := file.read(1 << 20):
            out.write(block)
            if out.tell() > limit:
                raise ModelError(f"{name} unpacks to more than {limit} bytes")
        return out.getvalue()
