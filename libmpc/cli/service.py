"""``libmpc party`` and ``libmpc gateway``: one service in the foreground."""

from __future__ import annotations

import gc
import os
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from libmpc.cli.texts import examples
from libmpc.errors import ConfigError

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

    from libmpc.doctor.findings import Findings

GROUP = "libmpc.services"

ConfigOption = Annotated[
    Path, typer.Option("--config", metavar="PATH", help="The settings that 'libmpc init' made.")
]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    party_example = examples("libmpc party --index 0 --config party0/party.yaml")
    app.command("party", epilog=party_example, short_help="Run one compute party.")(party)
    gateway_example = examples("libmpc gateway --config gateway/gateway.yaml")
    app.command("gateway", epilog=gateway_example, short_help="Run a gateway.")(gateway)


def party(
    index: Annotated[
        int, typer.Option("--index", metavar="N", min=0, max=2, help="Which party this is.")
    ],
    config: ConfigOption,
    audit: Annotated[
        float | None,
        typer.Option(
            "--audit",
            metavar="P",
            min=0,
            max=1,
            help="At party 0: verify this share of the dealer's bundles instead of using them,"
            " 0.01 for a hundredth. What the settings say, unless given.",
        ),
    ] = None,
) -> None:
    """Run one compute party until Ctrl-C or SIGTERM.

    Parties 0 and 1 compute, party 2 deals randomness. Each must be run by another organisation.
    """
    if audit is not None:
        os.environ["LIBMPC_PARTY_AUDIT"] = repr(audit)  # goes before the file
    _run("party", config, index)


def gateway(config: ConfigOption) -> None:
    """Run a gateway until Ctrl-C or SIGTERM: it relays between clients and parties.

    It cannot read anything of what it relays.
    """
    _run("gateway", config)


def _run(name: str, *arguments: Any) -> None:
    from libmpc.cluster.lifeline import watch

    watch()  # first, so that not even a long import outlives our parent
    _service(name)(*arguments)
    # The service has closed what it had. Without this the interpreter, before it ends, searches
    # all that numba has made for garbage: about a second, of the few that stopping may take.
    gc.freeze()


def entry_point(name: str) -> EntryPoint | None:
    """Where a service starts, if services are installed."""
    from importlib.metadata import entry_points

    return next(iter(entry_points(group=GROUP, name=name)), None)


def check(name: str, findings: Findings, config: Path) -> None:
    """Check a service's files, ports and peers, by the ``check`` beside its entry point.

    Raises:
        ConfigError: the services, or what they need, are not installed.
    """
    _service(name)
    found = entry_point(name)
    assert found is not None
    import_module(found.module).check(findings, config)


def _service(name: str) -> Callable[..., None]:
    """The service's entry point; libmpc itself knows no service.

    Raises:
        ConfigError: the services, or what they need, are not installed.
    """
    found = entry_point(name)
    if found is None:
        raise ConfigError("libmpc's services are not installed; run: pip install 'libmpc[all]'")
    try:
        run: Callable[..., None] = found.load()
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] in ("libmpc", "services"):
            raise
        raise ConfigError(
            f"the {name} needs {error.name}, which is not installed; run: pip install 'libmpc[all]'"
        ) from None
    return run
