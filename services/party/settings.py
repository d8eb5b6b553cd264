"""Settings of a party."""

from __future__ import annotations

from pydantic import Field
from pydantic_settings import SettingsConfigDict

from libmpc.link import LinkSettings
from libmpc.party.evaluator import RoleSettings
from libmpc.party.node import NodeSettings
from libmpc.wire.envelope import MAX_MESSAGE_BYTES
from services.common.settings import ServiceSettings


class PartySettings(ServiceSettings):
    """``party.yaml``; every field can be set as ``LIBMPC_PARTY_<NAME>`` too."""

    model_config = SettingsConfigDict(env_prefix="LIBMPC_PARTY_")

    index: int = Field(ge=0, le=2, description="Which party this is; never changes.")
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
    workers: int = Field(
        1, ge=1, le=64, description="Threads that deal and prepare correlated randomness."
    )

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
        )
