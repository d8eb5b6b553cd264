"""``libmpc storage-key``: the keys that a party's stored shares are encrypted under."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from libmpc.cli.options import JsonOption, UsageError
from libmpc.cli.texts import examples, result

if TYPE_CHECKING:
    from libmpc.identity.storage_keys import StorageKeys

_EPILOG = examples(
    "libmpc storage-key --config party0/party.yaml",
    "libmpc storage-key --new --config party0/party.yaml         # then restart the party",
    "libmpc storage-key --drop-old --config party0/party.yaml    # then destroy all copies of them",
)


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(
        "storage-key", epilog=_EPILOG, short_help="Rotate the key that a party's shares are under."
    )(storage_key)


def storage_key(
    config: Annotated[
        Path, typer.Option("--config", metavar="PATH", help="The party's settings, party.yaml.")
    ],
    new: Annotated[bool, typer.Option("--new", help="Put a new key in front.")] = False,
    drop_old: Annotated[
        bool, typer.Option("--drop-old", help="Take out all keys but the first, if unused.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """List, add or take out the keys that a party's stored shares are encrypted under.

    \b
    To rotate:
    1. --new puts a new key in front; the old ones still decrypt.
    2. Restart the party: it encrypts what it has under the new key.
    3. --drop-old takes the old ones out, and refuses while something needs them.

    Then destroy every other copy of the old keys: from that moment nothing in any older backup of
    this party's data can be read, deleted models included.
    """
    from libmpc.identity.storage_keys import StorageKeys, new_storage_keys, used_key_ids

    if new and drop_old:
        raise UsageError("give one of --new and --drop-old; restart the party in between")
    path, data = _places(config)
    if new:
        keys = StorageKeys.from_file(path).with_new() if path.exists() else _made(data)
        (keys or new_storage_keys()).write(path)
    keys = StorageKeys.from_file(path)
    used = used_key_ids(data)
    if drop_old:
        keys.drop_old(used).write(path)
        keys = StorageKeys.from_file(path)
    rows = [
        {"id": k.id.hex(), "encrypts": k.id == keys.first.id, "used": k.id in used} for k in keys
    ]
    lines = [
        f"{row['id']}  {'encrypts' if row['encrypts'] else 'decrypts'}"
        f"{', in use' if row['used'] else ', not in use'}"
        for row in rows
    ]
    if new:
        lines.append("Restart the party: it encrypts what it has under the new key.")
    result({"file": str(path), "keys": rows}, "\n".join([f"{path}:", *lines]), as_json)


def _made(data: Path) -> StorageKeys | None:
    """No key file: fine for a party of before there were such keys, and for no other one."""
    from libmpc.errors import ConfigError
    from libmpc.identity.storage_keys import used_key_ids

    if used := used_key_ids(data):
        raise ConfigError(
            f"{data} is encrypted under the key {min(used).hex()}, and the key file is gone;"
            " bring it back from a backup"
        )
    return None


def _places(config: Path) -> tuple[Path, Path]:
    """The key file and the party's data, by its settings and the environment."""
    import os

    from libmpc.identity.storage_keys import STORAGE_KEY
    from libmpc.identity.yamlfile import read_mapping

    settings = read_mapping(config, "the settings file")

    def place(name: str, default: Path) -> Path:
        value = os.environ.get(f"LIBMPC_PARTY_{name.upper()}") or settings.get(name)
        return config.resolve().parent / str(value) if value else default

    home = config.resolve().parent
    keys = place("keys", home / "keys")
    return place("storage_key_file", keys / STORAGE_KEY), place("data", home / "data")
