"""What all wire documents have in common: JSON, signed as sent, parsed strictly."""

from __future__ import annotations

import json
from typing import Any, ClassVar, Self

from pydantic import BaseModel, ConfigDict, ValidationError

from libmpc.wire.errors import WireError
from libmpc.wire.fields import MAX_VALUES, BytesLike, Version, too_many_values

_MAX_FAULTS = 256


class _DuplicateError(ValueError):
    pass


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise _DuplicateError
    return found


class Document(BaseModel):
    """A JSON object with a fixed set of fields, all of which are present on the wire.

    A document's bytes are signed and hashed as they were sent and never encoded again by a
    receiver, so two implementations need not agree on white space or the spelling of numbers.
    """

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        strict=True,
        allow_inf_nan=False,
        hide_input_in_errors=True,
    )

    LABEL: ClassVar[str]
    """The context label under which a document of this kind is signed; its name in messages."""
    MAX_BYTES: ClassVar[int] = 16384
    MAX_VALUES: ClassVar[int] = MAX_VALUES

    version: Version = 1

    def encode(self) -> bytes:
        """UTF-8 JSON with sorted keys, without white space."""
        fields = self.model_dump(mode="json")
        return json.dumps(fields, sort_keys=True, separators=(",", ":")).encode()

    @classmethod
    def parse(cls, data: BytesLike) -> Self:
        """Read a document from a stranger.

        Raises:
            WireError: too long or of too many values, no UTF-8 JSON object, a field missing,
                unknown, twice, of another type or out of bounds, or a version that this release
                does not know.
        """
        if len(data) > cls.MAX_BYTES:
            raise WireError(f"the {cls.LABEL} has more than {cls.MAX_BYTES} bytes")
        data = bytes(data)
        if too_many_values(data, cls.MAX_VALUES):
            raise WireError(f"the {cls.LABEL} has more than {cls.MAX_VALUES} values")
        try:
            # pydantic first: its parser bounds the depth before json's recursive one sees it.
            document = cls.model_validate_json(data)
            present = json.loads(data.decode(), object_pairs_hook=_unique)
        except ValidationError as error:
            raise WireError(f"the {cls.LABEL} is not valid: {describe(error)}") from None
        except _DuplicateError:
            raise WireError(f"the {cls.LABEL} is not valid: a field occurs twice") from None
        except (ValueError, RecursionError):
            raise WireError(f"the {cls.LABEL} is not valid JSON") from None
        missing = sorted(cls.model_fields.keys() - present.keys())
        if missing:
            raise WireError(f"the {cls.LABEL} is not valid: {missing[0]}: field required")
        return document


def describe(error: ValidationError) -> str:
    """Where and what the first problem is, without the value that was found there."""
    if error.error_count() > _MAX_FAULTS:  # pydantic tells of all of them, or of none
        return "too much of it is wrong"
    first = error.errors(include_input=False, include_url=False, include_context=False)[0]
    # A location holds a received key where that key is unknown; do not repeat it.
    known = first["type"] != "extra_forbidden"
    place = ".".join(str(part) for part in first["loc"]) if known else "unknown field"
    message = first["msg"].removeprefix("Value error, ")
    return f"{place}: {message}" if place else message
