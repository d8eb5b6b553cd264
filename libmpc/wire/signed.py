"""A document with its signature, as they travel inside JSON bodies."""

from __future__ import annotations

from typing import Annotated, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, ValidationError

from libmpc.wire.document import describe
from libmpc.wire.errors import WireError
from libmpc.wire.fields import Base64, BytesLike, too_many_values

SIGNATURE_BYTES = 64
MAX_DOCUMENT_BYTES = 16 << 20


def _document(value: bytes) -> bytes:
    if not 0 < len(value) <= MAX_DOCUMENT_BYTES:
        raise ValueError(f"must have 1 to {MAX_DOCUMENT_BYTES} bytes")
    return value


def _signature(value: bytes) -> bytes:
    if len(value) != SIGNATURE_BYTES:
        raise ValueError(f"must have {SIGNATURE_BYTES} bytes")
    return value


class Signed(BaseModel):
    """The bytes of a document, not yet believed, and an Ed25519 signature over them.

    Use ``libmpc.identity.signing.verify`` before parsing the document.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, hide_input_in_errors=True)

    document: Annotated[Base64, AfterValidator(_document)]
    signature: Annotated[Base64, AfterValidator(_signature)]

    def to_json(self) -> dict[str, str]:
        """``{"document": base64, "signature": base64}``, ready for ``json.dumps``."""
        fields: dict[str, str] = self.model_dump(mode="json")
        return fields

    @classmethod
    def from_json(cls, value: object) -> Self:
        """Read what ``json.loads`` gave; checks no signature.

        Raises:
            WireError: not such a container, or too long.
        """
        try:
            return cls.model_validate(value)
        except ValidationError as error:
            raise WireError(f"not a signed document: {describe(error)}") from None

    def encode(self) -> bytes:
        """The container's JSON, as bytes."""
        return self.model_dump_json().encode()

    @classmethod
    def parse(cls, data: BytesLike) -> Self:
        """Read the container's JSON; checks no signature.

        Raises:
            WireError: not such a container, or too long.
        """
        if len(data) > 2 * MAX_DOCUMENT_BYTES:
            raise WireError("the signed document is too long")
        data = bytes(data)
        if too_many_values(data, 16):  # it has two
            raise WireError("not a signed document: it has too many fields")
        try:
            return cls.model_validate_json(data)
        except ValidationError as error:
            raise WireError(f"not a signed document: {describe(error)}") from None

    def __repr__(self) -> str:
        return f"Signed({len(self.document)} bytes)"

    __str__ = __repr__
