"""Every exception that libmpc raises on purpose.

One root, ``LibmpcError``, so that a caller can catch all of them; below it one class per thing a
caller may want to do about it. Messages say what is wrong and what to do next, and never contain
a share, a mask, a key, an input or an output.
"""

from __future__ import annotations


class LibmpcError(Exception):
    """The root of all errors that libmpc raises on purpose."""


class ModelError(LibmpcError):
    """A model file cannot be read, or has something that is not supported; names the layer."""


class RangeError(ModelError):
    """A model's values may leave the range in which the arithmetic is exact."""


class InputError(LibmpcError, ValueError):
    """An array does not fit: shape, dtype, NaN, infinity or a value out of the declared range."""


class ConfigError(LibmpcError):
    """A deployment file, a credential file, a key or a setting is missing, wrong or unsafe."""


class ServiceError(LibmpcError):
    """The deployment answered with an error, or did not answer.

    Attributes:
        status: the HTTP status that the gateway gave, or ``None`` where none was received.
        retry_after: seconds to wait before another try, where the service said so.
        code: one word for what has happened, for metrics; may be empty.
        request: the id by which the gateway's operator finds the request; may be empty.
    """

    def __init__(
        self,
        message: str,
        *,
        status: int | None = None,
        retry_after: float | None = None,
        code: str = "",
        request: str = "",
    ) -> None:
        super().__init__(message)
        self.status = status
        self.retry_after = retry_after
        self.code = code
        self.request = request


class AuthenticationError(ServiceError):
    """The gateway refused the token, or what it may do is not enough (401 or 403)."""


class ModelNotFoundError(ServiceError):
    """No model of that name is stored (404)."""


class ConflictError(ServiceError):
    """The name is in use, or what the request was made for has changed since (409)."""


class LimitError(ServiceError):
    """A limit of the model or of the token is used up, or a queue is full (429)."""


class UnavailableError(ServiceError):
    """A party or the gateway is down, not ready or too slow; or the model is stopped (503)."""


class IntegrityError(ServiceError):
    """An answer is not what the parties of this deployment signed, sealed or agreed on."""
