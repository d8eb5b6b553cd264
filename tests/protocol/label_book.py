"""The steps of docs/labels.md once more, from that page alone: Python integers, one at a time.

It imports nothing of the library. Each function plays all three parties, with the keys of the two
common streams, and gives the correction and both evaluators' messages, byte for byte.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from tests.protocol.book_words import M48, bit_of, draw, numbers, packed

MASK, BITS, SELECT, OUTPUT = 1, 3, 4, 6
TOP, TABLES, RANK, PICK, PICK_BITS, LOOKUP = 17, 18, 19, 20, 21, 22
EQS = ("eqT", "eq6", "eq5", "eq4", "eq3", "eq2", "eq1")
LTS = ("lt6", "lt5", "lt4", "lt3", "lt2", "lt1", "lt0")
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


def products(names: Sequence[str], mu: dict[str, int], number: int) -> int:
    """Of the mask bits in a subset."""
    return int(all(mu[name] for i, name in enumerate(names) if number >> i & 1))


def comparison_words(delta: int, mu: dict[str, int]) -> list[int]:
    """Rows 0 to 13, unshared, without r."""
    rows = [sum(1 << a for a in range(64) if a < (delta >> 6 * k & 63)) for k in range(7)]
    v = delta >> 42 & 63
    rows.append(sum((int(a < v % 32) ^ v >> 5) << a for a in range(32)))
    table = [products(EQS, mu, number) for number in range(128)]
    levels = {c: sum((table[s] & mu[f"lt{7 - c}"]) << s for s in range(2**c)) for c in range(1, 8)}
    common = levels[5] | levels[4] << 32 | levels[3] << 48 | levels[2] << 56 | levels[1] << 60
    whole = sum(bit << s for s, bit in enumerate(table))
    low = 2**64 - 1
    return [*rows, levels[7] & low, levels[7] >> 64, levels[6], common, whole & low, whole >> 64]


def read(table: int, at: int, one: int) -> Pair:
    """lt and eq."""
    lt = table >> at & 1
    return lt, lt ^ (table >> at - 1 & 1 if at else one)


def compared(rows: Sequence[int], a: int, one: int) -> tuple[dict[str, int], int]:
    """Shares of the fourteen bits, and of 1 ⊕ msbT."""
    found: dict[str, int] = {}
    for k in range(7):
        found[f"lt{k}"], found[f"eq{k}"] = read(rows[k], a >> 6 * k & 63, one)
    at, t = a >> 42 & 31, rows[7] & 2**32 - 1
    lt = t >> at & 1
    found["eqT"] = lt ^ (t >> at - 1 & 1 if at else (t >> 31 & 1) ^ one)
    return found, lt ^ (one & (1 ^ (a >> 47 & 1)))


def share_of_g(rows: Sequence[int], o: dict[str, int], linear: int) -> int:
    whole = rows[12] | rows[13] << 64
    parts = {7: rows[8] | rows[9] << 64, 6: rows[10], 5: rows[11], 4: rows[11] >> 32}
    parts |= {3: rows[11] >> 48, 2: rows[11] >> 56, 1: rows[11] >> 60}
    total = linear
    for c in range(1, 8):
        for s in range(2**c):
            if all(o[EQS[i]] for i in range(c) if not s >> i & 1):
                total ^= (parts[c] >> s & 1) ^ (o[f"lt{7 - c}"] & whole >> s & 1)
    return total


def top(
    step: int, keys: Keys, m: Sequence[int], lam: Sequence[int], form: tuple[int, int, int]
) -> Book:
    """``form``: candidates, groups, winners of each."""
    candidates, groups, keep = form
    members = grouped(candidates, groups, len(m) // candidates)
    pairs = [(i, j) for group in members for k, i in enumerate(group) for j in group[k + 1 :]]
    n, largest = len(pairs), sizes(candidates, groups)[0]
    mine = words(keys[0], step, TOP, 14 * n)
    mu = [numbers(draw(key, step, BITS, 2 * n), 2) for key in keys]
    r = [drawn_bits(key, step, SELECT, n) for key in keys]
    halves: tuple[list[list[int]], list[list[int]]] = ([], [])
    for k, (i, j) in enumerate(pairs):
        masks = {name: (mu[0][k] ^ mu[1][k]) >> at & 1 for at, name in enumerate(EQS + LTS)}
        zero = [mine[row * n + k] for row in range(14)]
        plain = comparison_words((lam[i] - lam[j]) & M48, masks)
        one = [a ^ b for a, b in zip(zero, plain, strict=True)]
        one[7] = one[7] & M48 | ((r[0][k] ^ r[1][k]) - (zero[7] >> 48)) % 2**16 << 48
        halves[0].append(zero)
        halves[1].append(one)

    book = Book()
    bits = [
        [compared(halves[j][k], (m[a] - m[b]) & M48, 1 - j) for k, (a, b) in enumerate(pairs)]
        for j in (0, 1)
    ]
    sent = [
        [
            sum(bits[j][k][0][name] << at for at, name in enumerate(EQS + LTS)) ^ mu[j][k]
            for k in range(n)
        ]
        for j in (0, 1)
    ]
    for j in (0, 1):
        book.messages[j].append(b"".join(word.to_bytes(2, "little") for word in sent[j]))
    both = [a ^ b for a, b in zip(*sent, strict=True)]
    names = [{name: word >> at & 1 for at, name in enumerate(EQS + LTS)} for word in both]
    hat_planes = [bytearray(draw(key, step, SELECT, -(-n // 8))) for key in keys]
    for j in (0, 1):
        for k in range(n):
            g = share_of_g(halves[j][k], names[k], bits[j][k][1])
            hat_planes[j][k // 8] ^= g << k % 8
        book.messages[j].append(bytes(hat_planes[j]))
    hat = [bit_of(hat_planes[0], k) ^ bit_of(hat_planes[1], k) for k in range(n)]

    at_once = keep == 1 and largest <= 12
    places = [0] * len(m)  # of the one in each candidate's table, then those that are read
    if at_once:
        wins = [(1 ^ a ^ b, a ^ b) for a, b in zip(*r, strict=True)]
        places = patterns(members, wins)
        count = max(1, 2 ** (largest - 1) // 64)
        reads = [[at] for at in patterns(members, [(bit, bit) for bit in hat])]
    else:
        count = 1
        while 64 * count < largest:
            count *= 2
        modulus = 64 * count
        t = [numbers(draw(key, step, RANK, 2 * len(m)), 2) for key in keys]
        places = [(a + b) % modulus for a, b in zip(*t, strict=True)]
        scores = []
        for j in (0, 1):
            s = [0] * len(m)
            for k, (a, b) in enumerate(pairs):
                share = hat[k] * (1 - j) + (1 - 2 * hat[k]) * (halves[j][k][7] >> 48)
                s[a] += share
                s[b] += 1 - j - share
            scores.append([(x + y) % modulus for x, y in zip(s, t[j], strict=True)])
            book.messages[j].append(b"".join(x.to_bytes(2, "little") for x in scores[j]))
        known = [(a + b) % modulus for a, b in zip(*scores, strict=True)]
        reads = [
            [(known[i] - (len(group) - 1 - p)) % modulus for p in range(keep)]
            for group in members
            for i in group
        ]
    ours = words(keys[0], step, TABLES, count * len(m))
    tables: list[list[int]] = [[], []]
    for i, place in enumerate(places):
        zero_table = sum(ours[row * len(m) + i] << 64 * row for row in range(count))
        tables[0].append(zero_table)
        tables[1].append(zero_table ^ 1 << place)
    for j in (0, 1):
        for group in members:
            for p in range(keep):
                book.results[j].extend(tables[j][i] >> reads[i][p] & 1 for i in group)
    rows = [halves[1][k][row] for row in range(14) for k in range(n)]
    rows += [tables[1][i] >> 64 * row & 2**64 - 1 for row in range(count) for i in range(len(m))]
    book.correction = b"".join(word.to_bytes(8, "little") for word in rows)
    return book


def patterns(members: Sequence[Sequence[int]], bits: Sequence[Pair]) -> list[int]:
    """Of every candidate, from its pairs' bits where it is the first and the second of them."""
    found = [0] * sum(len(group) for group in members)
    pair = 0
    for group in members:
        for a, i in enumerate(group):
            for b in range(a + 1, len(group)):
                found[i] |= bits[pair][0] << b - 1
                found[group[b]] |= bits[pair][1] << a
                pair += 1
    return found


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
