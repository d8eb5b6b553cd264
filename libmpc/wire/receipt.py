"""A party's word that it holds its share of a push durably; three of them commit it."""

from __future__ import annotations

from typing import ClassVar

from libmpc.wire.document import Document
from libmpc.wire.fields import Hex16, Hex32, Party


class Receipt(Document):
    """Signed by a party with its long-term key once a push has been checked and stored.

    Attributes:
        model: hexadecimal digest of the push's manifest.
    """

    LABEL: ClassVar[str] = "receipt"

    deployment: Hex16
    party: Party
    model: Hex32
