"""``libmpc token``: who may ask a gateway for what."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, Protocol

import typer

from libmpc.cli.options import DeploymentOption, JsonOption, TimeoutOption, UsageError, required
from libmpc.cli.texts import examples, result, say

if TYPE_CHECKING:
    from libmpc.access import Grant, TokenState
    from libmpc.deployment import Deployment

_CREATE = (
    "libmpc token create clinic-a --models mnist --images 10000 --expires 90d --out clinic-a",
    "libmpc token create demo --images-per-minute 600",
    "libmpc token create carol --role admin --config gateway/gateway.yaml",
)

ConfigOption = Annotated[
    Path | None,
    typer.Option(
        "--config",
        metavar="PATH",
        help="On the gateway's own host: its gateway.yaml. Needs no token.",
    ),
]
RoleName = Literal["client", "owner", "admin"]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    group = typer.Typer(
        name="token",
        help="Make, list and revoke the tokens that open the gateway.\n\n"
        "Asks the gateway, for which an admin's token is needed; or writes the gateway's own "
        "database, with --config on its host.",
        epilog=examples(_CREATE[0], "libmpc token list", "libmpc token revoke 0123456789ab"),
        short_help="Make, list and revoke access tokens.",
        invoke_without_command=True,
        callback=_options,
        rich_markup_mode=None,
    )
    group.command("create", epilog=examples(*_CREATE), short_help="Make a token.")(create)
    listed = examples("libmpc token list", "libmpc token list --json")
    group.command("list", epilog=listed, short_help="List the tokens.")(list_)
    revoked = examples("libmpc token revoke 0123456789ab")
    group.command("revoke", epilog=revoked, short_help="Let a token in no more.")(revoke)
    moved = examples("libmpc token import old/data/tokens.sqlite --config gateway/gateway.yaml")
    group.command("import", epilog=moved, short_help="Move tokens into a database.")(import_)
    app.add_typer(group)


def _options(context: typer.Context) -> None:
    if context.invoked_subcommand is None:
        typer.echo(context.get_help(), err=True)
        raise typer.Exit(2)


def create(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Whose it is, for people.")],
    role: Annotated[
        RoleName,
        typer.Option(
            metavar="ROLE",
            help="client: sees models and asks queries; owner: also pushes, serves, stops and "
            "deletes, with an owner's key; admin: also manages tokens.",
        ),
    ] = "client",
    expires: Annotated[
        str | None,
        typer.Option(metavar="WHEN", help="12h, 90d, 4w, or the last day: 2030-12-31."),
    ] = None,
    models: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAMES", help="Models that a client may see, with commas between; default: all."
        ),
    ] = None,
    images: Annotated[
        int | None,
        typer.Option(metavar="N", min=1, help="Images of each model, in all."),
    ] = None,
    images_per_minute: Annotated[
        int | None, typer.Option(metavar="N", min=1, help="Images a minute, of all models.")
    ] = None,
    requests_per_minute: Annotated[
        int | None, typer.Option(metavar="N", min=1, help="Requests a minute, of all models.")
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="Write what its holder needs into a new folder: deployment.yaml and "
            "credentials.yaml. Otherwise the token is printed.",
        ),
    ] = None,
    config: ConfigOption = None,
    timeout: TimeoutOption = 30.0,
    deployment: DeploymentOption = None,
    as_json: JsonOption = False,
) -> None:
    """Make a token, which is shown or written once: the gateway keeps its hash and nothing else.

    A limit of images is what stands between a client and a copy of the model trained on its
    answers. A token alone pushes nothing: the parties ask for the owner's key.
    """
    from libmpc.access import make_grant, parse_expiry
    from libmpc.identity.files import refuse_existing

    if out is not None:
        refuse_existing(out)
    now_ms = time.time_ns() // 1_000_000
    token, grant = make_grant(
        name,
        role,
        now_ms,
        expires_ms=None if expires is None else parse_expiry(expires, now_ms),
        models=[one for names in models for one in names.split(",")] if models else None,
        images=images,
        images_per_minute=images_per_minute,
        requests_per_minute=requests_per_minute,
    )
    with _desk(config, deployment, timeout) as desk:
        desk.add(grant)
        document = grant.model_dump(mode="json", exclude={"version", "sha256"})
        if out is None:
            document["token"] = text = token.get_secret_value()
            say(f"token {grant.id} of {name!r}, {role}; it is shown only now:")
        else:
            from libmpc.deployment_init import write_client

            write_client(out, desk.deployment, token)
            document["directory"] = str(out)
            text = (
                f"token {grant.id} of {name!r}, {role}: {out} has all that its holder needs\n"
                f"fingerprint, to be compared by another way: {desk.deployment.fingerprint}"
            )
    result(document, text, as_json)


def list_(
    config: ConfigOption = None,
    timeout: TimeoutOption = 30.0,
    deployment: DeploymentOption = None,
    as_json: JsonOption = False,
) -> None:
    """List the tokens: whose they are, what they may do, and what has been used of them."""
    with _desk(config, deployment, timeout) as desk:
        found = desk.states()
    listed = [state.model_dump(mode="json") for state in found]
    result({"tokens": listed}, _table(found, time.time()), as_json)


def revoke(
    token: Annotated[str, typer.Argument(metavar="ID", help="The token's id, not the token.")],
    config: ConfigOption = None,
    timeout: TimeoutOption = 30.0,
    deployment: DeploymentOption = None,
    as_json: JsonOption = False,
) -> None:
    """Let a token in no more, from the next request on, and forget its counts."""
    from libmpc.access import check_id

    check_id(token)
    with _desk(config, deployment, timeout) as desk:
        desk.revoke(token)
    result({"id": token}, f"token {token} opens nothing any more", as_json)


def import_(
    file: Annotated[
        Path,
        typer.Argument(metavar="FILE", help="tokens.sqlite of the gateway that had them."),
    ],
    config: Annotated[
        Path,
        typer.Option(
            metavar="PATH", help="gateway.yaml of the gateway that gets them, running or not."
        ),
    ],
    as_json: JsonOption = False,
) -> None:
    """Take over the tokens of another gateway, with what has been used of them.

    Stop that gateway before. Tokens that are there already are left as they are, so that doing it
    again changes nothing; the file is not changed.
    """
    from libmpc.access import FILE_NAME, AccessStore
    from libmpc.access.here import open_desk
    from libmpc.errors import ConfigError

    if file.name != FILE_NAME or not file.is_file():
        raise ConfigError(f"there is no file {file}; give a gateway's {FILE_NAME}")
    with open_desk(config) as desk, contextlib.closing(AccessStore(file.parent)) as old:
        added, known = desk.copy_from(old)
    text = f"{added} tokens taken over, {known} were there already"
    result({"added": added, "known": known}, text, as_json)


# ---- the gateway, asked or on this machine


class _Desk(Protocol):
    @property
    def deployment(self) -> Deployment: ...
    def add(self, grant: Grant) -> None: ...
    def states(self) -> list[TokenState]: ...
    def revoke(self, token: str) -> None: ...


@contextlib.contextmanager
def _desk(config: Path | None, deployment: Path | None, timeout: float) -> Iterator[_Desk]:
    if config is not None:
        from libmpc.access.here import open_desk

        with open_desk(config) as here:
            yield here
        return
    try:
        from libmpc.cluster.tokens import open_desk as ask
    except ModuleNotFoundError as error:
        if not (error.name or "").startswith("libmpc."):
            raise
        # A gateway's image has no code of clients.
        raise UsageError("here only the gateway's own file can be used: give --config") from None
    with ask(required(deployment), timeout) as there:
        yield there


def _table(found: list[TokenState], now: float) -> str:
    from libmpc.cli.tables import Column, table

    if not found:
        return "there are no tokens; make one with: libmpc token create NAME"
    titles = ("ID", "NAME", "ROLE", "EXPIRES", "MODELS", "LIMITS", "USED")
    rows = [
        (
            state.id,
            state.name,
            state.role,
            _expiry(state.expires_ms, now),
            "all" if state.models is None else ", ".join(state.models),
            _limits(state),
            ", ".join(f"{model} {used:,}" for model, used in state.used.items()) or "–",
        )
        for state in found
    ]
    return table([Column(title) for title in titles], rows)


def _expiry(expires_ms: int | None, now: float) -> str:
    if expires_ms is None:
        return "never"
    if expires_ms <= 1000 * now:
        return "expired"
    return time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(expires_ms / 1000))


def _limits(state: TokenState) -> str:
    limits = (
        (state.images, "images"),
        (state.images_per_minute, "images a minute"),
        (state.requests_per_minute, "requests a minute"),
    )
    return ", ".join(f"{limit:,} {what}" for limit, what in limits if limit is not None) or "none"
