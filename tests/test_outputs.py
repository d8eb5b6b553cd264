"""Output kinds: one text each, and what numpy makes of them."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from libmpc import answers, outputs
from libmpc.errors import InputError
from libmpc.outputs import OutputKind

TEXTS = (
    *("logits", "label", "count", "confusion", "topk:1", "topk:16", "scores:0", "scores:16"),
    *("count:2", "count:100", "confusion:33554432"),
    *("scores:8:-4.0:4.0", "scores:0:-1.0:0.0", "scores:16:0.0:1.52587890625e-05"),
)


@pytest.mark.parametrize("text", TEXTS)
def test_a_kind_is_written_as_it_is_read(text: str) -> None:
    kind = outputs.parse(text)
    assert str(kind) == text
    assert outputs.parse(str(kind)) == kind
    assert kind.takes_labels == text.startswith(("count", "confusion"))
    assert kind.answer == (outputs.parse(text.partition(":")[0]) if kind.at_least > 1 else kind)
    assert kind.in_bits == text.startswith(("label", "topk"))


@pytest.mark.parametrize(
    "text",
    [
        *("", "Logits", "label ", "labels", "topk", "topk:", "topk:0", "topk:17", "topk:01"),
        *("topk:-1", "topk:1e0", "topk:١", "scores", "scores:17", "scores:08", "scores:-1"),
        *("scores:8:", "scores:8:-4:4", "scores:8:-4.0", "scores:8:4.0:-4.0", "scores:8:0.0:nan"),
        *("scores:8:0.0:inf", "scores:1:0.0:0.25", "scores:0:0.0:1073741824.0"),
        *("scores:0:-1073741824.0:0.0", "scores:8:-0.0:1.0", "scores:8:0.0:1.0:2.0", "label\n"),
        *(
            "count:0",
            "count:1",
            "count:-5",
            "count:05",
            "count:33554433",
            "count:",
            "confusion:1e3",
        ),
        *(
            "label:5",
            "count:5:5",
            "count:٥",
            "scores:16:0.0:1e999",
            "scores:16:0.0:" + "9" * 90,
            "scores:4:0.0:1_0.0",
        ),
    ],
)
def test_nothing_else_is_a_kind(text: str) -> None:
    with pytest.raises(InputError, match="an output is"):
        outputs.parse(text)


def test_kinds_are_made_from_numbers() -> None:
    assert outputs.top(3) == OutputKind("topk", k=3)
    assert outputs.scores(8) == OutputKind("scores", bits=8)
    assert outputs.scores(8, (-4, 4)) == OutputKind("scores", bits=8, clip=(-1024, 1024))
    assert outputs.scores(0, (0, 3)).clip_range == (0.0, 3.0)
    for wrong in (0, 17, -1):
        with pytest.raises(InputError):
            outputs.top(wrong)
        with pytest.raises(InputError):
            outputs.scores(17 + abs(wrong))
    with pytest.raises(InputError):
        outputs.scores(2, (0, 0.1))


@given(st.integers(0, 16), st.integers(-(2**30) + 1, 2**30 - 1), st.integers(0, 2**20))
def test_every_range_has_one_text(bits: int, low: int, width: int) -> None:
    ends = (low / 2**bits, min(low + width, 2**30 - 1) / 2**bits)
    kind = outputs.scores(bits, ends)
    assert kind.clip_range == ends
    assert outputs.parse(str(kind)) == kind


def test_what_an_owner_allows() -> None:
    allowed = {
        "logits": {"logits", "label", "topk:1", "topk:2", "scores:8", "count", "confusion"},
        "topk:2": {"label", "topk:1", "topk:2", "count", "confusion"},
        "label": {"label", "topk:1", "count", "confusion"},
        "scores:8": {"scores:8"},
        "scores:8:-4.0:4.0": {"scores:8:-4.0:4.0"},
        "confusion": {"confusion", "count"},
        "count": {"count"},
        "count:100": {"count"},
        "confusion:100": {"confusion", "count"},
    }
    every = set().union(*allowed.values()) | {"count:100", "count:50", "confusion:100"}
    for policy, kinds in allowed.items():
        found = {k for k in every if outputs.allows(outputs.parse(policy), outputs.parse(k))}
        assert found == kinds


def test_meanings() -> None:
    logits = np.array([[1.0, 3.0, 3.0, -2.0], [0.0, 0.0, 0.0, 0.0], [-1.5, -1.25, -9.0, -1.25]])

    def of(text: str) -> list[object]:
        return answers.plain(outputs.parse(text), logits).tolist()

    assert of("label") == [1, 0, 1]
    assert of("topk:3") == [[1, 2, 0], [0, 1, 2], [1, 3, 0]]
    assert of("scores:0")[2] == [-2.0, -2.0, -9.0, -2.0]
    assert of("scores:1:-2.0:1.0")[0] == [1.0, 1.0, 1.0, -2.0]
    assert of("logits") == logits.tolist()
    with pytest.raises(InputError, match="needs labels"):
        of("count")


def test_shares_are_put_together() -> None:
    digits = answers.label_digits([5, 0, 9], 10)
    assert digits.tolist() == [[1, 0, 1, 0], [0, 0, 0, 0], [1, 0, 0, 1]]
    first = np.array([[1, 1, 0, 1]] * 3, np.uint64)
    shares = ((first ^ digits)[:, np.newaxis], first[:, np.newaxis])
    assert answers.combine(outputs.parse("label"), *shares).tolist() == [5, 0, 9]
    assert answers.combine(outputs.parse("topk:1"), *shares).tolist() == [[5], [0], [9]]
    words = np.array([[3 << 32, (1 << 48) - (1 << 31)]], np.uint64)
    seven = np.full_like(words, 7)
    logits = answers.combine(outputs.parse("scores:4"), words - seven, seven)
    assert logits.tolist() == [[3.0, -0.5]]
    counts = answers.combine(outputs.parse("count"), words * np.uint64(0), seven)
    assert counts.tolist() == [[7, 7]]


@pytest.mark.parametrize("labels", [[0, 10], [-1], [0.0], [[1]], "x", [2**63]])
def test_labels_that_do_not_fit(labels: object) -> None:
    with pytest.raises(InputError, match="label"):
        answers.label_digits(labels, 10)
