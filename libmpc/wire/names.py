"""What a model may be called."""

from __future__ import annotations

import re

from libmpc.wire.errors import WireError

MAX_NAME = 63

_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,62}")


def is_name(text: str) -> bool:
    """Whether the text may name a model or a deployment."""
    return _NAME.fullmatch(text) is not None


def check_name(text: str) -> str:
    """Return a model's name unchanged.

    Raises:
        WireError: it is not 1 to 63 lower-case letters, digits, '.', '_' or '-', or does not begin
            with a letter or digit. Paths are no names.
    """
    if not is_name(text):
        raise WireError(
            "a name has 1 to 63 characters out of a-z, 0-9, '.', '_' and '-', and begins with a "
            "letter or digit; choose another one"
        )
    return text
