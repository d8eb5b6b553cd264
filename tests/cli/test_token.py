"""``libmpc token``: on the gateway's host, with ``--config``; over the network in tests/gateway."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from libmpc.access import AccessStore
from libmpc.access.opening import Where
from libmpc.credentials import Credential
from libmpc.deployment import Deployment
from libmpc.deployment_local import LocalPorts, make_all
from libmpc.identity.token import is_token, token_id
from tests.cli.run import Cli
from tests.postgres import Server

PORTS = LocalPorts(parties=(2, 3, 4), health=(5, 6, 7), gateway=1)


@pytest.fixture
def config(tmp_path: Path) -> Path:
    make_all(tmp_path / "run", PORTS, host="127.77.0.1")
    return tmp_path / "run" / "gateway" / "gateway.yaml"


def test_create_list_revoke(cli: Cli, config: Path) -> None:
    here = ("--config", config)
    limits = ("--images", 10_000, "--images-per-minute", 600, "--requests-per-minute", 60)
    models = ("--models", "mnist,cifar", "--models", "score", "--expires", "90d")
    made = cli("token", "create", "clinic-a", *models, *limits, *here, "--json").json()
    assert token_id(made["token"]) == made["id"]
    assert "sha256" not in made
    found = {one["name"]: one for one in cli("token", "list", *here, "--json").json()["tokens"]}
    assert list(found) == ["owner", "client", "clinic-a"]
    assert found["clinic-a"] == {
        "id": made["id"],
        "name": "clinic-a",
        "role": "client",
        "created_ms": made["created_ms"],
        "expires_ms": made["created_ms"] + 90 * 86_400_000,
        "models": ["mnist", "cifar", "score"],
        "images": 10_000,
        "images_per_minute": 600,
        "requests_per_minute": 60,
        "used": {},
    }
    text = cli("token", "list", *here).out
    row = next(line for line in text.splitlines() if "clinic-a" in line)
    assert "mnist, cifar, score" in row
    assert "10,000 images, 600 images a minute, 60 requests a minute" in row
    store = AccessStore(config.parent / "data")
    (grant,) = (one for one in store.grants() if one.id == made["id"])
    store.close()
    assert is_token(made["token"], grant.sha256)
    assert made["id"] in cli("token", "revoke", made["id"], *here).out
    assert len(cli("token", "list", *here, "--json").json()["tokens"]) == 2
    assert "no such token" in cli("token", "revoke", made["id"], *here).error()


def test_the_token_alone_is_on_stdout(cli: Cli, config: Path) -> None:
    result = cli("token", "create", "somebody", "--role", "owner", "--config", config)
    assert result.code == 0
    assert token_id(result.out.strip()) is not None
    assert "only now" in result.err
    assert result.out.strip() not in result.err


def test_a_folder_for_a_client(cli: Cli, config: Path, tmp_path: Path) -> None:
    folder = tmp_path / "clinic-a"
    result = cli("token", "create", "clinic-a", "--config", config, "--out", folder)
    deployment = Deployment.from_file(folder / "deployment.yaml")
    assert deployment.fingerprint in result.out
    credential = Credential.beside(folder / "deployment.yaml", deployment)
    assert credential is not None
    assert credential.token is not None
    assert credential.owner_key is None
    assert credential.token.get_secret_value() not in result.out + result.err
    assert stat.S_IMODE((folder / "credentials.yaml").stat().st_mode) == 0o600
    # A folder that is there is not touched, and no token is made for it.
    assert "not overwritten" in (
        cli("token", "create", "clinic-b", "--config", config, "--out", folder).error()
    )
    names = [
        one["name"] for one in cli("token", "list", "--config", config, "--json").json()["tokens"]
    ]
    assert "clinic-b" not in names


@pytest.mark.parametrize(
    ("arguments", "code", "what"),
    [
        (["create", "Two Words"], 1, "name"),
        (["create", "x", "--role", "root"], 2, "root"),
        (["create", "x", "--expires", "soon"], 1, "90d"),
        (["create", "x", "--images", "0"], 2, "--images"),
        (["create", "x", "--models", "UPPER"], 1, "models"),
        (["create", "x", "--models", "mnist,"], 1, "models"),
        (["create", "x", "--role", "owner", "--models", "mnist"], 1, "for clients"),
        (["revoke", "nonsense"], 1, "libmpc token list"),
    ],
)
def test_what_makes_no_sense(
    cli: Cli, config: Path, arguments: list[str], code: int, what: str
) -> None:
    assert what in cli("token", *arguments, "--config", config).error(code)


def test_a_token_in_place_of_an_id_is_not_repeated(cli: Cli, config: Path) -> None:
    token = cli("token", "create", "x", "--config", config).out.strip()
    assert token not in cli("token", "revoke", token, "--config", config).error()


def test_where_the_gateway_keeps_its_data(
    cli: Cli, config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The environment wins over the file, as for the gateway itself."""
    monkeypatch.setenv("LIBMPC_GATEWAY_DATA", str(tmp_path / "elsewhere"))
    cli("token", "create", "x", "--config", config)
    store = AccessStore(tmp_path / "elsewhere")
    assert [grant.name for grant in store.grants()] == ["x"]
    store.close()


