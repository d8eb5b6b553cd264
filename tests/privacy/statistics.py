"""Two measurements of how random data are, with bounds on how often chance alone exceeds them.

*Lanes*: a byte at one place of a word, over all words, has 256 equally likely values: Pearson's
chi-square against the uniform distribution, or of two samples against each other. For k degrees of
freedom and x > 1, P(X ≥ k·x) ≤ (x·e^(1−x))^(k/2) (Chernoff).

*Bits together*: of n independent samples of many fair bits, no bit is one-sided and no two are
correlated. For n products of independent signs, P(|mean| ≥ t) ≤ 2·e^(−n·t²/2) (Hoeffding).

``ALPHA`` is what all measurements of one recording may fail together by chance; each gets its part
(Bonferroni). Recordings are of real runs, whose randomness is the operating system's, so instead
of a seed the rate is one that nobody will live to see.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]
ALPHA = 1e-9
VALUES = 256


def chi_limit(degrees: int, alpha: float) -> float:
    """What a chi-square exceeds with probability ``alpha`` at most."""
    low, high = 1.0, 1e6
    while high - low > 1e-9 * high:
        x = (low + high) / 2
        if (degrees / 2) * (math.log(x) + 1 - x) > math.log(alpha):
            low = x
        else:
            high = x
    return degrees * high


def chi_square(sample: Array) -> float:
    """Of bytes, against the uniform distribution; 255 degrees of freedom."""
    counts = np.bincount(sample.ravel(), minlength=VALUES)
    return float(np.square(counts - sample.size / VALUES).sum() * VALUES / sample.size)


def chi_square_of_two(first: Array, second: Array) -> float:
    """Of two samples of bytes, against one distribution for both; 255 degrees of freedom."""
    counts = [np.bincount(s.ravel(), minlength=VALUES) for s in (first, second)]
    weights = math.sqrt(second.size / first.size), math.sqrt(first.size / second.size)
    total = np.maximum(counts[0] + counts[1], 1)
    return float((np.square(weights[0] * counts[0] - weights[1] * counts[1]) / total).sum())


def uneven_lanes(lanes: Mapping[str, Array], alpha: float = ALPHA) -> list[str]:
    """Names of the lanes that are not uniform."""
    limit = chi_limit(VALUES - 1, alpha / len(lanes))
    return [name for name, sample in lanes.items() if chi_square(sample) > limit]


def different_lanes(
    first: Mapping[str, Array], second: Mapping[str, Array], alpha: float = ALPHA
) -> list[str]:
    """Names of the lanes that tell one recording from the other."""
    assert list(first) == list(second)
    limit = chi_limit(VALUES - 1, alpha / len(first))
    return [name for name in first if chi_square_of_two(first[name], second[name]) > limit]


def signs(words: Array) -> Array:
    """(samples, …) bytes or bits packed in bytes: (samples, bits) of −1 and 1."""
    bits = np.unpackbits(words.reshape(len(words), -1), axis=1, bitorder="little")
    return bits.astype(np.float32) * 2 - 1


def together(parts: Mapping[str, Array], alpha: float = ALPHA) -> list[str]:
    """Names of parts of (samples, bits) of which bits lean to one side or go with others."""
    names = [name for name, part in parts.items() for _ in range(part.shape[1])]
    every = np.concatenate(list(parts.values()), axis=1)
    count, width = every.shape
    limit = math.sqrt(2 / count * math.log(2 * width * (width + 1) / 2 / alpha))
    assert limit < 0.45, "too few samples for so many bits"
    found = {names[i] for i in np.flatnonzero(np.abs(every.mean(axis=0)) > limit)}
    product = every.T @ every
    product /= count
    np.fill_diagonal(product, 0)
    for i, j in np.argwhere(np.abs(np.triu(product)) > limit)[:1000]:
        found.add(" and ".join(sorted({names[i], names[j]})))
    return sorted(found)
