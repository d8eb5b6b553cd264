"""The documentation against the code: what is generated, linked, named, promised and typed."""

from __future__ import annotations

import re
import shlex
import warnings
from collections.abc import Iterator
from pathlib import Path

import pytest

import libmpc
from docs import generate, operators
from libmpc import data
from libmpc.graph.keras.layers import LAYERS
from libmpc.graph.keras.layers.noops import AUGMENTATION
from libmpc.party.messages import Kind
from libmpc.party.meters import REASONS
from libmpc.protocol.purposes import Purpose
from libmpc.runtime import plan_cost
from services.common.machine import COMMON
from services.gateway import families as gateway_families
from services.gateway.settings import GatewaySettings
from services.party import families as party_families
from services.party.settings import PartySettings

ROOT = Path(__file__).resolve().parent.parent
TOP = ("README.md", "CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md")
PAGES = [ROOT / name for name in TOP] + sorted((ROOT / "docs").rglob("*.md"))
FOLDERS = ("libmpc", "services", "tests", "docs", "examples", "benchmarks")


def ids(path: Path) -> str:
    return str(path.relative_to(ROOT))


every_page = pytest.mark.parametrize("page", PAGES, ids=ids)


def text(name: str) -> str:
    return (ROOT / name).read_text()


def fences(page: Path, *languages: str) -> list[str]:
    found = re.findall(r"^```(\w*)\n(.*?)^```$", page.read_text(), re.MULTILINE | re.DOTALL)
    return [block for language, block in found if language in languages]


def prose(page: Path) -> str:
    return re.sub(r"^```.*?^```$", "", page.read_text(), flags=re.MULTILINE | re.DOTALL)


# ---- generated parts


def test_generated_parts_are_up_to_date() -> None:
    for path, wanted in generate.outputs().items():
        if path.suffix == ".json":
            continue  # spelled differently by each FastAPI: see test_openapi.py
        assert path.read_text() == wanted, f"{ids(path)}: run 'python docs/generate.py'"


def test_the_table_of_operators_is_up_to_date() -> None:
    page, wanted = text("docs/operators.md"), operators.operators()
    versions = [re.findall(r"onnx (\d+\.\d+)\)", found) for found in (page, wanted)]
    if versions[0] != versions[1]:
        pytest.skip(f"onnx {versions[1]} has other tests than onnx {versions[0]}")
    assert page == wanted, "run 'python docs/operators.py'"


def test_every_generated_part_is_used() -> None:
    used = re.findall(r"<!-- generated: ([a-z ]+) -->", "".join(p.read_text() for p in PAGES))
    assert sorted(used) == sorted(generate.BLOCKS)


@pytest.mark.parametrize("kind", [PartySettings, GatewaySettings])
def test_every_setting_is_explained(kind: type[PartySettings | GatewaySettings]) -> None:
    table = generate.settings(kind)
    for name, field in kind.model_fields.items():
        assert field.description
        assert re.search(
            rf"^\| `{name}` \| .*{re.escape(field.description)} \|$", table, re.MULTILINE
        )


def test_every_option_of_every_command_is_explained() -> None:
    page = text("docs/cli.md")
    sections = dict(
        re.findall(r"^## libmpc ([\w -]+)\n(.*?)(?=^## |\Z)", page, re.MULTILINE | re.DOTALL)
    )
    assert sections.keys() == generate.commands().keys()
    for name, command in generate.commands().items():
        for parameter in command.params:
            if "--help" in parameter.opts:
                continue
            assert parameter.help, f"libmpc {name}: {parameter.name} has no help"
            assert parameter.help in sections[name]
            for flag in parameter.opts:
                if flag.startswith("-"):
                    assert f"`{flag}" in sections[name]


# ---- tables by hand


def test_purposes_are_those_of_the_code() -> None:
    rows = re.findall(r"^\| `([A-Z_]+)` \| (\d+) \|", text("docs/protocol.md"), re.MULTILINE)
    assert {name: int(number) for name, number in rows} == {p.name: p.value for p in Purpose}


