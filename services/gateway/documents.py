"""What the routes answer, for the OpenAPI document."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, Field

from libmpc.access import TokenState


class ErrorBody(BaseModel):
    """Every error."""

    error: str = Field(description="What is wrong, and what to do next.")
    code: str | None = Field(
        None, description="One word for it, where there is one; docs/rest.md lists them."
    )
    request: str = Field(
        "", description="The request's id, by which the gateway's operator finds it in the log."
    )


class ServerMetadata(BaseModel):
    """``GET /v2``."""

    name: Literal["libmpc"] = "libmpc"
    version: str
    extensions: list[str]
    deployment: str = Field(description="The deployment's id, hexadecimal.")
    wire: str = Field(description="Version of the sealed formats, major.minor.")


class Live(BaseModel):
    live: bool


class Ready(BaseModel):
    ready: bool


class ModelReady(BaseModel):
    name: str
    ready: bool


class SignedDocument(BaseModel):
    """A document that a party has signed; check it against the key that the deployment pins."""

    document: str = Field(description="Base64.")
    signature: str = Field(description="Ed25519, base64.")


class Tensor(BaseModel):
    name: str
    datatype: Literal["BYTES"] = "BYTES"
    shape: list[int] = [1]


class KeySet(BaseModel):
    """The keys of one triple: a query is sealed to one such set, and answered by that triple."""

    triple: int = Field(description="Its number; always 0 where there is only one.")
    keys: list[SignedDocument] = Field(description="Short-lived keys of parties 0, 1 and 2.")


class Keys(KeySet):
    """``GET /v2/keys``."""

    more: list[KeySet] = Field(
        description="Those of the other triples that can answer, the least loaded first."
    )


class SealedModel(Keys):
    """What a client needs to seal a query; it believes none of it without a signature."""

    model: str = Field(description="Digest of the owner's manifest, hexadecimal.")
    descriptor: list[SignedDocument] = Field(description="Signed by party 0 and by party 1.")
    state: Literal["serving", "stopped", "incomplete"]
    num_requests: int | None = Field(description="Requests that the owner allows; null: any.")
    served: int = Field(description="Requests counted since it was last served.")


class ModelMetadata(BaseModel):
    """``GET /v2/models/{name}``."""

    name: str
    versions: list[str] = ["1"]
    platform: Literal["libmpc"] = "libmpc"
    inputs: list[Tensor]
    outputs: list[Tensor]
    libmpc: SealedModel


class ListedModel(BaseModel):
    name: str
    model: str
    state: Literal["serving", "stopped", "incomplete"]
    ready: bool
    num_requests: int | None
    served: int


class ModelIndex(BaseModel):
    """``GET /v2/models``."""

    models: list[ListedModel]


class Stored(BaseModel):
    """A push that all three parties have stored."""

    name: str
    model: str


class Changed(BaseModel):
    """A command that all three parties have carried out."""

    name: str
    model: str
    action: Literal["serve", "stop", "delete"]


class Tokens(BaseModel):
    """``GET /v2/tokens``."""

    tokens: list[TokenState]


class Revoked(BaseModel):
    """A token that opens nothing any more."""

    id: str


def errors(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """The error responses of a route, for its documentation."""
    texts = {
        400: "The request is malformed.",
        401: "The token is missing, wrong or expired.",
        403: "The token's role is not enough, or the owner's signature or key does not count here.",
        404: "There is no such model, or none that the token may see.",
        408: "The sender was silent for too long.",
        409: "The name is in use, or what the request was made for has changed.",
        413: "The body is too long.",
        422: "A party cannot use what is inside.",
        429: "A limit of the model or of the token is used up, or a queue is full.",
        503: "A party is down, not ready or too slow, or the model is stopped; see Retry-After.",
    }
    return {status: {"model": ErrorBody, "description": texts[status]} for status in statuses}


def body(description: str, *types: str) -> dict[str, Any]:
    """A request body that is read as a stream, for the documentation."""
    content = {kind: {"schema": {"type": "string", "format": "binary"}} for kind in types}
    return {"requestBody": {"required": True, "description": description, "content": content}}
