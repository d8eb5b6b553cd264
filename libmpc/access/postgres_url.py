"""Where a PostgreSQL server is, out of a URL, without ever repeating a password."""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass, field
from typing import Self

from pydantic import SecretStr

from libmpc.errors import ConfigError

_HOSTS = re.compile(r"[A-Za-z0-9._:,/-]*")
_PORTS = re.compile(r"[0-9]{0,5}(,[0-9]{0,5})*")
_PLAIN = re.compile(r"[^@:?#&]*")


@dataclass(frozen=True)
class Target:
    """A server, a database and a role.

    Attributes:
        parameters: libpq's connection parameters; may have a password.
        shown: for messages: role, host and database.
        warning: what an operator should know about it; may be empty.
    """

    parameters: dict[str, str] = field(repr=False)
    shown: str
    warning: str

    @classmethod
    def parse(cls, url: SecretStr) -> Self:
        """Read a URL. TLS with ``verify-full`` unless it says otherwise, or the server is here.

        Raises:
            ConfigError: it is not valid; says nothing that is in it.
        """
        import psycopg
        from psycopg.conninfo import conninfo_to_dict

        try:
            read = conninfo_to_dict(url.get_secret_value())
        except psycopg.Error:
            read = None
        given = {} if read is None else {k: str(v) for k, v in read.items() if v is not None}
        host, name = given.get("host", ""), given.get("dbname", "")
        fits = (
            (_HOSTS, host),
            (_PORTS, given.get("port", "")),
            (_PLAIN, name),
            (_PLAIN, given.get("user", "")),
        )
        # SECURITY: libpq's own message repeats the part that it cannot read. A password with "@" or
        # "/" in it would be taken for a host, and a server's answer would repeat it.
        if read is None or not all(pattern.fullmatch(text) for pattern, text in fits):
            raise ConfigError(
                "the setting 'database' is no URL of PostgreSQL: postgresql://USER@HOST/NAME?..."
                " Write @ : / ? # % and spaces in a password as %40 %3A %2F %3F %23 %25 %20, or put"
                " it into database_password_file"
            )
        warning = ""
        if not _is_here(host):
            # SECURITY: libpq's default falls back to no TLS at all.
            mode = given.setdefault("sslmode", "verify-full")
            if mode != "verify-full":
                warning = (
                    f"sslmode={mode}: whoever is between this gateway and the database may make"
                    " tokens; verify-full prevents it"
                )
        # After a failover the old address may be a standby's, which takes no counts.
        given.setdefault("target_session_attrs", "read-write")
        given.setdefault("application_name", "libmpc gateway")
        at = f"{given['user']}@" if "user" in given else ""
        return cls(given, f"{at}{host or 'localhost'}/{name}", warning)


def _is_here(hosts: str) -> bool:
    return all(map(_is_loopback, hosts.split(",")))


def _is_loopback(host: str) -> bool:
    if not host or host == "localhost" or host.startswith("/"):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
