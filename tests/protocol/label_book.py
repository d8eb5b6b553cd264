"""The steps of docs/labels.md once more, from that page alone: Python integers, one at a time.

It imports nothing of the library. Each function plays all three parties, with the keys of the two
common streams, and gives the correction and both evaluators' messages, byte for byte.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from tests.protocol.book_words import M48, bit_of, draw, numbers, packed

MASK, BITS, OUTPUT = 1, 3, 6
PICK, PICK_BITS, LOOKUP = 20, 21, 22
Keys = tuple[bytes, bytes]
Pair = tuple[int, int]


@dataclass
class Book:
    """A step's transcript; ``results`` are both evaluators' shares, or m at both."""

    correction: bytes = b""
    messages: tuple[list[bytes], list[bytes]] = field(default_factory=lambda: ([], []))
    results: tuple[list[int], list[int]] = field(default_factory=lambda: ([], []))


def words(key: bytes, step: int, purpose: int, count: int) -> list[int]:
    return numbers(draw(key, step, purpose, 8 * count), 8)


def ring(key: bytes, step: int, purpose: int, count: int) -> list[int]:
    """Ring elements of six bytes."""
    return numbers(draw(key, step, purpose, 6 * count), 6)


def drawn_bits(key: bytes, step: int, purpose: int, count: int) -> list[int]:
    data = draw(key, step, purpose, -(-count // 8))
    return [bit_of(data, i) for i in range(count)]


def plane(bits: Sequence[int]) -> bytes:
    out = bytearray(-(-len(bits) // 8))
    for i, bit in enumerate(bits):
        out[i // 8] |= bit << i % 8
    return bytes(out)


def opened(book: Book, halves: Sequence[Sequence[int]]) -> list[int]:
    """One round in which bits are opened."""
    for j in (0, 1):
        book.messages[j].append(plane(halves[j]))
    return [a ^ b for a, b in zip(*halves, strict=True)]


def sizes(candidates: int, groups: int) -> list[int]:
    return [candidates // groups + (g < candidates % groups) for g in range(groups)]


def grouped(candidates: int, groups: int, batch: int) -> list[list[int]]:
    """The candidates of every group of the batch."""
    found, start = [], 0
    for _ in range(batch):
        for size in sizes(candidates, groups):
            found.append(list(range(start, start + size)))
            start += size
    return found


def mask(step: int, keys: Keys, shares: Sequence[Pair], missing: Sequence[int]) -> Book:
    n = len(missing)
    lam = [words(key, step, MASK, n) for key in keys]
    u0 = words(keys[0], step, OUTPUT, n)
    u1 = [(d - u) & M48 for d, u in zip(missing, u0, strict=True)]
    book = Book(packed(u1))
    sent = [
        [share[j] + u + own for share, u, own in zip(shares, (u0, u1)[j], lam[j], strict=True)]
        for j in (0, 1)
    ]
    for j in (0, 1):
        book.messages[j].append(packed(sent[j]))
        book.results[j].extend((a + b) & M48 for a, b in zip(*sent, strict=True))
    return book


def winners(form: tuple[int, int, int], batch: int) -> list[list[int]]:
    """For each winner its group's candidates; one-hot bits lie in this order."""
    candidates, groups, keep = form
    return [group for group in grouped(candidates, groups, batch) for _ in range(keep)]


