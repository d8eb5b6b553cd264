"""``libmpc keys``: replace a party's long-term keys and certificates without stopping."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from libmpc.cli.options import JsonOption
from libmpc.cli.texts import examples, result

DirectoryOption = Annotated[
    Path,
    typer.Option("--dir", metavar="DIR", help="The service's directory, as 'libmpc init' made it."),
]
FileArgument = Annotated[
    Path, typer.Argument(metavar="DEPLOYMENT", help="The deployment file; it is replaced.")
]

_STEPS = (
    "libmpc keys new --dir party1",
    "libmpc keys add deployment.yaml party1.next.public.yaml",
    "libmpc keys use --dir party1",
    "libmpc keys drop deployment.yaml --party 1",
)


def register(app: typer.Typer) -> None:
    """Add the commands."""
    group = typer.Typer(
        name="keys",
        help="Replace a party's long-term keys, or a certificate, without stopping.\n\n"
        "Both the old and the new keys count from 'add' until 'drop'. After each step, services "
        "whose files have changed read them anew at SIGHUP. Where a key may have been stolen, "
        "do all steps at once: until 'drop' the thief's counts, too.",
        epilog=examples(*_STEPS),
        no_args_is_help=True,
    )
    group.command("new", epilog=examples(_STEPS[0]), short_help="Make the next keys.")(new)
    group.command("add", epilog=examples(_STEPS[1]), short_help="Let them count as well.")(add)
    group.command("use", epilog=examples(_STEPS[2]), short_help="Take them into use.")(use)
    group.command("drop", epilog=examples(_STEPS[3]), short_help="Let the old count no more.")(drop)
    certificate = examples("libmpc keys certificate --dir party1")
    group.command("certificate", epilog=certificate, short_help="Replace a TLS certificate.")(tls)
    app.add_typer(group, short_help="Replace a party's keys without stopping.")


def new(directory: DirectoryOption, as_json: JsonOption = False) -> None:
    """Make a party's next keys, on its own host, beside those in use."""
    from libmpc.deployment_keys import new_keys

    path = new_keys(directory)
    text = f"""public file: {path}

Next: add it to the deployment file, which everybody then gets, clients included:
  libmpc keys add deployment.yaml {path.name}"""
    result({"public": str(path)}, text, as_json)


def add(
    path: FileArgument,
    public: Annotated[
        Path, typer.Argument(metavar="PUBLIC", help="The file that 'libmpc keys new' made.")
    ],
    as_json: JsonOption = False,
) -> None:
    """Let a party's next keys count as well as its present ones."""
    from libmpc.deployment_keys import add_keys

    deployment = add_keys(path, public)
    text = f"""{path}: both pairs of keys count
fingerprint: {deployment.fingerprint}

Next: hand the file to all parties, gateways and clients, who compare the fingerprint by another
way. Send SIGHUP to the services. When all have it, the party itself runs:
  libmpc keys use --dir DIR"""
    document = {"fingerprint": deployment.fingerprint, "id": deployment.id.hex()}
    result(document, text, as_json)


def use(directory: DirectoryOption, as_json: JsonOption = False) -> None:
    """Take a party's next keys into use; the old ones go to keys/old."""
    from libmpc.deployment_keys import use_keys

    identity = use_keys(directory)
    text = f"""the next keys are in use from this party's next start, or SIGHUP
the old ones are in {directory / "keys" / "old"}

Next: send SIGHUP to the party. When queries are answered, drop the old keys:
  libmpc keys drop deployment.yaml --party N
then delete {directory / "keys" / "old"}."""
    document = {
        "static_key": identity.static_public.hex(),
        "signing_key": identity.signing.public.hex(),
    }
    result(document, text, as_json)


def drop(
    path: FileArgument,
    party: Annotated[int, typer.Option("--party", metavar="N", min=0, max=2, help="Whose keys.")],
    as_json: JsonOption = False,
) -> None:
    """Let only a party's newest keys count."""
    from libmpc.deployment_keys import drop_keys

    deployment = drop_keys(path, party)
    text = f"""{path}: only party {party}'s newest keys count
fingerprint: {deployment.fingerprint}

Next: hand the file to everybody as before, and send SIGHUP to the services. Until a service has
it, the old keys count there."""
    document = {"fingerprint": deployment.fingerprint, "id": deployment.id.hex()}
    result(document, text, as_json)


def tls(
    directory: DirectoryOption,
    host: Annotated[
        list[str] | None,
        typer.Option("--host", metavar="HOST", help="A further name, such as a new triple's."),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Replace a party's or gateway's TLS key and certificate; its own authority signs.

    Nobody else needs a new file.
    """
    from libmpc.deployment_keys import new_certificate

    path = new_certificate(directory, host or [])
    also = f" and {', '.join(host)}" if host else ""
    text = f"{path}: new, for the same hosts{also}; send SIGHUP to the service"
    result({"certificate": str(path)}, text, as_json)
