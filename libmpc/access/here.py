"""The tokens of a gateway whose files are on this machine, as its operator manages them."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Mapping
from pathlib import Path

from pydantic import SecretStr

from libmpc.access.database import StoreError
from libmpc.access.grant import Grant, TokenState
from libmpc.access.opening import Where
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
        used = self._store.usages()
        return [TokenState.of(grant, used.get(grant.id, {})) for grant in self._store.grants()]

    def revoke(self, token: str) -> None:
        """Let a token in no more.

        Raises:
            ConfigError: there is none of that id.
        """
        if not self._store.remove(token):
            raise ConfigError("there is no such token; 'libmpc token list' lists them")

    def copy_from(self, other: AccessStore) -> tuple[int, int]:
        """Take over tokens and their counts; see ``AccessStore.copy_from``."""
        return self._store.copy_from(other)


@contextlib.contextmanager
def open_desk(config: Path, environment: Mapping[str, str] = os.environ) -> Iterator[Desk]:
    """The tokens of the gateway that ``config`` (a ``gateway.yaml``) describes, running or not.

    Raises:
        ConfigError: a file is missing, not valid, or cannot be written; or the database cannot be
            asked.
    """
    settings = _Settings(config, environment)
    deployment = Deployment.from_file(settings.path("deployment"))
    store = settings.where().open()
    try:
        yield Desk(deployment, store)
    except StoreError as error:
        raise ConfigError(f"the tokens cannot be used: {error}") from None
    finally:
        store.close()


class _Settings:
    """As the gateway reads them: the environment wins, paths are relative to the file."""

    def __init__(self, config: Path, environment: Mapping[str, str]) -> None:
        self._config = config
        self._file = read_mapping(config, "the settings file")
        self._environment = environment

    def where(self) -> Where:
        url, password = self._text("database"), self._text("database_password")
        file = self._text("database_password_file")
        return Where(
            self.path("data"),
            None if url is None else SecretStr(url),
            self._place(file) if file else SecretStr(password) if password else None,
        )

    def path(self, name: str) -> Path:
        found = self._text(name)
        if found is None:
            text = f"{self._config} (the settings file) does not say {name!r}: is it a gateway's?"
            raise ConfigError(text)
        return self._place(found)

    def _place(self, path: str) -> Path:
        return self._config.resolve().parent / path

    def _text(self, name: str) -> str | None:
        found = self._environment.get(_PREFIX + name.upper()) or self._file.get(name)
        return found if isinstance(found, str) else None
