"""Random numbers, tables and products of the comparing steps, from docs/protocol.md alone."""

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

M48 = 2**48 - 1
MASK, OPENING, BITS, SELECT_BITS = 1, 2, 3, 4
SHARES = {"relu": (5, 8, 3), "truncate": (7, 3, 0), "rectify": (8, 5, 2), "positive": (9, 5, 1)}
"""Purpose of party 0's half, rows of words, rows of ring elements."""

EQS_G, LTS_G = ("eqT", "eq4", "eq3", "eq2", "eq1"), ("lt4", "lt3", "lt2", "lt1", "lt0")
EQS_C, LTS_C = ("eq3", "eq2", "eq1"), ("lt2", "lt1", "lt0")


def draw(key: bytes, step: int, purpose: int, size: int) -> bytes:
    """AES-128 in counter mode."""
    block = step.to_bytes(4, "big") + purpose.to_bytes(2, "big") + bytes(10)
    return Cipher(algorithms.AES(key), modes.CTR(block)).encryptor().update(bytes(size))


def numbers(data: bytes, size: int) -> list[int]:
    return [int.from_bytes(data[i : i + size], "little") for i in range(0, len(data), size)]


def packed(values: list[int]) -> bytes:
    return b"".join((v & M48).to_bytes(6, "little") for v in values)


def bit_of(plane: bytes | bytearray, i: int) -> int:
    return plane[i // 8] >> i % 8 & 1


def table(v: int, width: int) -> int:
    """[a < v] at place a."""
    return sum(1 << a for a in range(2**width) if a < v)


def product(mu: dict[str, int], names: tuple[str, ...]) -> int:
    return int(all(mu[name] for name in names))


def subset(eqs: tuple[str, ...], number: int) -> tuple[str, ...]:
    return tuple(eq for i, eq in enumerate(eqs) if number >> i & 1)


def listed(
    eqs: tuple[str, ...], rows: list[tuple[str | None, range, int]]
) -> dict[tuple[str, ...], int]:
    """Products and their places: a lt or none, subsets' numbers, first place."""
    return {
        (*subset(eqs, number), *([] if lt is None else [lt])): first + offset
        for lt, subsets, first in rows
        for offset, number in enumerate(subsets)
    }


ROW_4 = listed(
    EQS_G,
    [
        ("lt0", range(1, 32), 0),
        ("lt1", range(1, 16), 31),
        ("lt2", range(1, 8), 46),
        ("lt3", range(1, 4), 53),
        ("lt4", range(1, 2), 56),
        (None, range(9, 16), 57),
    ],
)
ROW_3 = listed(EQS_G, [(None, range(17, 32), 32), (None, range(5, 8), 47), (None, range(3, 4), 50)])
SPARE = listed(
    EQS_C, [("lt0", range(1, 8), 51), ("lt1", range(1, 4), 58), ("lt2", range(1, 2), 61)]
)
WORD_C = {subset(EQS_C, number): place for number, place in ((5, 15), (6, 31), (7, 47), (3, 63))}


def put(mu: dict[str, int], places: dict[tuple[str, ...], int]) -> int:
    return sum(product(mu, names) << place for names, place in places.items())


def names_of(word: int, names: tuple[str, ...]) -> dict[str, int]:
    return {name: word >> i & 1 for i, name in enumerate(names)}


def words_of_sign(v: int, mu: dict[str, int]) -> list[int]:
    """Rows 0 to 4, unshared, for the dealer's 32 bits."""
    five = [v >> shift & 31 for shift in (0, 5, 10, 15)]
    top, sign = v >> 26 & 31, v >> 31 & 1
    low = sum((int(a < top) ^ sign) << a for a in range(32))
    return [
        table(v >> 20 & 63, 6),
        table(five[0], 5) | table(five[1], 5) << 32,
        table(five[2], 5) | table(five[3], 5) << 32,
        low | put(mu, ROW_3),
        put(mu, ROW_4),
    ]


def word_of_borrow(v: int, mu: dict[str, int]) -> int:
    chunks = (table(v >> 4 * i & 15, 4) << 16 * i for i in range(4))
    return sum(chunks) | put(mu, WORD_C)
