"""``libmpc``: the commands put together, and what a user sees when something goes wrong."""

from __future__ import annotations

import os
import sys
import warnings
from collections.abc import Sequence
from typing import Annotated, NoReturn

import typer

from libmpc._version import __version__
from libmpc.cli import (
    audit,
    bench,
    capacity,
    check,
    demo,
    doctor,
    evaluate,
    explain,
    init,
    keys,
    models,
    push,
    query,
    reference,
    service,
    status,
    storage_key,
    token,
    up,
)
from libmpc.cli.options import UsageError
from libmpc.cli.texts import examples
from libmpc.errors import LibmpcError

DEBUG = "LIBMPC_DEBUG"
_EPILOG = examples(
    "libmpc demo",
    "libmpc up --dir run",
    "export LIBMPC_DEPLOYMENT=run/deployment.yaml",
    "libmpc push short-conv-mnist.h5 --name mnist --input-range 0 1 --serve",
    "libmpc query mnist digits.npy --out logits.npy",
)

app = typer.Typer(
    name="libmpc",
    help="Private neural-network inference: three parties compute on secret shares, and only the "
    "client reads the answer.",
    epilog=_EPILOG,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"libmpc {__version__}")
        raise typer.Exit


@app.callback(invoke_without_command=True)
def _options(
    context: typer.Context,
    _: Annotated[
        bool,
        typer.Option("--version", callback=_version, is_eager=True, help="Print the version."),
    ] = False,
) -> None:
    if context.invoked_subcommand is None:
        typer.echo(context.get_help(), err=True)
        raise typer.Exit(2)


_GROUPS = (
    *(demo, init, up, service, token, keys, storage_key, audit, push, models, query, evaluate),
    *(status, doctor, bench, reference, explain, capacity, check),
)
for group in _GROUPS:
    group.register(app)


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run the command line and exit: 0 on success, 1 on an error, 2 on a wrong command line.

    Args:
        arguments: by default the process's own.
    """
    with warnings.catch_warnings():
        warnings.showwarning = _show_warning
        warnings.simplefilter("always", UserWarning)  # such as: a range that is not proven
        sys.exit(_run(arguments))


def _run(arguments: Sequence[str] | None) -> int:
    try:
        code = app(arguments, prog_name="libmpc", standalone_mode=False)
    except typer.Exit as ending:
        return ending.exit_code
    except (typer.Abort, KeyboardInterrupt):
        _complain("stopped")
        return 130
    except BaseException as error:
        if not isinstance(error, Exception) or os.environ.get(DEBUG):
            raise
        return _explain(error)
    return code or 0


def _explain(error: Exception) -> int:
    if isinstance(error, typer.TyperException):
        # The command line itself: an unknown option, a missing argument, a wrong number.
        context = getattr(error, "ctx", None)
        path = context.command_path if context is not None else "libmpc"
        _complain(f"{error.format_message().rstrip('.')} (see '{path} --help')")
        return error.exit_code
    if isinstance(error, BrokenPipeError):
        # Whoever read our output has gone. Nothing can be said to them, not even at the very end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    if isinstance(error, LibmpcError):
        _complain(str(error))
        return 2 if isinstance(error, UsageError) else 1
    if isinstance(error, OSError):
        where = f"{error.filename}: " if error.filename is not None else ""
        _complain(f"{where}{error.strerror or type(error).__name__}")
    else:
        # SECURITY: not the exception's own text, which may contain values of arrays.
        _complain(
            f"unexpected {type(error).__name__}; this is a bug of libmpc: set {DEBUG}=1 to see "
            "where, and report it"
        )
    return 1


def _complain(message: str) -> None:
    typer.echo(f"error: {message}", err=True)


def _show_warning(message: Warning | str, *_: object, **__: object) -> None:
    typer.echo(f"warning: {message}", err=True)
