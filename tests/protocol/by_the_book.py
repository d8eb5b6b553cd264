"""The comparing steps once more, from docs/protocol.md alone: Python integers, one value at a time.

It imports nothing of the library, so that the documentation is enough to write a party. The
known-answer vectors were made with it (``make_vectors.py``).
"""

from dataclasses import dataclass
from typing import Any

from tests.protocol.book_words import (
    BITS,
    EQS_C,
    EQS_G,
    LTS_C,
    LTS_G,
    M48,
    MASK,
    OPENING,
    ROW_3,
    ROW_4,
    SELECT_BITS,
    SHARES,
    SPARE,
    WORD_C,
    bit_of,
    draw,
    names_of,
    numbers,
    packed,
    product,
    put,
    word_of_borrow,
    words_of_sign,
)


@dataclass
class Half:
    """One evaluator's share of one value's randomness; ``one`` is 1 at P0, ``mu`` its own masks."""

    one: int
    words: list[int]
    ring: list[int]
    mu: int

    def read(self, word: int, first: int, at: int) -> tuple[int, int]:
        """lt and eq of a table that begins at place ``first``."""
        lt = word >> first + at & 1
        return lt, lt ^ (word >> first + at - 1 & 1 if at else self.one)

    def sign(self, a: int) -> tuple[dict[str, int], int]:
        """Shares of the ten bits, and of 1 ⊕ msbT."""
        found: dict[str, int] = {}
        for chunk, (row, first, shift) in enumerate(
            ((1, 0, 0), (1, 32, 5), (2, 0, 10), (2, 32, 15))
        ):
            at = a >> shift & 31
            found[f"lt{chunk}"], found[f"eq{chunk}"] = self.read(self.words[row], first, at)
        found["lt4"], found["eq4"] = self.read(self.words[0], 0, a >> 20 & 63)
        at = a >> 26 & 31
        t = self.words[3]
        lt = t >> at & 1
        found["eqT"] = lt ^ (t >> at - 1 & 1 if at else (t >> 31 & 1) ^ self.one)
        return found, lt ^ (self.one & (1 ^ (a >> 31 & 1)))

    def borrow(self, word: int, m: int) -> tuple[dict[str, int], int]:
        """Shares of the six bits, and of lt3."""
        word &= ~(1 << 15 | 1 << 31 | 1 << 47 | 1 << 63)
        found: dict[str, int] = {}
        for chunk in range(4):
            at = m >> 4 * chunk & 15
            found[f"lt{chunk}"], found[f"eq{chunk}"] = self.read(word, 16 * chunk, at)
        return found, found["lt3"]

    def polynomial(
        self,
        opened: dict[str, int],
        eqs: tuple[str, ...],
        lts: tuple[str, ...],
        own: dict[str, int],
        shared: dict[tuple[str, ...], int],
    ) -> int:
        """The share of eq·(lt ⊕ eq·(lt ⊕ …)), from the opened bits and shared products."""
        total = 0
        for i, lt in enumerate(lts):
            term = (*eqs[: i + 1], lt)
            for number in range(2 ** len(term)):
                masked = tuple(name for j, name in enumerate(term) if number >> j & 1)
                if not masked:
                    share = self.one
                elif len(masked) == 1:
                    share = own[masked[0]]
                else:
                    share = shared[masked]
                total ^= share & product(opened, tuple(n for n in term if n not in masked))
        return total

    def products(self, parts: list[tuple[int, dict[tuple[str, ...], int]]]) -> dict[Any, int]:
        return {names: word >> place & 1 for word, at in parts for names, place in at.items()}


@dataclass
class Run:
    """A step's transcript, bytes as they go over the wire, and the result with its mask."""

    correction: bytes
    messages: tuple[list[bytes], list[bytes]]
    opened: list[int]
    mask: list[int]


def high_word(value: int, sign: int, share: int) -> int:
    """P1's word of Λ: 48 bits of a value and 16 of a sign, less P0's share of each."""
    return (value - share) & M48 | ((sign - (share >> 48)) & 0xFFFF) << 48


def unwrapped(word: int, m: int) -> int:
    """The share of Λ for the opened m."""
    return word if m >> 47 else word - (word >> 48 << 32)


def chosen(bit: int, plain: int, share: int) -> int:
    """The share of b·x from that of x and of r·x, where b̂ = b ⊕ r is open."""
    return bit * plain + (1 - 2 * bit) * share


