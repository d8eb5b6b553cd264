"""Write docs/operators.md: which ONNX operators are read, and what ONNX's own tests say of them.

    python docs/operators.py            # rewrite it
    python docs/operators.py --check    # fail if it is out of date

The counts come from the list of tests that must pass (``tests/onnx``); those tests hold them.
"""

from __future__ import annotations

import sys
from collections import Counter, defaultdict
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
TARGET = ROOT / "docs" / "operators.md"

HEAD = """\
# ONNX operators

Written by `docs/operators.py` from the importer and from the list of conformance tests.

`libmpc.load_model("model.onnx", ...)` reads ONNX models of opset {least} to {most}: PyTorch's two
exporters, Keras' export, and others. Nothing in the file is executed. The first axis of the input
is the batch; a query of n samples is n runs of the model for a batch of one. Weights, shapes, axes
and the like must be constants: initializers, or computed from initializers and shapes. Softmax,
LogSoftmax, Sigmoid and ArgMax may only come last; the client does them. Integers may be moved,
added, multiplied and compared; operators that divide want real numbers.

## Conformance

`libmpc.onnx_backend` implements ONNX's backend interface (`onnx.backend.base.Backend`) by running
models on shares, three parties in one process, and ONNX's own tests run against it
(`onnx.backend.test.BackendTest`; onnx {version}). A test counts here if all operators of its model
are in the table. {passed} of {total} pass; {excluded} ({percent:.1f} %) are left out for the
reasons below, and are refused with an error, never answered wrongly. Near enough is, for shape and
element type: exactly; for values: {atol:.2g} plus {rtol:g} of the value, which is what inputs and
weights with 16 fraction bits come to; for whole networks {network:g} of the largest output.
Models of older opsets are converted first, by ONNX's own converter.

"""
NOTES = {
    "ArgMax": "only last: done by the client",
    "AveragePool": "one to three axes; `auto_pad`, `ceil_mode`, `count_include_pad`, dilations",
    "BatchNormalization": "not in training mode",
    "Cast": "between real types it does nothing; rounding only as the client's last step",
    "CastLike": "as Cast",
    "Clip": "constant bounds",
    "Constant": "computed in advance",
    "ConstantOfShape": "computed in advance",
    "Conv": "one to three axes; groups, depthwise, strides, dilations, `auto_pad`",
    "ConvTranspose": "one to three axes; groups, strides, dilations, `output_shape`",
    "Div": "by constants",
    "Dropout": "not in training mode",
    "Expand": "constant shape",
    "Gather": "constant indices",
    "Gemm": "one of the matrices constant",
    "LogSoftmax": "only last: done by the client",
    "MatMul": "one of the matrices constant",
    "Max": "of secrets and constants",
    "MaxPool": "one to three axes; without the places of the largest values",
    "Min": "of secrets and constants",
    "Mul": "of secrets and constants",
    "PRelu": "constant slopes",
    "Pad": "with a constant, `edge`, `reflect`, `wrap`",
    "Range": "computed in advance",
    "Reshape": "constant shape; also one computed from the input's shape",
    "Resize": "`nearest`, `linear` and `cubic`, constant sizes",
    "Sigmoid": "only last: done by the client",
    "Size": "computed in advance",
    "Shape": "computed in advance",
    "Slice": "constant places",
    "Softmax": "only last: done by the client",
    "Split": "constant sizes",
    "Tile": "constant repeats",
}


def table(head: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    """A Markdown table."""
    lines = [head, ("---",) * len(head), *rows]
    return "".join("| " + " | ".join(cells) + " |\n" for cells in lines)


def operators() -> str:
    """The whole of ``docs/operators.md``."""
    import onnx

    from libmpc.graph.onnx.container import MAX_OPSET, MIN_OPSET
    from libmpc.graph.onnx.folding import FOLDED
    from libmpc.graph.onnx.operators import READERS
    from tests.onnx.conformance import ATOL, LISTED, NETWORK_RTOL, RTOL, cases

    found = cases()
    passed: Counter[str] = Counter()
    left: Counter[str] = Counter()
    why: defaultdict[str, list[str]] = defaultdict(list)
    for case in found:
        (left if case.excluded else passed).update(case.operators)
        if case.excluded:
            why[case.excluded].append(case.name)
    excluded = sum(map(len, why.values()))
    text = HEAD.format(
        least=MIN_OPSET,
        most=MAX_OPSET,
        version=".".join(onnx.__version__.split(".")[:2]),
        passed=len(found) - excluded,
        total=len(found),
        excluded=excluded,
        percent=100 * excluded / len(found),
        atol=ATOL,
        rtol=RTOL,
        network=NETWORK_RTOL,
    )
    rows = [
        (f"`{name}`", str(passed[name]), str(left[name] or "–"), NOTES.get(name, ""))
        for name in sorted(LISTED)
    ]
    text += table(("operator", "tests passed", "left out", "notes"), rows)
    more = ", ".join(f"`{name}`" for name in sorted(set(READERS) - set(LISTED)))
    ahead = ", ".join(f"`{name}`" for name in sorted(FOLDED - set(READERS) - set(LISTED)))
    text += f"\nRead too: {more}. Computed in advance, where all inputs are constants: {ahead}.\n"
    text += "\n## Left out\n"
    for reason in sorted(why, key=lambda reason: (-len(why[reason]), reason)):
        names = ", ".join(f"`{name}`" for name in sorted(why[reason]))
        text += f"\n**{reason[0].upper()}{reason[1:]}** ({len(why[reason])}): {names}.\n"
    return text


def main(arguments: list[str]) -> int:
    """Write or check; the exit status."""
    text = operators()
    stale = not TARGET.exists() or TARGET.read_text() != text
    if stale and "--check" in arguments:
        sys.stderr.write(f"{TARGET.relative_to(ROOT)} is out of date\n")
        return 1
    TARGET.write_text(text)
    return 0


if __name__ == "__main__":
    sys.path.insert(0, str(ROOT))
    sys.exit(main(sys.argv[1:]))
