"""Reading HDF5 from a stranger: hard links, plain arrays of floats, sizes checked first."""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeAlias

import h5py  # type: ignore[import-untyped]
import numpy as np

from libmpc.errors import ModelError
from libmpc.graph.keras.settings import MAX_CONFIG_BYTES
from libmpc.graph.nodes import Floats, Shape
from libmpc.graph.plan import MAX_WEIGHTS

Group: TypeAlias = Any  # h5py has no types

_FILTERS = (h5py.h5z.FILTER_DEFLATE, h5py.h5z.FILTER_SHUFFLE, h5py.h5z.FILTER_FLETCHER32)
_MAX_NAMES = 1 << 14
_MAX_CHUNK = 1 << 28
_SMALL = 1 << 20
_MAX_EXPANSION = 64


@contextmanager
def opened(source: Path | io.BytesIO, what: str) -> Iterator[Group]:
    """An HDF5 file; whatever the library stumbles over becomes a ``ModelError``."""
    try:
        with h5py.File(source, "r", locking=False) as file:
            yield file
    except ModelError:
        raise
    except Exception as error:  # noqa: BLE001 - h5py raises nearly every type there is for damaged files
        raise ModelError(
            f"{what} is damaged or cut short: the HDF5 library cannot read it "
            f"({type(error).__name__}); copy or save it again"
        ) from None


def child(group: Group, name: str) -> Group | None:
    """A member of a group, or ``None``; ``/`` in the name walks down.

    Raises:
        ModelError: a link on the way leads elsewhere, into another file perhaps.
    """
    for part in name.split("/"):
        if part in ("", ".", "..") or not isinstance(group, h5py.Group):
            return None
        # SECURITY: a soft or external link could name any file that this process may read.
        link = group.get(part, getlink=True)
        if link is None:
            return None
        if type(link) is not h5py.HardLink:
            raise ModelError(f"{part!a} is a link to elsewhere; links are not allowed")
        group = group[part]
    return group


def members(group: Group) -> list[str]:
    """The names in a group; none where it is something else."""
    return list(group.keys()) if isinstance(group, h5py.Group) else []


def text(item: Group, attribute: str, what: str) -> str | None:
    """A string attribute, or ``None`` where there is none."""
    value = _attribute(item, attribute, 1)
    if value is None:
        return None
    found = value[0]
    if len(found) > MAX_CONFIG_BYTES:
        raise ModelError(f"{what} is longer than {MAX_CONFIG_BYTES} bytes")
    return found


def names(item: Group, attribute: str) -> list[str] | None:
    """An attribute that is a list of strings, or ``None`` where there is none.

    A long list is in parts, whose attributes are numbered.
    """
    found = _attribute(item, attribute, _MAX_NAMES)
    if found is None and f"{attribute}0" in item.attrs:
        found, number = [], 0
        while (part := _attribute(item, f"{attribute}{number}", _MAX_NAMES)) is not None:
            found, number = found + part, number + 1
            if len(found) > _MAX_NAMES:
                raise ModelError(f"the attribute {attribute!a} is too long")
    return found


def array(dataset: Group, shape: Shape, what: str) -> Floats:
    """A dataset of exactly this shape, as float64.

    Raises:
        ModelError: it is no array of floats, has another shape, or lies outside the file.
    """
    if not isinstance(dataset, h5py.Dataset):
        raise ModelError(f"{what} is not an array")
    if dataset.shape != shape:
        raise ModelError(f"{what} has shape {dataset.shape}, the layer needs {shape}")
    if dataset.size > MAX_WEIGHTS:
        raise ModelError(f"{what} has more than {MAX_WEIGHTS} values")
    if dataset.dtype.kind != "f" or dataset.dtype.itemsize not in (2, 4, 8):
        raise ModelError(f"{what} has dtype {dataset.dtype}; save the model as float32 or float64")
    # SECURITY: such a dataset is read from other files, which the sender chose.
    if dataset.is_virtual or dataset.external:
        raise ModelError(f"{what} refers to another file, which is not allowed")
    properties = dataset.id.get_create_plist()
    if dataset.chunks is not None and int(np.prod(dataset.chunks, dtype=object)) > _MAX_CHUNK:
        raise ModelError(f"{what} is stored in chunks that are too large")
    # SECURITY: an unknown filter makes the library look for a plug-in to load and run.
    if any(properties.get_filter(i)[0] not in _FILTERS for i in range(properties.get_nfilters())):
        raise ModelError(f"{what} is compressed in a way that is not supported, only gzip is")
    size, stored = dataset.size * dataset.dtype.itemsize, dataset.id.get_storage_size()
    if size > _SMALL and size > stored * _MAX_EXPANSION:
        raise ModelError(f"{what} unpacks to {size} bytes from {stored}: that is no trained layer")
    values: Floats = dataset[()].astype(np.float64)
    return values


def _attribute(item: Group, name: str, most: int) -> list[str] | None:
    if name not in item.attrs:
        return None
    handle = item.attrs.get_id(name)
    count = int(np.prod(handle.shape or (1,), dtype=object)) if handle.shape != (0,) else 0
    kind = handle.dtype.kind
    # Strings of variable length are objects to h5py, and so are references, which are not wanted.
    plain = kind == "S" or h5py.check_string_dtype(handle.dtype) is not None
    if len(handle.shape) > 1 or count > most:
        raise ModelError(f"the attribute {name!a} has the wrong shape")
    if count == 0:
        return []  # an empty list is stored as an empty array of floats
    if not plain or handle.dtype.itemsize > MAX_CONFIG_BYTES:
        raise ModelError(f"the attribute {name!a} is not text")
    value = np.atleast_1d(np.asarray(item.attrs[name], dtype=object))
    return [v.decode("utf-8") if isinstance(v, bytes) else str(v) for v in value]
