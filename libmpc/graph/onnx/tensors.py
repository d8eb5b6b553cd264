"""Arrays in an ONNX file: sizes checked first, other files only from the model's own folder."""

from __future__ import annotations

import math
import os
import stat
from pathlib import Path, PurePosixPath
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from libmpc.errors import ModelError
from libmpc.graph.plan import MAX_WEIGHTS

Array: TypeAlias = NDArray[Any]

_MAX_RANK = 16
_UNSUPPORTED = {
    TensorProto.UNDEFINED,
    TensorProto.STRING,
    TensorProto.COMPLEX64,
    TensorProto.COMPLEX128,
}


def dtype_of(number: int, what: str) -> np.dtype[Any]:
    """numpy's type for ONNX's number of an element type.

    Raises:
        ModelError: text, complex numbers, or no type at all.
    """
    known = number in TensorProto.DataType.values() and number not in _UNSUPPORTED
    if not known:
        raise ModelError(f"{what} has an element type that is not supported; use float32")
    return np.dtype(helper.tensor_dtype_to_np_dtype(number))


def to_array(tensor: TensorProto, folder: Path | None, what: str) -> Array:
    """A tensor of the file as an array.

    Args:
        tensor: as parsed.
        folder: where external data may be; ``None`` forbids it.
        what: how messages call it.

    Raises:
        ModelError: it is damaged, too large, of a type that is not supported, or lies elsewhere.
    """
    shape = tuple(tensor.dims)
    dtype = dtype_of(tensor.data_type, what)
    if len(shape) > _MAX_RANK or any(d < 0 for d in shape) or math.prod(shape) > MAX_WEIGHTS:
        raise ModelError(f"{what} has the shape {shape[:_MAX_RANK]}, which is not supported")
    if tensor.HasField("segment"):
        raise ModelError(f"{what} is stored in segments, which is not supported")
    if tensor.data_location == TensorProto.EXTERNAL:
        data = _external(tensor, folder, math.prod(shape) * dtype.itemsize, what)
        tensor = TensorProto(dims=shape, data_type=tensor.data_type, raw_data=data)
    elif tensor.external_data:
        raise ModelError(f"{what} has data inside and outside of the file")
    try:
        # SECURITY: numpy_helper reads other files only for EXTERNAL tensors, which end above.
        array = np.asarray(numpy_helper.to_array(tensor))
    except Exception as error:  # noqa: BLE001 - the library raises many types for damaged tensors
        raise ModelError(
            f"{what} is damaged: its data does not fit its shape {shape} ({type(error).__name__})"
        ) from None
    if array.shape != shape:
        raise ModelError(f"{what} is damaged: its data does not fit its shape {shape}")
    return array


def _external(tensor: TensorProto, folder: Path | None, size: int, what: str) -> bytes:
    entries = {entry.key: entry.value for entry in tensor.external_data}
    location = entries.get("location", "")
    if folder is None:
        raise ModelError(
            f"{what} is in another file ({location[:80]!a}); load the model by its path, or save "
            "it with its weights inside"
        )
    try:
        offset = int(entries.get("offset", "0"))
        length = int(entries.get("length", size))
    except ValueError:
        raise ModelError(f"{what} is damaged: where its data begins or ends is unclear") from None
    if offset < 0 or length < size or length > size + 8:
        raise ModelError(f"{what} is damaged: {length} bytes of data for {size}")
    path = _inside(folder, location, what)
    try:
        # SECURITY: a link, or a device, could lead to any file that this process may read.
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        with open(descriptor, "rb") as file:  # noqa: PTH123 - it has a descriptor, not a path
            status = os.fstat(file.fileno())
            if not stat.S_ISREG(status.st_mode) or offset + size > status.st_size:
                raise ModelError(f"{what}: {location[:80]!a} is no file, or cut short")
            file.seek(offset)
            data = file.read(size)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "not a usable path"
        raise ModelError(
            f"{what} should be in {location[:80]!a} beside the model: {reason}"
        ) from None
    if len(data) != size:
        raise ModelError(f"{what}: {location[:80]!a} is cut short")
    return data


def _inside(folder: Path, location: str, what: str) -> Path:
    """The file of that name in the folder, and surely in it."""
    pure = PurePosixPath(location)
    # SECURITY: the sender chose this name; it may lead nowhere but into the model's own folder.
    parts = location.split("/")
    if (
        pure.is_absolute()
        or any(p in ("", ".", "..") for p in parts)
        or set(location) & {"\\", ":"}
    ):
        raise ModelError(f"{what} is in {location[:80]!a}, outside of the model's folder: refused")
    path = folder
    for part in parts:
        path = path / part
        if path.is_symlink():
            raise ModelError(f"{what} is in {location[:80]!a}, which is a link: refused")
    return path
