"""The credential file: somebody's secrets, beside the deployment file and never part of it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Self

from pydantic import BaseModel, ConfigDict, Field, SecretStr

from libmpc.deployment import Deployment
from libmpc.errors import ConfigError
from libmpc.identity.files import write_private
from libmpc.identity.signing import SigningKey
from libmpc.identity.yamlfile import dump, read_model
from libmpc.wire.fields import Hex16, Version

WHAT = "the credential file"
FILE_NAME = "credentials.yaml"

_Secret32 = Annotated[SecretStr, Field(min_length=64, max_length=64)]


class Credential(BaseModel):
    """What somebody needs beyond the public deployment file; shows none of it when printed.

    Attributes:
        deployment: id of the deployment it is for (hex).
        owner_key: Ed25519 private key (hex), for those who push models.
        token: what the gateway asks for.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, hide_input_in_errors=True)

    version: Version = 1
    deployment: Hex16
    owner_key: _Secret32 | None = None
    token: Annotated[SecretStr, Field(min_length=16, max_length=256)] | None = None

    @classmethod
    def from_file(cls, path: Path | str, deployment: Deployment) -> Self:
        """Read a credential file.

        Raises:
            ConfigError: missing, readable by others, not valid, for another deployment, or its
                owner is not one of the deployment's.
        """
        path = Path(path)
        credential = read_model(path, cls, WHAT, private=True)
        if credential.deployment != deployment.id.hex():
            raise ConfigError(f"{path} ({WHAT}) is for another deployment")
        owner = credential.signing_key
        if owner is not None and owner.public.hex() not in deployment.owners:
            raise ConfigError(f"{path} ({WHAT}) has the key of no owner of this deployment")
        return credential

    @classmethod
    def beside(cls, deployment_path: Path | str, deployment: Deployment) -> Self | None:
        """Read the file that a deployment file names; ``None`` if it names none or it is not there.

        Raises:
            ConfigError: as ``from_file``.
        """
        if deployment.credentials is None:
            return None
        path = Path(deployment_path).parent / deployment.credentials
        return cls.from_file(path, deployment) if path.exists() else None

    @property
    def signing_key(self) -> SigningKey | None:
        """The owner's key, if there is one.

        Raises:
            ConfigError: it is not 64 hexadecimal digits.
        """
        if self.owner_key is None:
            return None
        try:
            return SigningKey.from_bytes(bytes.fromhex(self.owner_key.get_secret_value()))
        except ValueError:
            raise ConfigError(f"the owner_key in {WHAT} is not 64 hexadecimal digits") from None

    def write(self, path: Path) -> None:
        """Write the file, by rename, readable by its owner only."""
        fields = {
            "version": self.version,
            "deployment": self.deployment,
            "owner_key": self.owner_key and self.owner_key.get_secret_value(),
            "token": self.token and self.token.get_secret_value(),
        }
        may = "ask queries" if self.owner_key is None else "push, serve and delete models"
        comment = f"Secret: whoever has this file can {may}."
        present = {name: value for name, value in fields.items() if value is not None}
        write_private(path, dump(present, comment))

    def __repr__(self) -> str:
        return f"Credential(deployment={self.deployment})"

    __str__ = __repr__
