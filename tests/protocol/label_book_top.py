"""The comparing step of docs/labels.md, from that page alone; see ``label_book``."""

from __future__ import annotations

from collections.abc import Sequence

from tests.protocol.book_words import M48, bit_of, draw, numbers
from tests.protocol.label_book import BITS, Book, Keys, Pair, drawn_bits, grouped, sizes, words

SELECT, TOP, TABLES, RANK = 4, 17, 18, 19
EQS = ("eqT", "eq6", "eq5", "eq4", "eq3", "eq2", "eq1")
LTS = ("lt6", "lt5", "lt4", "lt3", "lt2", "lt1", "lt0")


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
