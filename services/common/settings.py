"""Settings of a service: a YAML file that ``libmpc init`` writes; the environment wins over it."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, Self

from pydantic import Field, SecretStr, ValidationError, field_validator
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from libmpc.deployment import Deployment
from libmpc.errors import ConfigError
from libmpc.identity.files import write_public
from libmpc.identity.tls import TLS_CERTIFICATE, TLS_KEY
from libmpc.identity.yamlfile import read_mapping
from libmpc.wire.document import describe
from services.common.tls import TlsFiles

AUTHORITIES = "authorities.pem"
SHA256 = re.compile(r"[0-9a-f]{64}")


class ServiceSettings(BaseSettings):
    """What every service needs to know. Paths are relative to the file they stand in."""

    model_config = SettingsConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    deployment: Path = Field(description="The deployment file that all three parties agreed on.")
    keys: Path = Field(description="Folder with this service's private keys and certificates.")
    data: Path = Field(description="Folder for what this service stores.")
    host: str = Field("0.0.0.0", description="Address to listen on.")
    port: int = Field(8443, ge=1, le=65535, description="Port to listen on.")
    health_host: str = Field("127.0.0.1", description="Address of the health and metrics port.")
    health_port: int = Field(
        8081, ge=1, le=65535, description="Plain HTTP port for health checks and metrics only."
    )
    metrics_token_sha256: SecretStr | None = Field(
        None,
        description="SHA-256 (hex) of a token for `/metrics`; without it only this host may ask.",
    )
    log_level: str = Field("info", description="debug, info, warning or error.")
    tracing: bool = Field(
        False,
        description="Send OpenTelemetry traces to where the standard OTEL_* variables say.",
    )
    log_json: bool = Field(False, description="One JSON object a line instead of text.")

    @field_validator("metrics_token_sha256")
    @classmethod
    def _digest(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None and not SHA256.fullmatch(value.get_secret_value()):
            raise ValueError("64 lower-case hexadecimal digits are expected")
        return value

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        # The environment before the file, so that one image serves many places.
        return (env_settings, init_settings)

    @classmethod
    def from_file(cls, path: Path) -> Self:
        """Read a settings file and the environment.

        Raises:
            ConfigError: the file is missing or not valid; names the field.
        """
        values: dict[str, Any] = read_mapping(path, "the settings file")
        try:
            settings = cls(**values)
        except ValidationError as error:
            raise ConfigError(
                f"{path} (the settings file) is not valid: {describe(error)}"
            ) from None
        home = path.resolve().parent
        folders = {name: home / getattr(settings, name) for name in ("deployment", "keys", "data")}
        return settings.model_copy(update=folders)

    def load_deployment(self) -> Deployment:
        """The deployment file.

        Raises:
            ConfigError: missing or not valid.
        """
        return Deployment.from_file(self.deployment)

    def certificates(self) -> dict[str, Path]:
        """Files of certificates that end one day, by what they are; see ``Machine``."""
        return {"own": self.keys / TLS_CERTIFICATE, "authority": self.data / AUTHORITIES}

    def tls(self, deployment: Deployment) -> TlsFiles:
        """This service's TLS files; writes the deployment's authorities where TLS wants them."""
        self.data.mkdir(mode=0o700, parents=True, exist_ok=True)
        ca = self.data / AUTHORITIES
        write_public(ca, deployment.tls_ca.encode())
        return TlsFiles(self.keys / TLS_CERTIFICATE, self.keys / TLS_KEY, ca)
