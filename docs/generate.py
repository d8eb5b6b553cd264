"""Write the parts of the documentation that follow from the code.

    python docs/generate.py            # rewrite them
    python docs/generate.py --check    # fail if one is out of date

``docs/cli.md`` and ``docs/openapi/`` are generated as a whole; elsewhere a generated part stands
between two comments: ``<!-- generated: NAME -->`` and ``<!-- end -->``.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
DOCS = ROOT / "docs"
_BLOCK = re.compile(r"(<!-- generated: ([a-z ]+) -->\n).*?(<!-- end -->)", re.DOTALL)

CLI_HEAD = """\
# Command line

Written by `docs/generate.py` from the program itself; `libmpc COMMAND --help` says the same.

Exit status: 0 on success and only then; 1 on an error; 2 on a wrong command line. Results go to
stdout, progress, warnings and errors to stderr. With `--json` a command prints one JSON document on
stdout. Arrays are `.npy` or `.npz` files; files with Python objects in them are refused. With
`LIBMPC_DEBUG=1` an unexpected error shows its traceback, which may contain values.
"""


def table(head: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> str:
    """A Markdown table."""
    lines = [head, ("---",) * len(head), *rows]
    return "".join("| " + " | ".join(cells) + " |\n" for cells in lines)


# ---- settings


def settings(kind: Any) -> str:
    """The table of a service's settings, from the pydantic class."""
    prefix = kind.model_config["env_prefix"]
    rows = []
    for name, field in sorted(
        kind.model_fields.items(), key=lambda item: not item[1].is_required()
    ):
        default = "required" if field.is_required() else f"`{_plain(field.default)}`"
        rows.append((f"`{name}`", default, _bounds(field.metadata), field.description or ""))
    note = f"In the environment: `{prefix}` and the setting's name in capitals.\n\n"
    return note + table(("setting", "default", "bounds", "meaning"), rows)


def _plain(value: object) -> str:
    if value is None:
        return "none"
    return str(value).lower() if isinstance(value, bool) else str(value)


def _bounds(metadata: list[Any]) -> str:
    signs = (("ge", "≥"), ("gt", ">"), ("le", "≤"), ("lt", "<"))
    found = [f"{s} {getattr(m, a)}" for m in metadata for a, s in signs if hasattr(m, a)]
    return ", ".join(found) or "–"


def party_settings() -> str:
    from services.party.settings import PartySettings

    return settings(PartySettings)


def gateway_settings() -> str:
    from services.gateway.settings import GatewaySettings

    return settings(GatewaySettings)


# ---- wire


def message_kinds() -> str:
    """The numbers of link messages, with what their source says of them."""
    from libmpc.party.messages import Kind

    source = (ROOT / "libmpc" / "party" / "messages.py").read_text()
    notes = dict(re.findall(r"^    ([A-Z]+) = \d+  # (.*)$", source, re.MULTILINE))
    return table(
        ("kind", "name", "meaning"),
        [(str(k.value), f"`{k.name}`", notes.get(k.name, "see the table below")) for k in Kind],
    )


def errors() -> str:
    """Every public error and what it stands for."""
    from libmpc import errors as module

    rows = []
    for name, kind in vars(module).items():
        if isinstance(kind, type) and kind.__module__ == module.__name__:
            bases = ", ".join(f"`{base.__name__}`" for base in kind.__bases__)
            rows.append((f"`{name}`", bases, (kind.__doc__ or "").splitlines()[0]))
    return table(("error", "is a", "when"), rows)


# ---- metrics


def metrics(families: Sequence[Any]) -> str:
    """The table of metrics, from their declarations."""
    rows = []
    for family in families:
        labels = "; ".join(f"`{label}`: {values}" for label, values in family.labels.items())
        rows.append((f"`{family.shown}`", family.kind, labels or "–", family.help))
    return table(("metric", "type", "labels", "meaning"), rows)


def common_metrics() -> str:
    from services.common.machine import COMMON

    return metrics(COMMON)


def party_metrics() -> str:
    from services.party.families import FAMILIES

    return metrics(FAMILIES)


def gateway_metrics() -> str:
    from services.gateway.families import FAMILIES

    return metrics(FAMILIES)


# ---- OpenAPI


def openapi() -> dict[str, Any]:
    """The OpenAPI documents of both services; no service is started for them."""
    from services.gateway.app import make_app as gateway_app
    from services.party.app import make_app as party_app

    # Stand-ins: routes ask a gateway and a node for something only when they are called.
    gateway: Any = SimpleNamespace(access=None)
    node: Any = None
    return {"gateway": gateway_app(gateway).openapi(), "party": party_app(node).openapi()}


