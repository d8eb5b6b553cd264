"""What one token may do, as it is stored and as an administrator sends it: without the token."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Annotated, ClassVar, Literal, Self, get_args

from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError, model_validator

from libmpc.errors import InputError
from libmpc.identity.token import new_token, token_id, token_sha256
from libmpc.wire.document import Document, describe
from libmpc.wire.fields import Count, Hex32, Millis, Name

Role = Literal["client", "owner", "admin"]
ROLES: tuple[Role, ...] = get_args(Role)
"""From least to most: each may do what those before it may."""

MAX_GRANTS = 10_000
"""How many tokens a gateway keeps."""
MAX_MODELS = 64

_ID = re.compile(r"[0-9a-f]{12}")
TokenId = Annotated[str, Field(pattern=r"^[0-9a-f]{12}$", description="A token's public id")]
_Rate = Annotated[int, Field(ge=1, le=1 << 30)]
_Models = Annotated[tuple[Name, ...], Field(min_length=1, max_length=MAX_MODELS)]


class GrantError(InputError):
    """A token that is asked for makes no sense."""


class Grant(Document):
    """What a token may do.

    Attributes:
        id: public; the token has it in it.
        sha256: of the token (hex).
        name: for people, to know whose it is.
        role: ``client`` sees models and asks queries, ``owner`` also pushes, serves, stops and
            deletes (with the owner's signature), ``admin`` also manages tokens.
        created_ms: Unix time.
        expires_ms: from then on it opens nothing; ``None``: never.
        models: names that it may see and ask, for clients only; ``None``: all.
        images: how many images of each model it may have answered, in all.
        images_per_minute, requests_per_minute: of all models together; a minute's worth at once.
    """

    LABEL: ClassVar[str] = "token"

    id: TokenId
    sha256: Hex32 = Field(repr=False)
    name: Name
    role: Role
    created_ms: Millis
    expires_ms: Millis | None
    models: _Models | None
    images: Count | None
    images_per_minute: _Rate | None
    requests_per_minute: _Rate | None

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        # The gateway cannot read what a push is called, and a list of tokens names every model.
        if self.models is not None and self.role != "client":
            raise ValueError("a list of models is for clients; owners and admins see all of them")
        if self.expires_ms is not None and self.expires_ms <= self.created_ms:
            raise ValueError("it would have expired before it was made")
        return self

    def allows(self, role: Role) -> bool:
        """Whether it may do what needs that role."""
        return ROLES.index(self.role) >= ROLES.index(role)


class TokenState(BaseModel):
    """A token as a list shows it: without its hash, with what has been used of it."""

    model_config = ConfigDict(frozen=True, extra="ignore", strict=True, hide_input_in_errors=True)

    id: TokenId
    name: Name
    role: Role
    created_ms: Millis
    expires_ms: Millis | None
    models: _Models | None
    images: Count | None
    images_per_minute: _Rate | None
    requests_per_minute: _Rate | None
    used: dict[Name, Annotated[int, Field(ge=0)]] = Field(
        description="Images that count towards `images`, by model; empty without that limit."
    )

    @classmethod
    def of(cls, grant: Grant, used: dict[str, int]) -> Self:
        """A token's state."""
        return cls(**grant.model_dump(exclude={"version", "sha256"}), used=used)


def check_id(token: str) -> str:
    """Return a token's id unchanged.

    Raises:
        GrantError: it is none; perhaps the token itself, or a name.
    """
    # SECURITY: not repeated, since it may be the token itself.
    if not _ID.fullmatch(token):
        raise GrantError(
            "that is no token's id: 12 hexadecimal digits, as 'libmpc token list' shows them"
        )
    return token


def make_grant(
    name: str,
    role: Role,
    now_ms: int,
    *,
    expires_ms: int | None = None,
    models: Sequence[str] | None = None,
    images: int | None = None,
    images_per_minute: int | None = None,
    requests_per_minute: int | None = None,
) -> tuple[SecretStr, Grant]:
    """Make a token; returns it, to be handed out, and the grant, to be stored.

    Raises:
        GrantError: a name or a limit is not valid, or they do not fit together.
    """
    token = new_token()
    fields = {
        "id": token_id(token),
        "sha256": token_sha256(token),
        "name": name,
        "role": role,
        "created_ms": now_ms,
        "expires_ms": expires_ms,
        "models": None if models is None else tuple(models),
        "images": images,
        "images_per_minute": images_per_minute,
        "requests_per_minute": requests_per_minute,
    }
    try:
        return SecretStr(token), Grant.model_validate(fields)
    except ValidationError as error:
        raise GrantError(f"the token is not valid: {describe(error)}") from None