def test_files_that_are_none(cli: Cli, config: Path, tmp_path: Path) -> None:
    assert "nothing.yaml" in cli("token", "list", "--config", tmp_path / "nothing.yaml").error()
    (tmp_path / "other.yaml").write_text("index: 0\n")
    message = cli("token", "list", "--config", tmp_path / "other.yaml").error()
    assert "is it a gateway's?" in message
    (config.parent / "data" / "tokens.sqlite").write_bytes(b"nonsense" * 100)
    assert "tokens.sqlite" in cli("token", "list", "--config", config).error()


def test_without_a_command_help_and_status_2(cli: Cli) -> None:
    result = cli("token")
    assert (result.code, result.out) == (2, "")
    assert "Commands:" in result.err


def test_a_database_of_several_gateways(
    cli: Cli, config: Path, shared_where: Where, postgres: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The file's tokens move, with their counts; then everything works as with the file."""
    file = config.parent / "data" / "tokens.sqlite"
    made = cli("token", "create", "a", "--images", 9, "--config", config, "--json").json()
    store = AccessStore(file.parent)
    (entry,) = (one for one in store.entries() if one.grant.id == made["id"])
    store.counts.set_aside(entry, "mnist", 4, 9)
    store.close()
    assert shared_where.database is not None
    database = shared_where.database.get_secret_value().rsplit("/", 1)[1]
    with config.open("a") as settings:
        settings.write(f"database: postgresql://postgres@127.0.0.1:{postgres.port}/{database}\n")
        settings.write("database_password_file: keys/database\n")
    message = cli("token", "list", "--config", config).error()
    assert "database_password_file" in message
    (config.parent / "keys" / "database").write_text(postgres.password)
    (config.parent / "keys" / "database").chmod(0o600)

    def listed() -> list[dict[str, object]]:
        found = cli("token", "list", "--config", config, "--json").json()["tokens"]
        assert isinstance(found, list)
        return found

    assert listed() == []
    moved = cli("token", "import", file, "--config", config, "--json").json()
    assert moved == {"added": 3, "known": 0}
    assert "3 were there" in cli("token", "import", file, "--config", config).out
    assert [one["name"] for one in listed()] == ["owner", "client", "a"]
    assert listed()[2]["used"] == {"mnist": 9}
    cli("token", "revoke", made["id"], "--config", config)
    cli("token", "create", "b", "--config", config)
    assert [one["name"] for one in listed()] == ["owner", "client", "b"]
    assert "tokens.sqlite" in cli("token", "import", config, "--config", config).error()
    # The environment wins, as for the gateway; what is wrong is said without the password.
    monkeypatch.setenv("LIBMPC_GATEWAY_DATABASE", postgres.url("nothing", password="hunter2"))
    message = cli("token", "list", "--config", config).error()
    assert "nothing" in message
    assert "hunter2" not in message
    assert postgres.password not in message