def operations(document: dict[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Method, path and description of every operation, sorted by path."""
    for path, methods in sorted(document["paths"].items()):
        for method, operation in sorted(methods.items()):
            yield method.upper(), path, operation


def gateway_routes() -> str:
    """The table of the gateway's routes."""
    rows = []
    for method, path, operation in operations(openapi()["gateway"]):
        # FastAPI adds 422 in a form of its own wherever a path has a name; no name leads to it.
        statuses = [
            status
            for status, answer in sorted(operation["responses"].items())
            if "HTTPValidationError" not in json.dumps(answer)
        ]
        needed = operation.get("security", [{}])[0].get("HTTPBearer", ["none"])
        rows.append((f"`{method} {path}`", operation["summary"], needed[0], ", ".join(statuses)))
    return table(("route", "what", "token", "statuses"), rows)


# ---- capacity


def capacity() -> str:
    """What ``libmpc capacity`` says of the tutorial's network at three loads."""
    from libmpc import data
    from libmpc.cli.capacity import text
    from libmpc.graph.loading import read_file
    from libmpc.graph.lowering import lower
    from libmpc.runtime.capacity import Demand, plan_capacity

    name = "short-conv-mnist.h5"
    plan = lower(read_file(data.model_path(name))).plan
    parts = []
    for load in (10, 1_000, 100_000):
        found = plan_capacity(plan, Demand(load, core_hour=0.04, gigabyte=0.05))
        parts.append(f"{load:,} queries a second:\n\n```text\n{text(name, found)}\n```\n")
    return "\n".join(parts)


BLOCKS: dict[str, Callable[[], str]] = {
    "party settings": party_settings,
    "gateway settings": gateway_settings,
    "common metrics": common_metrics,
    "party metrics": party_metrics,
    "gateway metrics": gateway_metrics,
    "message kinds": message_kinds,
    "errors": errors,
    "gateway routes": gateway_routes,
    "capacity": capacity,
}


# ---- command line


def commands() -> dict[str, Any]:
    """Every command by name, in the order in which ``--help`` lists them."""
    import typer

    from libmpc.cli.main import app

    return dict(_commands(typer.main.get_command(app), ""))


def _commands(group: Any, before: str) -> Iterator[tuple[str, Any]]:
    for name, command in group.commands.items():
        yield before + name, command
        if hasattr(command, "commands"):
            yield from _commands(command, f"{before}{name} ")


def cli() -> str:
    """The whole of ``docs/cli.md``."""
    found = commands()
    listed = [
        (f"[`{name}`](#libmpc-{name.replace(' ', '-')})", c.short_help or "")
        for name, c in found.items()
    ]
    parts = [CLI_HEAD, table(("command", "what it does"), listed)]
    parts += ["".join(_command(name, command)) for name, command in found.items()]
    return "\n".join(parts)


def _command(name: str, command: Any) -> Iterator[str]:
    arguments = [p for p in command.params if p.param_type_name == "argument"]
    options = [p for p in command.params if p.param_type_name == "option" and p.help]
    last = "COMMAND" if hasattr(command, "commands") else "[OPTIONS]"
    usage = " ".join([name, *(p.metavar or p.name.upper() for p in arguments), last])
    yield f"## libmpc {name}\n\n```text\nlibmpc {usage}\n```\n\n"
    yield "\n\n".join(_paragraphs(command.help or "")) + "\n"
    rows = [(f"`{p.metavar or p.name.upper()}`", "required", p.help or "") for p in arguments]
    rows += [(_flags(p), _default(p), p.help) for p in options]
    if rows:
        yield "\n" + table(("option", "default", "meaning"), rows)
    if command.epilog:
        _, *lines = command.epilog.replace("\b\n", "").splitlines()
        yield "\n```sh\n" + "\n".join(line.removeprefix("  ") for line in lines) + "\n```\n"


def _paragraphs(text: str) -> Iterator[str]:
    for paragraph in re.split(r"\n\s*\n", text.strip()):
        lines = [line.strip() for line in paragraph.replace("\b", "").strip().splitlines()]
        yield "\n".join(lines)


def _flags(option: Any) -> str:
    metavar = option.metavar or ""
    return ", ".join(f"`{flag} {metavar}`" if metavar else f"`{flag}`" for flag in option.opts)


def _default(option: Any) -> str:
    if option.required:
        return "required"
    text = "–" if option.default in (None, False, ()) else f"`{option.default}`"
    return f"{text}, or `{option.envvar}`" if option.envvar else text


# ---- files


def outputs() -> dict[Path, str]:
    """Every file with a generated part, and what it must contain."""
    found = {DOCS / "cli.md": cli()}
    for name, document in openapi().items():
        text = json.dumps(document, indent=2, sort_keys=True, ensure_ascii=False)
        found[DOCS / "openapi" / f"{name}.json"] = text + "\n"
    for path in sorted(DOCS.glob("*.md")):
        text = path.read_text()
        filled = _BLOCK.sub(lambda m: m[1] + BLOCKS[m[2]]() + m[3], text)
        if path not in found and _BLOCK.search(text):
            found[path] = filled
    return found


def main(arguments: list[str]) -> int:
    """Write or check; the exit status."""
    stale = [p for p, text in outputs().items() if not p.exists() or p.read_text() != text]
    for path in stale:
        sys.stderr.write(f"{path.relative_to(ROOT)} is out of date\n")
        if "--check" not in arguments:
            path.parent.mkdir(exist_ok=True)
            path.write_text(outputs()[path])
    return 1 if stale and "--check" in arguments else 0


if __name__ == "__main__":
    sys.path.insert(0, str(ROOT))
    sys.exit(main(sys.argv[1:]))
