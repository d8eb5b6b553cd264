"""A private evaluation from docs/wire.md and docs/evaluation.md alone: nothing is the library's."""

from __future__ import annotations

import hmac
import json
import secrets
import struct
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

from tests.independent.client import (
    LIFETIME_MS,
    Deployment,
    Verified,
    call,
    check_model,
    infer,
    read_deployment,
)
from tests.independent.formats import (
    MASK,
    SUITE,
    Words,
    context,
    digest,
    encode,
    expand_seed,
    pack,
    query_info,
    reply_info,
    require,
    split_reply,
)

SEED, PACKED, COLLECT = 128, 129, 130

# ---- docs/wire.md: Evaluation


@dataclass(frozen=True)
class Evaluation:
    number: bytes = field(repr=False)
    samples: int
    rows: int
    cells: bytes = b""

    def encode(self, index: int) -> bytes:
        numbers = struct.pack(">III", self.samples, self.rows, index)
        return self.number + numbers + struct.pack(">H", len(self.cells)) + self.cells


def plaintext(
    tag: bytes,
    reply_key: bytes,
    kind: int,
    output: str,
    evaluation: Evaluation,
    index: int,
    payload: bytes,
) -> bytes:
    text = output.encode("ascii")
    form = bytes([kind, len(text)]) + text
    return tag + reply_key + form + evaluation.encode(index) + payload


def expand_bits(seed: bytes, count: int) -> npt.NDArray[np.uint8]:
    """The labels' share of a seed: the lowest bit of each word of the draw of purpose 1."""
    prk = hmac.digest(bytes(32), seed, "sha256")
    key = hmac.digest(prk, b"libmpc input share v1\x01", "sha256")[:16]
    first = struct.pack(">IHHQ", 0, 1, 0, 0)
    stream = Cipher(algorithms.AES(key), modes.CTR(first)).encryptor().update(bytes(8 * count))
    return np.frombuffer(stream, np.uint8)[::8] & 1


def label_digits(labels: Sequence[int], classes: int) -> npt.NDArray[np.uint8]:
    """Lowest first, sample by sample."""
    width = max(1, (classes - 1).bit_length())
    digits = [label >> place & 1 for label in labels for place in range(width)]
    return np.array(digits, np.uint8)


def sum_info(deployment: bytes, model: str, party: int, number: bytes) -> bytes:
    return context("evaluation reply", deployment, bytes.fromhex(model), bytes([party]), number)


def evaluation_digest(
    model: str,
    output: str,
    evaluation: Evaluation,
    reply_key: bytes,
    parts: Sequence[tuple[bytes, bytes]],
) -> bytes:
    """``parts``: of each, query number and the digest in its replies."""
    head = (bytes.fromhex(model), output.encode(), evaluation.encode(0), reply_key)
    return digest("evaluation", *head, *(item for part in parts for item in part))


# ---- a data holder


class Holder:
    """One evaluation with one reply key."""

    def __init__(
        self, where: Deployment, name: str, verified: Verified, output: str, one: Evaluation
    ) -> None:
        self._where, self._name, self._verified = where, name, verified
        self._output, self._one = output, one
        self._key = X25519PrivateKey.generate()
        self._public = self._key.public_key().public_bytes_raw()
        self.parts: list[tuple[bytes, bytes]] = []

    def _ask(
        self, shape: Sequence[int], kinds: Sequence[int], index: int, payloads: Sequence[bytes]
    ) -> tuple[dict[str, object], list[bytes]]:
        """The header, and both sealed replies."""
        header = {
            "version": 1,
            "model": self._verified.descriptor["model"],
            "number": secrets.token_hex(16),
            "expires_ms": time.time_ns() // 10**6 + LIFETIME_MS,
            "shape": list(shape),
            "key_ids": [key["key_id"] for key in self._verified.keys],
        }
        tag = secrets.token_bytes(16)
        envelopes = []
        for party, (kind, payload) in enumerate(zip(kinds, payloads, strict=True)):
            key = bytes.fromhex(self._verified.keys[party]["public_key"])
            text = plaintext(tag, self._public, kind, self._output, self._one, index, payload)
            info = query_info(self._where.id, header, party)
            envelopes.append(SUITE.encrypt(text, X25519PublicKey.from_public_bytes(key), info))
        return header, infer(self._where, self._name, header, envelopes, binary=True)

    def part(self, x: npt.NDArray[np.float64], labels: Sequence[int]) -> None:
        """Have the next part computed."""
        seed = secrets.token_bytes(32)
        digits = label_digits(labels, self._verified.descriptor["output_shape"][-1])
        rest = encode(x).reshape(-1) - expand_seed(seed, x.size)
        bits = np.packbits(digits ^ expand_bits(seed, digits.size), bitorder="little")
        payloads = (seed, pack(rest) + bits.tobytes())
        header, replies = self._ask(x.shape, (SEED, PACKED), len(self.parts), payloads)
        opened = [
            SUITE.decrypt(reply, self._key, reply_info(self._where.id, header, party))
            for party, reply in enumerate(replies)
        ]
        require(opened[0] == opened[1] and len(opened[0]) == 32, "replies of different runs")
        self.parts.append((bytes.fromhex(str(header["number"])), opened[0]))

    def collect(self, count: int) -> Words:
        """The sums, (count,)."""
        model = self._verified.descriptor["model"]
        shape = (1, *self._verified.descriptor["input_shape"])
        numbers = b"".join(number for number, _ in self.parts)
        _, replies = self._ask(shape, (COLLECT, COLLECT), 0, (numbers, numbers))
        wanted = evaluation_digest(model, self._output, self._one, self._public, self.parts)
        total = np.zeros(count, np.uint64)
        for party, reply in enumerate(replies):
            info = sum_info(self._where.id, model, party, self._one.number)
            said, share = split_reply(SUITE.decrypt(reply, self._key, info), count)
            require(said == wanted, "a sum over something else")
            total = total + share & MASK
        return total


def evaluate(
    path: Path,
    name: str,
    x: npt.ArrayLike,
    labels: Sequence[int],
    rows: int,
    cells: Sequence[tuple[int, int]] = (),
) -> list[int]:
    """How many are classified as labelled; or, for these (label, index), how often that was so."""
    where = read_deployment(path)
    metadata = json.loads(call(where, "GET", f"/v2/models/{name}")[0])["libmpc"]
    verified = check_model(where, name, metadata)
    values = np.asarray(x, np.float64)
    classes = verified.descriptor["output_shape"][-1]
    bitmap = np.zeros(classes**2, np.uint8)
    for label, index in cells:
        bitmap[label * classes + index] = 1
    chosen = np.packbits(bitmap, bitorder="little").tobytes() if cells else b""
    one = Evaluation(secrets.token_bytes(16), len(values), rows, chosen)
    holder = Holder(where, name, verified, "confusion" if cells else "count", one)
    for start in range(0, len(values), rows):
        holder.part(values[start : start + rows], labels[start : start + rows])
    return [int(number) for number in holder.collect(len(set(cells)) or 1)]
