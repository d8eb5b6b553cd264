"""How a party's shares and records are protected at rest.

Every share file has a *data key* of its own: 32 random bytes, made when the file is written and
used for nothing else. The file is AES-256-GCM in blocks, nonce = number of the block, with a bit
for the last one (STREAM, Hoang et al. 2015). The data key is kept in a *key record* beside it,
encrypted under the first storage key. Whoever destroys the key record has destroyed the file, and
another storage key needs new key records only.

    share file: magic (8) | SHA-256 of the share (32) | blocks, each with a tag of 16 bytes
    key record: magic (8) | id of the storage key (8) | nonce (12) | data key (32) | tag (16)

Records in the database are not secret to whoever runs the party; a MAC shows damage to them.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from collections.abc import Iterable, Iterator

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from libmpc.disk import Buffer
from libmpc.errors import IntegrityError
from libmpc.identity.storage_keys import KEY_ID_BYTES, MAGIC_BYTES, StorageKeys
from libmpc.wire.context import context

BLOCK_BYTES = 1 << 20
TAG_BYTES = 16
NONCE_BYTES = 12
DIGEST_BYTES = 32
DATA_KEY_BYTES = 32
SHARE_MAGIC = b"LMPCshr1"
KEY_MAGIC = b"LMPCkey1"
SHARE_HEAD_BYTES = MAGIC_BYTES + DIGEST_BYTES
KEY_RECORD_BYTES = MAGIC_BYTES + KEY_ID_BYTES + NONCE_BYTES + DATA_KEY_BYTES + TAG_BYTES

_LAST = 1 << (8 * NONCE_BYTES - 1)
_WRAP = "storage key wrap"
_MAC = "storage key records"


class DamagedError(IntegrityError):
    """A stored file is not what was written: changed, cut short, another one's, or gone."""

    def __init__(self, what: str, how: str = "damaged") -> None:
        super().__init__(f"{what} is {how}", status=503, code="damaged")


class Vault:
    """Encrypts and opens what one party stores. Holds the storage keys.

    Args:
        index: the party's; bound into everything, so that a file of another party does not open.
        keys: the first encrypts, all decrypt.
    """

    def __init__(self, index: int, keys: StorageKeys) -> None:
        self.index = index
        self._keys = keys

    @property
    def key_id(self) -> bytes:
        """The id of the key that encrypts (8 bytes)."""
        return self._keys.first.id

    def wrap(self, model: str, data_key: bytes) -> bytes:
        """A key record for the share file of a model (digest, hex)."""
        key = self._keys.first
        # SECURITY: a random nonce under a key that wraps a few thousand times in its life: two
        # are equal with a chance below 2^-70.
        nonce = secrets.token_bytes(NONCE_BYTES)
        box = AESGCM(key.derive(_WRAP)).encrypt(nonce, data_key, self._about("data key", model))
        return KEY_MAGIC + key.id + nonce + box

    def unwrap(self, model: str, record: bytes) -> bytes:
        """The data key in a key record.

        Raises:
            DamagedError: the record is not one of this party and model.
            ConfigError: it is under a storage key that we do not have.
        """
        start = MAGIC_BYTES + KEY_ID_BYTES
        if len(record) != KEY_RECORD_BYTES or not record.startswith(KEY_MAGIC):
            raise DamagedError("the key record of its share")
        key = self._keys.find(record[MAGIC_BYTES:start])
        nonce, box = record[start : start + NONCE_BYTES], record[start + NONCE_BYTES :]
        try:
            return AESGCM(key.derive(_WRAP)).decrypt(nonce, box, self._about("data key", model))
        except InvalidTag:
            raise DamagedError("the key record of its share") from None

    def is_current(self, record: bytes) -> bool:
        """Whether a key record is under the first storage key."""
        return record[MAGIC_BYTES : MAGIC_BYTES + KEY_ID_BYTES] == self.key_id

    def seal(self, model: str, digest: bytes, payload: Buffer, key: bytes) -> Iterator[bytes]:
        """The parts of a share file.

        Args:
            digest: SHA-256 of the payload (32 bytes), as the owner signed it.
            key: a data key that has encrypted nothing yet.
        """
        head = SHARE_MAGIC + digest
        yield head
        about, cipher = self._about("stored share", model, head), AESGCM(key)
        data = memoryview(payload)
        count = max(1, -(-len(data) // BLOCK_BYTES))
        for i in range(count):
            block = data[i * BLOCK_BYTES : (i + 1) * BLOCK_BYTES]
            # SECURITY: the data key is this file's alone and i never comes twice in a file, so
            # no nonce does. A file that is written again gets another data key.
            yield cipher.encrypt(_nonce(i, i == count - 1), block, about)

    def open(self, model: str, digest: bytes, file: bytes, key: bytes) -> bytearray:
        """The payload of a share file.

        Raises:
            DamagedError: one bit of it is not as it was written, or it is another file.
        """
        head = SHARE_MAGIC + digest
        if file[:SHARE_HEAD_BYTES] != head:
            raise DamagedError("its stored share")
        about, cipher = self._about("stored share", model, head), AESGCM(key)
        data, step = memoryview(file)[SHARE_HEAD_BYTES:], BLOCK_BYTES + TAG_BYTES
        payload = bytearray()
        for start in range(0, max(1, len(data)), step):
            nonce = _nonce(start // step, start + step >= len(data))
            try:
                payload += cipher.decrypt(nonce, data[start : start + step], about)
            except InvalidTag:
                raise DamagedError("its stored share") from None
        return payload

    def mac(self, label: str, fields: Iterable[bytes], key_id: bytes | None = None) -> bytes:
        """A MAC over fields (32 bytes), under the first storage key or the named one.

        Raises:
            ConfigError: there is no such key.
        """
        key = self._keys.first if key_id is None else self._keys.find(key_id)
        # No ``context`` around it: the fields of all models together may be long.
        total = hashlib.sha256()
        for part in fields:
            total.update(len(part).to_bytes(8) + part)
        return hmac.digest(key.derive(_MAC), self._about(label, "", total.digest()), "sha256")

    def check_mac(self, label: str, fields: Iterable[bytes], mac: bytes, key_id: bytes) -> bool:
        """Whether it is that MAC.

        Raises:
            ConfigError: it is under a key that we do not have.
        """
        return hmac.compare_digest(self.mac(label, fields, key_id), mac)

    def _about(self, label: str, model: str, *fields: bytes) -> bytes:
        # SECURITY: bound into every tag: what it is, whose, and of which model.
        return context(label, bytes([self.index]), bytes.fromhex(model), *fields)

    def __repr__(self) -> str:
        return f"Vault(index={self.index}, {self._keys!r})"


def new_data_key() -> bytes:
    """A key for one share file (32 bytes)."""
    return secrets.token_bytes(DATA_KEY_BYTES)


def _nonce(block: int, last: bool) -> bytes:
    return (block | (_LAST if last else 0)).to_bytes(NONCE_BYTES)
