"""Settings of a gateway."""

from __future__ import annotations

from pathlib import Path
from typing import Self

from pydantic import Field, SecretStr, model_validator
from pydantic_settings import SettingsConfigDict

from libmpc.access.opening import Where
from libmpc.link import LinkSettings
from services.common.settings import SHA256, ServiceSettings

MIB = 1 << 20
SCHEMES = ("postgresql://", "postgres://")


class GatewaySettings(ServiceSettings):
    """``gateway.yaml``; every field can be set as ``LIBMPC_GATEWAY_<NAME>`` too."""

    model_config = SettingsConfigDict(env_prefix="LIBMPC_GATEWAY_")

    token_sha256: SecretStr | None = Field(
        None,
        description="SHA-256 (hex) of one token for everybody, with the rights of an owner, as"
        " before there were tokens with roles.",
    )
    database: SecretStr | None = Field(
        None,
        description="PostgreSQL that several gateways share, for tokens, quotas and rates:"
        " `postgresql://USER@HOST/NAME?sslrootcert=PATH`. Without it `tokens.sqlite` in `data`,"
        " for one gateway.",
    )
    database_password: SecretStr | None = Field(
        None,
        description="Password of the database's role, unless it is in the URL. For the"
        " environment; a file is better.",
    )
    database_password_file: Path | None = Field(
        None,
        description="File with that password, read again for every new connection.",
    )
    database_timeout: float = Field(
        2.0, ge=0.1, le=30, description="Seconds that the database may take to answer."
    )
    database_grace: float = Field(
        5.0,
        ge=0,
        le=86_400,
        description="Seconds for which the tokens read last still open this gateway while the"
        " database cannot be asked; then 503. A token that is revoked meanwhile counts as long.",
    )
    https: bool = Field(
        True,
        description="Serve HTTPS. Set it to false only behind a proxy that does, on one machine.",
    )
    link_timeout: float = Field(
        3.0, ge=1, le=60, description="Seconds of silence after which a party counts as dead."
    )
    call_timeout: float = Field(
        5.0, gt=0, le=60, description="Seconds that a party may take to answer a short question."
    )
    query_timeout: float = Field(
        30.0, gt=0, le=3600, description="Seconds that a query may take unless it says otherwise."
    )
    max_query_timeout: float = Field(
        300.0, gt=0, le=3600, description="The most seconds that a query may ask for."
    )
    push_timeout: float = Field(
        120.0, gt=0, le=3600, description="Seconds that a party may take to store a pushed share."
    )
    commit_timeout: float = Field(
        10.0,
        gt=0,
        le=600,
        description="Seconds to go on trying when a party is lost in the middle of a change.",
    )
    body_idle_timeout: float = Field(
        30.0, ge=0, le=3600, description="Seconds that a sender may pause within a body."
    )
    max_infer_bytes: int = Field(256 * MIB, ge=1, description="Longest body of a query, in bytes.")
    max_json_bytes: int = Field(
        32 * MIB,
        ge=1,
        description="Longest body of a query as JSON without binary data, in bytes.",
    )
    max_push_bytes: int = Field(2048 * MIB, ge=1, description="Longest body of a push, in bytes.")
    memory_bytes: int = Field(
        3072 * MIB, ge=1, description="Bodies held at the same time, in bytes; beyond it: 503."
    )
    queue_length: int = Field(
        1024,
        ge=1,
        description="Queries of one model that may wait; beyond it: 429. No client may hold more"
        " than is still free, so one alone fills half.",
    )
    queue_rows: int = Field(
        1 << 16, ge=1, description="Samples of one model that may wait, in the same way."
    )
    queue_bytes: int = Field(
        1024 * MIB, ge=1, description="Bytes of one model that may wait, in the same way."
    )
    batches: int = Field(
        2, ge=1, le=64, description="Batches of one model under way before queries have to wait."
    )
    max_batches: int = Field(
        4, ge=1, le=64, description="Batches of one model under way, whatever waits."
    )
    batch_delay: float = Field(
        0.02,
        ge=0,
        le=10,
        description="Seconds that queries gather while max_batches allows another batch.",
    )
    batch_queries: int = Field(256, ge=1, le=1024, description="Most queries in one batch.")
    batch_rows: int = Field(
        128, ge=1, description="Most samples in one batch, unless one query has more."
    )
    batch_bytes: int = Field(
        16 * MIB, ge=1, description="Most bytes in one batch, unless one query has more."
    )

    log_requests: bool | None = Field(
        None,
        description="A line in the log for every request; unless set, where `log_json` is.",
    )
    log_addresses: bool = Field(
        False, description="Have the senders' addresses in these lines, which are personal data."
    )

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        shared = self.token_sha256
        if shared is not None and not SHA256.fullmatch(shared.get_secret_value()):
            raise ValueError("token_sha256 must be 64 lower-case hexadecimal digits")
        url = self.database
        # SECURITY: what is wrong is said without the value, which may have a password in it.
        if url is None and (self.database_password or self.database_password_file):
            raise ValueError("a password for a database, and no database")
        if self.database_password and self.database_password_file:
            raise ValueError("database_password and database_password_file: give one of them")
        if url is not None and not url.get_secret_value().startswith(SCHEMES):
            raise ValueError("database must begin with postgresql://")
        if self.max_batches < self.batches:
            raise ValueError("max_batches must not be less than batches")
        if self.max_query_timeout < self.query_timeout:
            raise ValueError("max_query_timeout must not be less than query_timeout")
        return self

    @classmethod
    def from_file(cls, path: Path) -> Self:
        """Read a settings file and the environment; see ``ServiceSettings.from_file``."""
        settings = super().from_file(path)
        if settings.database_password_file is None:
            return settings
        place = path.resolve().parent / settings.database_password_file
        return settings.model_copy(update={"database_password_file": place})

    def where(self) -> Where:
        """The database of tokens."""
        password = self.database_password_file or self.database_password
        return Where(self.data, self.database, password, self.database_timeout)

    def link_settings(self) -> LinkSettings:
        """The bounds of a link to a party: it sends us replies, lists and receipts only."""
        return LinkSettings(heartbeat=self.link_timeout / 3, timeout=self.link_timeout)
