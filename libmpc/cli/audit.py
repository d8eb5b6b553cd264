"""``libmpc audit verify`` and ``show``: a party's log of who asked for what."""

from __future__ import annotations

import datetime as dt
import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from libmpc.cli.options import JsonOption, UsageError
from libmpc.cli.texts import count, examples, result, say

if TYPE_CHECKING:
    from libmpc.audit import Checked, Record

LogArgument = Annotated[
    Path,
    typer.Argument(metavar="LOG", help="A party's folder data/audit, or one file of it."),
]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    lines = (
        "libmpc audit verify party0/data/audit",
        "libmpc audit verify party0/data/audit --head 5f3c…",
        "libmpc audit show party0/data/audit --last 20",
    )
    group = typer.Typer(
        name="audit",
        help="Check and read a party's audit log: who asked for what, which model, when, how much.",
        epilog=examples(*lines),
        no_args_is_help=True,
    )
    group.command("verify", epilog=examples(*lines[:2]), short_help="Check the chain.")(verify)
    group.command("show", epilog=examples(lines[2]), short_help="Print the records.")(show)
    app.add_typer(group, short_help="Check and read a party's audit log.")


def verify(
    log: LogArgument,
    head: Annotated[
        str | None,
        typer.Option(
            "--head", metavar="HASH", help="A head noted down earlier, which must still be there."
        ),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Check that each record names the one before it, and print the head of the last one.

    Names the first broken record and ends with status 1. Changed, missing, added and exchanged
    records are found. Records cut off at the end are found with --head only, and so is a log that
    was hashed anew after a change: note heads down where the party's administrator cannot reach.
    """
    from libmpc.audit import check

    if head is not None and (len(head) != 64 or not set(head) <= set("0123456789abcdef")):
        raise UsageError("--head is 64 lower-case hexadecimal digits, as 'verify' prints them")
    checked = check(log, head)
    document = {
        "ok": True,
        "files": checked.files,
        "records": checked.records,
        "first": checked.first,
        "last": checked.last,
        "begins": checked.begins,
        "head": checked.head,
        "unfinished_bytes": checked.torn,
    }
    result(document, _summary(checked), as_json)


def show(
    log: LogArgument,
    last: Annotated[
        int | None, typer.Option("--last", metavar="N", min=1, help="Only the last N records.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Print the records, checking the chain on the way; with --json one record a line.

    \b
    Whose word each column is:
      gateway, party   proven in the handshake of their link
      model, owner     signed by the owner, checked by this party
      time             this party's clock
    """
    from collections import deque

    from libmpc.audit import Follow

    follow = Follow(log)
    records = follow if last is None else deque(follow, maxlen=last)
    for record in records:
        typer.echo(json.dumps(record.to_json()) if as_json else _line(record))
    if follow.torn:
        say(f"{count(follow.torn, 'byte')} of an unfinished record at the end, as a crash leaves")


def _summary(checked: Checked) -> str:
    if not checked.records:
        return "the log is empty"
    text = (
        f"{count(checked.records, 'record')} in {count(checked.files, 'file')}, "
        f"{checked.first} to {checked.last}: the chain holds\nhead: {checked.head}"
    )
    if checked.first != 1:
        text += (
            f"\nrecords before {checked.first} are not here; they end with head {checked.begins}"
        )
    if checked.torn:
        text += f"\n{count(checked.torn, 'byte')} of an unfinished record at the end"
    return text


def _line(record: Record) -> str:
    time = dt.datetime.fromtimestamp(record.time_ms / 1000, dt.UTC)
    who = f"gateway {record.gateway[:8]}" if record.gateway else ""
    if record.peer is not None:
        who = f"party {record.peer}"
    cells = [
        f"{record.number:>8}",
        time.strftime("%Y-%m-%d %H:%M:%SZ"),
        f"{record.event:<9}",
        f"{who:<16}",
        record.name or "",
    ]
    if record.model:
        cells.append(record.model[:12])
    if record.owner:
        cells.append(f"owner {record.owner[:8]}")
    if record.num_requests is not None:
        cells.append(f"limit {record.num_requests}")
    if record.count is not None:
        cells.append(f"{record.count} x")
    if record.samples is not None:
        cells.append(count(record.samples, "sample"))
    if record.outcome is not None:
        cells.append(str(record.outcome))
    return "  ".join(c for c in (*cells, record.note or "") if c).rstrip()
