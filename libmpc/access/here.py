"""The tokens of a gateway whose files are on this machine, as its operator manages them."""

from __future__ import annotations

import contextlib
import os
import sqlite3
from collections.abc import Iterator, Mapping
from pathlib import Path

from libmpc.access.grant import Grant, TokenState
from libmpc.access.store import AccessStore
from libmpc.deployment import Deployment
from libmpc.errors import ConfigError
from libmpc.identity.yamlfile import read_mapping

_PREFIX = "LIBMPC_GATEWAY_"


class Desk:
    """The tokens of a gateway on this machine.

    Attributes:
        deployment: the gateway's.
    """

    def __init__(self, deployment: Deployment, store: AccessStore) -> None:
        self.deployment = deployment
        self._store = store

    def add(self, grant: Grant) -> None:
        """Let a token in."""
        self._store.add(grant)

    def states(self) -> list[TokenState]:
        """Every token. Images that a running gateway has set aside count as used."""
        grants = self._store.grants()
        return [TokenState.of(grant, self._store.usage(grant.id)) for grant in grants]

    def revoke(self, token: str) -> None:
        """Let a token in no more.

        Raises:
            ConfigError: there is none of that id.
        """
        if not self._store.remove(token):
            raise ConfigError("there is no such token; 'libmpc token list' lists them")


@contextlib.contextmanager
def open_desk(config: Path, environment: Mapping[str, str] = os.environ) -> Iterator[Desk]:
    """The tokens of the gateway that ``config`` (a ``gateway.yaml``) describes, running or not.

    Raises:
        ConfigError: a file is missing, not valid, or cannot be written.
    """
    deployment = Deployment.from_file(_path(config, "deployment", environment))
    store = AccessStore(_path(config, "data", environment))
    try:
        yield Desk(deployment, store)
    except sqlite3.Error as error:
        raise ConfigError(f"the tokens' file cannot be used: {error}") from None
    finally:
        store.close()


def _path(config: Path, name: str, environment: Mapping[str, str]) -> Path:
    # As the gateway reads its settings: the environment wins, paths are relative to the file.
    found = environment.get(_PREFIX + name.upper())
    found = found or read_mapping(config, "the settings file").get(name)
    if not isinstance(found, str):
        raise ConfigError(f"{config} (the settings file) does not say {name!r}: is it a gateway's?")
    return config.resolve().parent / found
