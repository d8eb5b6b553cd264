"""The number of a party's newest change, in a file beside its database.

SQLite cannot notice that the end of its log is damaged, it takes an older state for the newest.
A number there that is lower than the one in this file tells.
"""

from __future__ import annotations

import contextlib
from pathlib import Path

from libmpc.disk import Disk
from libmpc.errors import ConfigError
from libmpc.identity.storage_keys import KEY_ID_BYTES, MAGIC_BYTES, NEWEST
from libmpc.party.vault import Vault

NUMBER_BYTES = 8
_MAGIC = b"LMPCnew1"


class Newest:
    """The file.

    Args:
        directory: of the database.
    """

    def __init__(self, directory: Path, vault: Vault, disk: Disk) -> None:
        self._directory = directory
        self._vault = vault
        self._disk = disk

    @property
    def there(self) -> bool:
        """Whether a number was ever noted."""
        return NEWEST in self._disk.names(self._directory)

    def note(self, number: int) -> None:
        """Note the number of a change that is committed."""
        # After the commit and not flushed: it may lag behind and never be ahead.
        noted = number.to_bytes(NUMBER_BYTES)
        mac = self._vault.mac(NEWEST, [noted])
        note = _MAGIC + self._vault.key_id + noted + mac
        with contextlib.suppress(OSError):
            self._disk.note(self._directory / NEWEST, note)

    def check(self, newest: int) -> None:
        """Check that the database's newest number is not older than what was noted.

        Raises:
            ConfigError: it is, or the file is damaged.
        """
        path = self._directory / NEWEST
        if not self.there:
            return
        note = b"".join(self._disk.read(path, 1 << 12))
        if not any(note):
            return  # made just before the power went
        head = MAGIC_BYTES + KEY_ID_BYTES
        number, mac = note[head : head + NUMBER_BYTES], note[head + NUMBER_BYTES :]
        key_id = note[MAGIC_BYTES:head]
        if not note.startswith(_MAGIC) or not self._vault.check_mac(NEWEST, [number], mac, key_id):
            raise ConfigError(
                f"{path} is damaged. The records themselves are not; remove this file and start"
                " again"
            )
        if int.from_bytes(number) > newest:
            raise ConfigError(
                f"{self._directory}: the newest changes are gone from the database: its log is"
                " damaged, or an older copy was put back into a newer folder. To go on with what"
                f" is there, remove {path}; operations.md says what that means"
            )
