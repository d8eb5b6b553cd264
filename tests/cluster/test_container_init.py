"""The job that makes a demonstration's files for containers, run here without any."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from libmpc.access import AccessStore
from libmpc.cluster.container_init import NAMES, Job, run
from libmpc.credentials import Credential
from libmpc.deployment import Deployment
from libmpc.identity.token import is_token, token_id

ME = (os.getuid(), os.getgid())


@pytest.fixture
def job(tmp_path: Path) -> Job:
    """Volumes, mounted and empty, as an engine makes them."""
    for name in (*NAMES, "access", "owner", "host"):
        (tmp_path / name).mkdir()
    return Job(tmp_path, tmp_path / "host", 8443, ME, ME)


def files(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


def test_each_volume_has_what_its_service_needs(job: Job) -> None:
    deployment = run(job)
    assert files(job.root / "access") == {"tokens.sqlite"}
    assert "gateway.yaml" in files(job.root / "gateway")
    assert not [path for path in job.root.rglob("*") if path.is_symlink()]
    store = AccessStore(job.root / "access")
    grants = {grant.id: grant for grant in store.grants()}
    store.close()
    for folder, role in ((job.host, "admin"), (job.host / "client", "client")):
        assert Deployment.from_file(folder / "deployment.yaml") == deployment
        credential = Credential.beside(folder / "deployment.yaml", deployment)
        assert credential is not None
        assert credential.token is not None
        assert (credential.owner_key is not None) == (role == "admin")
        token = credential.token.get_secret_value()
        grant = grants[token_id(token) or ""]
        assert grant.role == role
        assert is_token(token, grant.sha256)


def test_again_nothing_is_made_anew(job: Job) -> None:
    run(job)
    before = {name: (job.root / name).read_bytes() for name in files(job.root)}
    shutil.rmtree(job.host)
    job.host.mkdir()
    run(job)
    assert {name: (job.root / name).read_bytes() for name in files(job.root)} == before


def test_volumes_from_before_there_were_roles(job: Job) -> None:
    run(job)
    shutil.rmtree(job.root / "access")
    shutil.rmtree(job.root / "owner" / "client")
    shutil.rmtree(job.host)
    job.host.mkdir()
    run(job)
    assert files(job.host) == {"deployment.yaml", "credentials.yaml"}
    assert (job.root / "access").is_dir()