class Step:
    """All three parties of one step of n values; ``kind`` is relu, truncate, rectify, positive."""

    def __init__(self, kind: str, step: int, keys: tuple[bytes, bytes], n: int) -> None:
        self.kind, self.n = kind, n
        self.opens = kind in ("relu", "truncate")
        self.has_g, self.has_c = kind != "truncate", self.opens
        self.c_at = 10 if kind == "relu" else 0
        self.bits_bytes = 1 if kind == "truncate" else 2
        self.c_row, self.spare_row = (5, 3) if kind == "relu" else (0, 2)
        purpose, self.words, self.ring = SHARES[kind]

        def words(key: bytes, which: int, count: int) -> list[int]:
            return numbers(draw(key, step, which, 8 * count), 8)

        self.gamma = [words(key, OPENING, n) for key in keys]
        self.mask = [words(key, MASK, n) for key in keys]
        size = self.bits_bytes
        self.mu = [numbers(draw(key, step, BITS, size * n), size) for key in keys]
        plane, planes = -(-n // 8), 2 if kind == "relu" else 1
        drawn = [draw(key, step, SELECT_BITS, planes * plane) for key in keys]
        self.r = [[d[at : at + plane] for at in range(0, len(d), plane)] for d in drawn]
        random0 = draw(keys[0], step, purpose, (8 * self.words + 6 * self.ring) * n)
        size = 8 * self.words * n
        self.random0 = numbers(random0[:size], 8) + numbers(random0[size:], 6)

    def deal(self, i: int, lam: int) -> tuple[Half, Half]:
        """Both halves of value i's randomness."""
        mine = [self.random0[row * self.n + i] for row in range(self.words + self.ring)]
        mu = self.mu[0][i] ^ self.mu[1][i]
        mu_c = names_of(mu >> self.c_at, EQS_C + LTS_C)
        r = [bit_of(zero, i) ^ bit_of(one, i) for zero, one in zip(*self.r, strict=True)]
        theirs: list[int] = []
        if self.has_g:
            plain = words_of_sign(lam >> (16 if self.opens else 0), names_of(mu, EQS_G + LTS_G))
            theirs = [share ^ word for share, word in zip(mine, plain, strict=False)]
        if self.kind == "relu":
            theirs[3] ^= put(mu_c, SPARE)
            theirs.append(mine[5] ^ word_of_borrow(lam, mu_c))
            theirs.append(high_word(lam >> 16, lam >> 47, mine[6]))
            theirs.append(high_word((lam >> 16) * r[0], (lam >> 47) * r[0], mine[7]))
            rest = [r[0], r[1], r[0] * r[1]]
        elif self.kind == "truncate":
            theirs.append(mine[0] ^ word_of_borrow(lam, mu_c))
            theirs.append(high_word(lam >> 16, lam >> 47, mine[1]))
            theirs.append((r[0] - mine[2]) & M48 | (mine[2] >> 48 << 48) ^ put(mu_c, SPARE))
            rest = []
        else:
            rest = [r[0], r[0] * lam][: self.ring]
        ring = mine[self.words :]
        others = [(value - share) & M48 for value, share in zip(rest, ring, strict=True)]
        return (
            Half(1, mine[: self.words], ring, self.mu[0][i]),
            Half(0, theirs, others, self.mu[1][i]),
        )

    def correction(self, halves: list[Half]) -> bytes:
        """All words row by row, then all ring elements."""
        words = [half.words[row] for row in range(self.words) for half in halves]
        ring = [half.ring[row] for row in range(self.ring) for half in halves]
        return b"".join(word.to_bytes(8, "little") for word in words) + packed(ring)

    def compare(self, half: Half, m: int) -> tuple[int, list[int]]:
        """The bits to open, under own masks, and the linear parts of g and c."""
        word, linear = 0, []
        if self.has_g:
            a = ((m >> 16 if self.opens else m) - 1) & 2**32 - 1
            found, rest = half.sign(a)
            word |= sum(found[name] << at for at, name in enumerate(EQS_G + LTS_G))
            linear.append(rest)
        if self.has_c:
            found, rest = half.borrow(half.words[self.c_row], m)
            low = sum(found[name] << at for at, name in enumerate(EQS_C + LTS_C))
            word |= low << self.c_at
            linear.append(rest)
        return word ^ half.mu, linear

    def combine(self, half: Half, opened: int, linear: list[int]) -> list[int]:
        """The shares of g and c."""
        shares = []
        if self.has_g:
            own, o = (names_of(word, EQS_G + LTS_G) for word in (half.mu, opened))
            shared = half.products([(half.words[3], ROW_3), (half.words[4], ROW_4)])
            shares.append(half.polynomial(o, EQS_G, LTS_G, own, shared))
        if self.has_c:
            own, o = (names_of(w >> self.c_at, EQS_C + LTS_C) for w in (half.mu, opened))
            spare, word = half.words[self.spare_row], half.words[self.c_row]
            shared = half.products([(spare, SPARE), (word, WORD_C)])
            shares.append(half.polynomial(o, EQS_C, LTS_C, own, shared))
        return [share ^ rest for share, rest in zip(shares, linear, strict=True)]

    def choose(self, half: Half, m: int, hat: list[int], own_lam: int) -> int:
        """[y]_j."""
        w, e = half.words, half.ring
        if self.kind == "relu":
            g, c = hat
            g_lam = chosen(g, unwrapped(w[6], m), unwrapped(w[7], m))
            c_share = chosen(c, half.one, e[1])
            g_c = chosen(g, c_share, chosen(c, e[0], e[2]))
            return chosen(g, half.one, e[0]) * (m >> 16) - g_lam - g_c
        if self.kind == "truncate":
            m = (m + 2**46) & M48
            known = half.one * ((m >> 16) - 2**30)
            return known - unwrapped(w[1], m) - chosen(hat[0], half.one, w[2])
        g_share = chosen(hat[0], half.one, e[0])
        if self.kind == "rectify":
            return g_share * m - chosen(hat[0], own_lam, e[1])
        return 2**16 * g_share


def run(
    kind: str, step: int, keys: tuple[bytes, bytes], first: list[int], second: list[int]
) -> Run:
    """One step.

    Args:
        first: the evaluators' shares [z]_j of each value, in pairs, without γ_j; of a masked value
            (λ_0, λ_1).
        second: what is missing of each value; of a masked value m.
    """
    n = len(second)
    one = Step(kind, step, keys, n)
    messages: tuple[list[bytes], list[bytes]] = ([], [])
    if one.opens:
        lam = [(one.gamma[0][i] + one.gamma[1][i] - second[i]) & M48 for i in range(n)]
        shares = [[first[2 * i + j] + one.gamma[j][i] for i in range(n)] for j in (0, 1)]
        for j in (0, 1):
            messages[j].append(packed(shares[j]))
        opened = [(a + b) & M48 for a, b in zip(*shares, strict=True)]
    else:
        lam = [(first[2 * i] + first[2 * i + 1]) & M48 for i in range(n)]
        opened = [m & M48 for m in second]
    halves = [one.deal(i, lam[i]) for i in range(n)]

    compared = [[one.compare(halves[i][j], opened[i]) for i in range(n)] for j in (0, 1)]
    for j in (0, 1):
        sent = (word.to_bytes(one.bits_bytes, "little") for word, _ in compared[j])
        messages[j].append(b"".join(sent))

    planes: list[list[bytearray]] = []
    for j in (0, 1):
        mine = [bytearray(plane) for plane in one.r[j]]
        for i in range(n):
            both = compared[0][i][0] ^ compared[1][i][0]
            bits = one.combine(halves[i][j], both, compared[j][i][1])
            for plane, bit in zip(mine, bits, strict=True):
                plane[i // 8] ^= bit << i % 8
        planes.append(mine)
        messages[j].append(b"".join(mine))

    results: list[list[int]] = [[], []]
    for j in (0, 1):
        for i in range(n):
            hat = [bit_of(a, i) ^ bit_of(b, i) for a, b in zip(*planes, strict=True)]
            y = one.choose(halves[i][j], opened[i], hat, first[2 * i + j])
            results[j].append(y + one.mask[j][i])
        messages[j].append(packed(results[j]))
    return Run(
        one.correction([half for _, half in halves]),
        messages,
        [(a + b) & M48 for a, b in zip(*results, strict=True)],
        [(a + b) & M48 for a, b in zip(*one.mask, strict=True)],
    )