def pick(
    step: int,
    keys: Keys,
    one_hot: Sequence[Sequence[int]],
    m: Sequence[int],
    lam: Sequence[Pair],
    form: tuple[int, int, int],
) -> Book:
    rows = winners(form, len(m) // form[0])
    flat = [i for row in rows for i in row]
    n = len(flat)
    rho = [drawn_bits(key, step, BITS, n) for key in keys]
    known = [a ^ b for a, b in zip(*rho, strict=True)]
    mine = ring(keys[0], step, PICK, 2 * n)
    plain = [*known, *(bit * sum(lam[i]) for bit, i in zip(known, flat, strict=True))]
    theirs = [(a - b) & M48 for a, b in zip(plain, mine, strict=True)]
    book = Book(packed(theirs))
    halves = [[e ^ p for e, p in zip(one_hot[j], rho[j], strict=True)] for j in (0, 1)]
    hat = opened(book, halves)
    lam_y = [words(key, step, MASK, len(rows)) for key in keys]
    sent: list[list[int]] = []
    for j, shares in enumerate((mine, theirs)):
        place, sums = 0, []
        for row, own in zip(rows, lam_y[j], strict=True):
            total = own
            for i in row:
                x = (m[i] if j == 0 else 0) - lam[i][j]
                product = shares[place] * m[i] - shares[n + place]
                total += hat[place] * x + (1 - 2 * hat[place]) * product
                place += 1
            sums.append(total & M48)
        sent.append(sums)
        book.messages[j].append(packed(sums))
    for j in (0, 1):
        book.results[j].extend((a + b) & M48 for a, b in zip(*sent, strict=True))
    return book


def pick_bits(
    step: int,
    keys: Keys,
    one_hot: Sequence[Sequence[int]],
    digits: Sequence[Sequence[int]],
    width: int,
    form: tuple[int, int, int],
) -> Book:
    batch = len(digits[0]) // (form[0] * width)
    rows = winners(form, batch)
    n = sum(len(row) for row in rows)
    masks = [drawn_bits(key, step, BITS, n + len(digits[0])) for key in keys]
    both = [a ^ b for a, b in zip(*masks, strict=True)]
    ours = drawn_bits(keys[0], step, PICK_BITS, len(rows) * width)

    def chosen(e: Callable[[int], int], b: Callable[[int], int]) -> list[int]:
        found, place = [], 0
        for row in rows:
            for k in range(width):
                bit = 0
                for at, i in enumerate(row):
                    bit ^= e(place + at) & b(i * width + k)
                found.append(bit)
            place += len(row)
        return found

    plain = chosen(lambda at: both[at], lambda at: both[n + at])
    theirs = [a ^ b for a, b in zip(plain, ours, strict=True)]
    book = Book(plane(theirs))
    halves = [
        [a ^ b for a, b in zip([*one_hot[j], *digits[j]], masks[j], strict=True)] for j in (0, 1)
    ]
    hat = opened(book, halves)
    for j, shared in enumerate((ours, theirs)):
        first = chosen(lambda at: hat[at], lambda at, j=j: masks[j][n + at])  # type: ignore[misc]
        second = chosen(lambda at, j=j: masks[j][at], lambda at: hat[n + at])  # type: ignore[misc]
        public = chosen(lambda at: hat[at], lambda at: hat[n + at])
        parts = zip(shared, first, second, public, strict=True)
        book.results[j].extend(a ^ b ^ c ^ (d if j == 0 else 0) for a, b, c, d in parts)
    return book


def lookup(
    step: int, keys: Keys, digits: Sequence[Sequence[int]], width: int, places: Sequence[int]
) -> Book:
    batch = len(digits[0]) // width
    rho = [drawn_bits(key, step, BITS, batch * width) for key in keys]
    mine = ring(keys[0], step, LOOKUP, batch << width)
    theirs = []
    for i in range(batch):
        at = value(rho[0], i, width) ^ value(rho[1], i, width)
        theirs += [(int(k == at) - mine[(i << width) + k]) & M48 for k in range(1 << width)]
    book = Book(packed(theirs))
    halves = [[a ^ b for a, b in zip(digits[j], rho[j], strict=True)] for j in (0, 1)]
    hat = opened(book, halves)
    for i in range(batch):
        at = value(hat, i, width)
        book.results[0].extend(mine[(i << width) + (at ^ k)] & M48 for k in places)
        book.results[1].extend(theirs[(i << width) + (at ^ k)] for k in places)
    return book


def value(bits: Sequence[int], i: int, width: int) -> int:
    """Number i of those whose digits lie one after the other."""
    return sum(bit << k for k, bit in enumerate(bits[i * width : (i + 1) * width]))
