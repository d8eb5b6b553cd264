"""Make a demonstration's files for containers: what the ``init`` job of ``compose.yaml`` runs.

Each party's keys go into a volume that only this party mounts, so of the services that run later
none can read another's. The job itself sees all of them, once: for trying out only.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from libmpc.credentials import FILE_NAME as CREDENTIALS
from libmpc.deployment import Deployment
from libmpc.deployment_init import (
    CLIENT_FOLDER,
    DEPLOYMENT_FILE,
    GATEWAY_FILE,
    PARTY_FILE,
    add_storage_key,
    join,
    make_party,
)
from libmpc.deployment_local import COMMENT
from libmpc.errors import ConfigError
from libmpc.identity.files import read_private, write_private, write_public

NAMES = ("party0", "party1", "party2", "gateway")
"""The services' host names, and the folders of their volumes."""

ACCESS = "access"
"""The volume of the gateway's tokens and counts: the only one that it writes to."""

SERVICE_ID = 10001
"""User and group that the images run as."""

PORT = 8443


@dataclass(frozen=True)
class Job:
    """What to make, and where.

    Attributes:
        root: has a folder for each service (its volume), ``access`` for the gateway's tokens, and
            ``owner``, which only this job has.
        host: gets ``deployment.yaml`` and credentials, the owner's and in ``client`` a client's.
        port: of this machine, where the gateway is published.
        user: (user, group) that shall own the files in ``host``.
        service: (user, group) that the services run as.
    """

    root: Path
    host: Path
    port: int
    user: tuple[int, int]
    service: tuple[int, int] = (SERVICE_ID, SERVICE_ID)


def run(job: Job) -> Deployment:
    """Make everything the first time; later bring ``host`` up to date. May be run at every start.

    Raises:
        ConfigError: some of the volumes are from another deployment, or are missing.
    """
    owner = job.root / "owner"
    made = {name: (job.root / name / DEPLOYMENT_FILE).exists() for name in (*NAMES, "owner")}
    if not any(made.values()):
        _make(job)
    elif not all(made.values()):
        lost = ", ".join(name for name, there in made.items() if not there)
        raise ConfigError(
            f"the volumes of {lost} are empty and others are not; bring them back from a backup, "
            "or forget keys and models and begin anew: docker compose down -v"
        )
    # Also where the other volumes are from before there was this one.
    (job.root / ACCESS).mkdir(mode=0o700, exist_ok=True)
    _own(job.root / ACCESS, job.service)
    for index in range(3):
        add_storage_key(job.root / f"party{index}")
        _own(job.root / f"party{index}" / "keys", job.service)
    deployment = _moved(Deployment.from_file(owner / DEPLOYMENT_FILE), job.port)
    _publish(job, deployment)
    return deployment


def main(environment: Mapping[str, str] = os.environ) -> int:
    """Run the job as the environment says; returns the exit status."""
    try:
        deployment = run(_job(environment))
    except (ConfigError, OSError) as error:
        sys.stderr.write(f"error: {error}\n")
        return 1
    sys.stdout.write(
        f"for trying out only: all three parties are on one machine\n"
        f"deployment {deployment.name} {deployment.id.hex()} is in .libmpc/{DEPLOYMENT_FILE}\n"
    )
    return 0


def _job(environment: Mapping[str, str]) -> Job:
    root = Path(environment.get("LIBMPC_INIT_ROOT", "/init"))
    host = root / "host"
    # Whoever owns the project's files is most likely who runs this; the engine does not tell.
    likely = next(path for path in (root / "project", host) if path.exists()).stat()
    user = _number(environment, "LIBMPC_UID", likely.st_uid)
    group = _number(environment, "LIBMPC_GID", likely.st_gid)
    return Job(root, host, _number(environment, "LIBMPC_PORT", PORT), (user, group))


def _number(environment: Mapping[str, str], name: str, default: int) -> int:
    text = environment.get(name) or str(default)
    if not text.isdecimal():
        raise ConfigError(f"{name} must be a number, not {text!r}")
    return int(text)


def _make(job: Job) -> None:
    owner = job.root / "owner"
    public = [
        make_party(index, f"https://party{index}:{PORT}", job.root / f"party{index}")
        for index in range(3)
    ]
    # The gateway's folder is made in its volume; links to it would leave the volume.
    (owner / "gateway").symlink_to(job.root / "gateway")
    (job.root / ACCESS).mkdir(mode=0o700, exist_ok=True)
    (job.root / "gateway" / "data").symlink_to(job.root / ACCESS)
    # Inside its container the gateway has always the same port; outside, whatever is published.
    deployment = join(public, _url(PORT), owner, "compose", hosts=("gateway",))
    (owner / "gateway").unlink()
    (job.root / "gateway" / "data").unlink()
    for index in range(3):
        deployment.write(job.root / f"party{index}" / DEPLOYMENT_FILE, COMMENT)
    for name in NAMES:
        settings = GATEWAY_FILE if name == "gateway" else PARTY_FILE
        if not (job.root / name / settings).exists():
            raise ConfigError(f"{settings} was not made")
        _own(job.root / name, job.service)


def _moved(deployment: Deployment, port: int) -> Deployment:
    (gateway,) = deployment.gateways
    gateways = (gateway.model_copy(update={"url": _url(port)}),)
    return Deployment.model_validate({**dict(deployment), "gateways": gateways})


def _publish(job: Job, deployment: Deployment) -> None:
    owner = job.root / "owner"
    _put(job, owner, job.host, deployment)
    if (owner / CLIENT_FOLDER).is_dir():
        _put(job, owner / CLIENT_FOLDER, job.host / CLIENT_FOLDER, deployment)


def _put(job: Job, source: Path, folder: Path, deployment: Deployment) -> None:
    folder.mkdir(exist_ok=True)
    credentials = folder / CREDENTIALS
    content = read_private(source / CREDENTIALS, "the credential file")
    if credentials.exists() and credentials.read_bytes() != content:
        # Perhaps a key that somebody still wants; a key is never overwritten.
        credentials.rename(_free(credentials))
    write_private(credentials, content)
    write_public(folder / DEPLOYMENT_FILE, deployment.to_yaml(COMMENT))
    folder.chmod(0o700)
    for path in (credentials, folder / DEPLOYMENT_FILE, folder):
        os.chown(path, *job.user)


def _free(path: Path) -> Path:
    number = 1
    while (other := path.with_name(f"{path.name}.old{number}")).exists():
        number += 1
    return other


def _own(folder: Path, ids: tuple[int, int]) -> None:
    for path in folder.rglob("*"):
        os.chown(path, *ids)
    os.chown(folder, *ids)


def _url(port: int) -> str:
    return f"https://127.0.0.1:{port}"


if __name__ == "__main__":
    sys.exit(main())