def test_every_message_of_gateways_is_explained() -> None:
    page = text("docs/wire.md").split("<!-- end -->")[1]
    for kind in Kind:
        if kind >= Kind.STATUS and kind != Kind.RESPONSE:
            assert f"`{kind.name}`" in page


@pytest.mark.parametrize("name", data.MODELS)
def test_costs_are_those_of_the_shipped_networks(name: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # both are proven
        model = libmpc.load_model(data.model_path(name), input_range=(0, 1))
    cost = plan_cost(model.plan, 1)
    for page, unit in (("README.md", " bytes"), ("docs/protocol.md", " B")):
        row = next(line for line in text(page).splitlines() if line.startswith(f"| `{name}`"))
        numbers = (f"{cost.online_bytes:,}{unit}", f"{cost.correction_bytes:,}{unit}")
        assert [cell.strip() for cell in row.split("|")[2:5]] == [str(cost.rounds), *numbers]


@pytest.mark.parametrize("layer", sorted(set(LAYERS) - set(AUGMENTATION)))
def test_every_layer_of_keras_is_in_the_table(layer: str) -> None:
    table = text("docs/models.md").split("### Layers")[1].split("###")[0]
    assert re.search(rf"\b{layer}\b", table)


def test_every_metric_is_documented() -> None:
    page = text("docs/metrics.md")
    for family in (*COMMON, *party_families.FAMILIES, *gateway_families.FAMILIES):
        (row,) = [line for line in page.splitlines() if line.startswith(f"| `{family.shown}` |")]
        assert [cell.strip() for cell in row.split("|")[2:-1:2]] == [family.kind, family.help]
    reasons = page.split("## Gateway")[1].split("| reason |")[1]
    for reason in gateway_families.REASONS:
        assert f"| `{reason}` |" in reasons
    for reason in REASONS:
        assert f"`{reason}`:" in page


def test_metrics_in_questions_exist() -> None:
    families = (*COMMON, *party_families.FAMILIES, *gateway_families.FAMILIES)
    known = {family.shown for family in families}
    known |= {f"{f.name}_{part}" for f in families for part in ("bucket", "sum", "count")}
    named = {
        name
        for page in PAGES
        for name in re.findall(r"libmpc_(?:build|service|party|gateway)_\w+", page.read_text())
    }
    assert named <= known


def test_every_public_name_and_error_is_explained() -> None:
    page = text("docs/python.md")
    for name in libmpc.__all__:
        assert re.search(rf"`(libmpc\.)?{name}\b", page) or name == "__version__", name


def test_every_route_is_explained() -> None:
    page = text("docs/wire.md")
    routes: set[str] = set()
    for name in ("v2.py", "management.py", "tokens.py", "status.py"):
        routes |= set(
            re.findall(
                r'\.(?:get|put|post|delete)\(\s*"(/[^"]*)"', text(f"services/gateway/{name}")
            )
        )
    assert len(routes) >= 8
    for route in routes:
        last = route.rsplit("/", 1)[-1].replace("{name}", "NAME").replace("{token}", "TOKEN")
        assert f"/{last}`" in page or f"/{last}`," in page, route


# ---- links, paths and names


def anchors(page: Path) -> set[str]:
    heads = re.findall(r"^#+ (.*)$", prose(page), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", head.lower()).strip().replace(" ", "-") for head in heads}


@every_page
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", prose(page)):
        if target.startswith("https://"):
            continue
        path, _, anchor = target.partition("#")
        found = (page.parent / path).resolve() if path else page
        assert found.exists(), f"{ids(page)}: {target}"
        assert found.is_relative_to(ROOT)
        if anchor:
            assert anchor in anchors(found), f"{ids(page)}: {target}"


@every_page
def test_named_paths_exist(page: Path) -> None:
    for named in re.findall(rf"`((?:{'|'.join(FOLDERS)})/[^`\s]*)`", prose(page)):
        path, _, test = named.partition("::")
        assert (ROOT / path).exists(), f"{ids(page)}: {named}"
        if test:
            defined = re.search(rf"^(async )?def {test}\(", text(path), re.MULTILINE)
            assert defined, f"{ids(page)}: {named}"


def test_the_layout_names_every_folder() -> None:
    layout = text("README.md").split("## What is where")[1].split("## Status")[0]
    for folder in ("libmpc", "services"):
        for part in sorted((ROOT / folder).iterdir()):
            if part.is_dir() and (part / "__init__.py").exists():
                assert f"`{folder}/{part.name}/`" in layout


def test_every_rule_of_freshness_has_a_file_and_a_test() -> None:
    rules = text("docs/protocol.md").split("## Freshness")[1].split("## Sources")[0]
    parts = re.split(r"\*\*Rule (\d+)\. ", rules)[1:]
    assert [int(number) for number in parts[::2]] == list(range(1, len(parts) // 2 + 1))
    for rule in parts[1::2]:
        assert re.search(r"Kept by\s+`(libmpc|services)/", rule)
        assert re.search(r"Tests?:\s+`tests/\S+::test_\w+`", rule)


def test_every_decision_is_listed() -> None:
    listed = re.findall(r"^\d+\. \[.*\]\((adr/.*)\)$", text("docs/README.md"), re.MULTILINE)
    assert listed == sorted(f"adr/{p.name}" for p in (ROOT / "docs" / "adr").glob("*.md"))


# ---- code and commands


@every_page
def test_python_compiles_and_uses_public_names(page: Path) -> None:
    for block in fences(page, "python"):
        compile(block, ids(page), "exec")
        for name in re.findall(r"\blibmpc\.(\w+)", block):
            assert name in libmpc.__all__, f"{ids(page)}: libmpc.{name}"


def command_lines(page: Path) -> Iterator[list[str]]:
    """Every command of shell blocks, without comments."""
    for block in fences(page, "sh"):
        for line in block.replace("\\\n", " ").splitlines():
            words = shlex.split(line, comments=True)
            if words:
                yield words


@every_page
def test_commands_exist(page: Path) -> None:
    targets = set(re.findall(r"^([a-z0-9-]+):.*?##", text("Makefile"), re.MULTILINE))
    known = generate.commands()
    inline = [
        shlex.split(code) for code in re.findall(r"`((?:libmpc|make) [a-z][^`\n]*)`", prose(page))
    ]
    for words in (*command_lines(page), *inline):
        if words[0] == "make":
            wanted = {word for word in words[1:] if "=" not in word}
            assert wanted <= targets, f"{ids(page)}: {words}"
        elif words[0].rsplit("/", 1)[-1] == "libmpc":
            name = words[1] if " ".join(words[1:3]) not in known else " ".join(words[1:3])
            assert name in known, f"{ids(page)}: {words}"
            options = {flag for p in known[name].params for flag in p.opts} | {"--help"}
            used = {word for word in words[2:] if word.startswith("--")}
            assert used <= options, f"{ids(page)}: {words}"


def test_readme_has_the_commands_that_people_meet_first() -> None:
    lines = [" ".join(words) for words in command_lines(ROOT / "README.md")]
    for wanted in (
        "make demo",
        "make test",
        ".venv/bin/libmpc up --dir run",
        "libmpc push short-conv-mnist.h5 --name mnist --input-range 0 1 --serve",
        "libmpc query mnist digits.npy --out logits.npy",
    ):
        assert wanted in lines


def test_readme_says_what_is_not_protected_before_anything_else() -> None:
    first_screen = text("README.md")[:2600]
    for plainly in (
        "Two parties together can read everything",
        "make an answer *wrong*",
        "breaks the rules **and** works together with",
        "cannot be noticed on shares",
    ):
        assert plainly in " ".join(first_screen.split())


def test_the_licence_is_whole() -> None:
    licence = text("LICENSE")
    assert "Apache License" in licence
    assert "END OF TERMS AND CONDITIONS" in licence
    assert libmpc.__version__ in text("CHANGELOG.md")
    assert f"Version {libmpc.__version__}" in text("README.md")


def test_the_picture_is_plain_svg_for_both_modes() -> None:
    from xml.etree import ElementTree

    picture = text("docs/who-sees-what.svg")
    root = ElementTree.fromstring(picture)
    assert root.tag.endswith("svg")
    assert "prefers-color-scheme: dark" in picture
    assert not re.search(r"<script|<image|href=", picture)
