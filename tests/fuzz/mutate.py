"""Changes of genuine messages: structure where it is known, bytes everywhere.

A sample is a list of parts, each bytes or a JSON value; ``join`` puts the parts together as a
sender would, with the right lengths. So a mutation of a part meets the parser behind the lengths,
and a mutation of the whole meets the lengths.
"""

from __future__ import annotations

import copy
import json
import random
import re
from collections.abc import Callable, Sequence
from typing import Any

Part = bytes | dict[str, Any] | list[Any]
Sample = Sequence[Part]
Join = Callable[[list[bytes]], bytes]

LONGEST = 1 << 18
NUMBERS = (
    0,
    1,
    2,
    3,
    6,
    15,
    16,
    17,
    127,
    128,
    255,
    256,
    65535,
    65536,
    1 << 20,
    (1 << 24) - 1,
    1 << 28,
    (1 << 31) - 1,
    1 << 31,
    (1 << 32) - 1,
    (1 << 63) - 1,
    (1 << 64) - 1,
)
DIGITS = "9" * 5000  # more than Python turns into a number without being asked twice
_RAW = "\0raw:"


def odd_values(rng: random.Random) -> Any:
    """A JSON value that somebody did not think of."""
    depth = rng.choice((3, 50, 500, 5000))
    return rng.choice(
        (
            None,
            True,
            False,
            -1,
            1.5,
            -0.0,
            "",
            [],
            {},
            [[]],
            "\0",
            "\ud800",
            "\u202e",
            "é" * 70,
            "a" * 5000,
            "0" * 64,
            "..",
            "../../x",
            "A",
            rng.choice(NUMBERS),
            -rng.choice(NUMBERS),
            1 << rng.choice((53, 64, 200)),
            [0] * 20000,
            [{}] * 5000,
            {str(i): i for i in range(999)},
            _RAW + DIGITS,
            _RAW + "1e400",
            _RAW + "-1e-400",
            _RAW + "NaN",
            _RAW + "Infinity",
            _RAW + "[" * depth + "]" * depth,
            _RAW + '{"a":' * depth + "1" + "}" * depth,
            _RAW + "[" * depth,
            _RAW + "1.0",
            _RAW + "0x10",
            _RAW + "01",
        )
    )


def _places(value: Any, here: list[tuple[Any, Any]]) -> list[tuple[Any, Any]]:
    """Every (container, key) of a tree."""
    if isinstance(value, dict | list):
        for key in list(value) if isinstance(value, dict) else range(len(value)):
            here.append((value, key))
            _places(value[key], here)
    return here


def mutate_json(rng: random.Random, value: Any) -> Any:
    """Another tree: a value replaced, moved, repeated, left out or put in."""
    value = copy.deepcopy(value)
    places = _places(value, [])
    if not places:
        return odd_values(rng)
    into, key = rng.choice(places)
    match rng.randrange(8):
        case 0 | 1 | 2:
            into[key] = odd_values(rng)
        case 3:
            del into[key]
        case 4:
            other, name = rng.choice(places)
            into[key] = copy.deepcopy(other[name])
        case 5 if isinstance(into, dict):
            into[rng.choice(("x", "", "version", "__proto__", "a" * 300))] = odd_values(rng)
        case 6 if isinstance(into[key], str):
            text = into[key]
            at = rng.randrange(len(text) + 1)
            into[key] = (
                text[:at] + rng.choice(("0", "f", " ", "=", "\n", "é", "\0")) + text[at + 1 :]
            )
        case 7 if isinstance(into[key], list):
            into[key] = into[key] * rng.choice((2, 3, 100, 3000))
        case _ if isinstance(into[key], int | float):
            into[key] = rng.choice(NUMBERS) * rng.choice((1, -1, 0.5))
        case _:
            into[key] = odd_values(rng)
    return value


def spell(rng: random.Random, value: Any) -> bytes:
    """A tree as JSON; sometimes with a name twice, or spelled unusually."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"))
    # What JSON cannot say, or json.dumps not in time.
    text = re.sub(r'"\\u0000raw:((?:[^"\\]|\\.)*)"', lambda m: json.loads(f'"{m[1]}"'), text)
    if rng.random() < 0.1 and text.startswith("{") and len(text) > 2:
        text = "{" + text[1:-1] + "," + text[1:]
    if rng.random() < 0.05:
        text = text.replace(",", " ,\n")
    return text.encode("utf-8", "surrogatepass")


def mutate_bytes(rng: random.Random, data: bytes, tokens: Sequence[bytes], other: bytes) -> bytes:
    """Bits flipped, cut, repeated, filled; numbers and tokens put in; two samples mixed."""
    out = bytearray(data)
    for _ in range(rng.choice((1, 1, 1, 2, 4))):
        at = rng.randrange(len(out) + 1)
        size = rng.choice((1, 2, 4, 9, rng.randrange(len(out) + 1)))
        match rng.randrange(11):
            case 0 if at < len(out):
                out[at] ^= 1 << rng.randrange(8)
            case 1 if at < len(out):
                out[at] = rng.choice((0, 1, 0x7F, 0x80, 0xFF, rng.randrange(256)))
            case 2:
                del out[at:]
            case 3:
                del out[at : at + size]
            case 4:
                out[at:at] = out[at : at + size] * rng.choice((1, 1, 7, 1000))
            case 5 | 6:
                width = rng.choice((1, 2, 3, 4, 8))
                number = rng.choice(NUMBERS) & ((1 << 8 * width) - 1)
                out[at : at + width] = number.to_bytes(width, rng.choice(("big", "little")))
            case 7 if tokens:
                out[at:at] = rng.choice(tokens)
            case 8:
                out[at:at] = rng.randbytes(rng.choice((1, 3, 16, 1000)))
            case 9:
                out[at:] = other[rng.randrange(len(other) + 1) :]
            case _:
                out += rng.choice((b"\0", b"\r\n", b"{}", bytes(64), b"A" * 70000))
        del out[LONGEST:]
    return bytes(out)


def mutant(
    rng: random.Random, samples: Sequence[Sample], join: Join, tokens: Sequence[bytes] = ()
) -> bytes:
    """One input that is like a sample, but not it (rarely: it)."""
    parts = list(rng.choice(samples))
    whole = join([spell_plain(part) for part in parts])
    if rng.random() < 0.7:
        for _ in range(rng.choice((1, 1, 2))):
            at = rng.randrange(len(parts))
            part = parts[at]
            if isinstance(part, bytes):
                other = rng.choice(samples)
                again = spell_plain(other[min(at, len(other) - 1)])
                parts[at] = mutate_bytes(rng, part, tokens, again)
            else:
                parts[at] = mutate_json(rng, part)
        if len(parts) > 1 and rng.random() < 0.2:  # whole parts left out, repeated, moved
            at, to = rng.randrange(len(parts)), rng.randrange(len(parts))
            parts[at:at] = [parts[to]] * rng.choice((1, 1, 50))
        built = [part if isinstance(part, bytes) else spell(rng, part) for part in parts]
        whole = join(built)
        if rng.random() < 0.7:
            return whole[:LONGEST]
    return mutate_bytes(rng, whole, tokens, join([spell_plain(p) for p in rng.choice(samples)]))


def spell_plain(part: Part) -> bytes:
    """A part as its sender spells it."""
    if isinstance(part, bytes):
        return part
    return json.dumps(part, sort_keys=True, separators=(",", ":")).encode()
