"""Settings of a party."""

from __future__ import annotations

from pathlib import Path
from typing import Self

from pydantic import Field, SecretStr
from pydantic_settings import SettingsConfigDict

from libmpc.audit import AuditSettings
from libmpc.deployment import MAX_TRIPLES
from libmpc.errors import ConfigError
from libmpc.identity.storage_keys import STORAGE_KEY, StorageKeys
from libmpc.identity.yamlfile import read_mapping
from libmpc.link import LinkSettings
from libmpc.party.node_settings import NodeSettings
from libmpc.party.settings import RoleSettings
from libmpc.wire.envelope import MAX_MESSAGE_BYTES
from services.common.settings import ServiceSettings


class PartySettings(ServiceSettings):
    """``party.yaml``; every field can be set as ``LIBMPC_PARTY_<NAME>`` too."""

    model_config = SettingsConfigDict(env_prefix="LIBMPC_PARTY_")

    index: int = Field(ge=0, le=2, description="Which party this is; never changes.")
    triple: int = Field(
        0,
        ge=0,
        lt=MAX_TRIPLES,
        description="Which of its party's processes this is; it works with the two others of the"
        " same number.",
    )
    storage_key_file: Path | None = Field(
        None,
        description="File with the keys that stored shares are encrypted under, one a line; the"
        " first encrypts, all decrypt. `storage.key` in `keys` unless set.",
    )
    storage_keys: SecretStr | None = Field(
        None,
        description="These keys themselves, with commas, instead of the file. In the environment"
        " only: the settings file can be read by everybody.",
    )
    round_timeout: float = Field(
        5.0,
        gt=0,
        le=600,
        description="Seconds to wait for one message of the other evaluator, besides the time"
        " that its work may take.",
    )
    bundle_timeout: float = Field(
        20.0, gt=0, le=600, description="Seconds that a query waits for correlated randomness."
    )
    link_timeout: float = Field(
        3.0, ge=1, le=60, description="Seconds of silence after which a peer counts as dead."
    )
    pool_bytes: int = Field(
        96 << 20,
        ge=1 << 20,
        description="Memory for correlated randomness that is kept ready or being spent, in bytes.",
    )
    stream_bytes: int = Field(
        64 << 20,
        ge=0,
        description="A bundle that takes more memory is not kept ready: it is dealt and spent step"
        " by step, while its run goes on. Party 0's value counts.",
    )
    stream_window: int = Field(
        64 << 20,
        ge=1 << 16,
        description="Bytes of one such bundle that may wait at a party, and one step more.",
    )
    streams: int = Field(
        2, ge=1, le=64, description="Runs with such a bundle at the same time; others wait."
    )
    audit: float = Field(
        0.0,
        ge=0,
        le=1,
        description="The share of bundles that the evaluators open and verify instead of using"
        " them, by a coin toss; see docs/trust-model.md. Party 0's value counts.",
    )
    gateway_bytes: int = Field(
        3 << 29,
        ge=MAX_MESSAGE_BYTES + (64 << 20),
        description="Memory for long messages of gateways, pushes and large batches, over all their"
        " links, in bytes; beyond it gateways wait.",
    )
    workers: int = Field(
        1, ge=1, le=64, description="Threads that deal and prepare correlated randomness."
    )
    audit_file_bytes: int = Field(
        16 << 20, ge=1 << 12, description="Bytes after which the audit log begins another file."
    )
    audit_bytes: int = Field(
        1 << 30,
        ge=1 << 16,
        description="Bytes of audit log that are kept; beyond it the oldest files are deleted.",
    )

    def audit_settings(self) -> AuditSettings:
        """The bounds of the audit log."""
        return AuditSettings(self.audit_file_bytes, self.audit_bytes)

    @classmethod
    def from_file(cls, path: Path) -> Self:
        """Read a settings file and the environment; see ``ServiceSettings.from_file``."""
        if "storage_keys" in read_mapping(path, "the settings file"):
            raise ConfigError(
                f"{path}: storage_keys is for the environment only; put keys into a file that"
                " nobody else can read, and its path into storage_key_file"
            )
        settings = super().from_file(path)
        if settings.storage_key_file is None:
            return settings
        place = path.resolve().parent / settings.storage_key_file
        return settings.model_copy(update={"storage_key_file": place})

    def load_storage_keys(self) -> StorageKeys:
        """The keys that stored shares are encrypted under.

        Raises:
            ConfigError: there are none, or they are not keys.
        """
        if self.storage_keys is not None:
            name = "LIBMPC_PARTY_STORAGE_KEYS"
            return StorageKeys.parse(self.storage_keys.get_secret_value(), name)
        return StorageKeys.from_file(self.storage_key_file or self.keys / STORAGE_KEY)

    def node_settings(self) -> NodeSettings:
        """The bounds as the library takes them."""
        return NodeSettings(
            link=LinkSettings(
                max_message=MAX_MESSAGE_BYTES,
                heartbeat=self.link_timeout / 3,
                timeout=self.link_timeout,
            ),
            role=RoleSettings(
                round_timeout=self.round_timeout,
                take_timeout=self.bundle_timeout,
                max_pool_bytes=self.pool_bytes,
                stream_bytes=self.stream_bytes,
                stream_window=self.stream_window,
                streams=self.streams,
                audit=self.audit,
            ),
            workers=self.workers,
            gateway_bytes=self.gateway_bytes,
        )
