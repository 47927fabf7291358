"""The proof that a service sees the artifact store: a token lies there, and in the database (rule 12)."""

from __future__ import annotations

import contextlib
import os
import secrets
from pathlib import Path

from sqlalchemy import Connection, select

from orchestrator.errors import SettingsError
from orchestrator.store.database import Database
from orchestrator.store.dialects import insert_absent
from orchestrator.store.tables import table_of
from orchestrator.store.tables.services import ArtifactStore

_stores = table_of(ArtifactStore)
FILE = ".fustgo-artifacts"  # holds the token


def prove_shared(database: Database, folder: Path) -> None:
    """Raise SettingsError unless this folder is the artifact store of this database.

    The first service that comes makes it so: it leaves a token in both.
    """
    try:
        known = database.run_transaction(lambda connection: _token(connection, folder))
        here = _read(folder)
    except OSError as error:
        raise SettingsError(
            f"artifacts.path: {folder} cannot be used: {error.strerror}", hint="name a folder you can write"
        ) from error
    if here != known:
        found = "has no token" if here is None else "is the artifact store of another database"
        raise SettingsError(
            f"artifacts.path: {folder} {found}, so the files of this store's runs lie elsewhere",
            hint=f"set artifacts.path to the folder that the other services use, with its file {FILE}",
        )


def _token(connection: Connection, folder: Path) -> str:
    known = connection.execute(select(_stores.c.token)).scalar()
    if known is None:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        with contextlib.suppress(FileExistsError):
            _write(folder / FILE, secrets.token_hex(16))
        insert_absent(connection, _stores, {"id": 1, "token": _read(folder)})
        known = connection.execute(select(_stores.c.token)).scalar_one()
    return str(known)


def _write(path: Path, token: str) -> None:
    """Link the written file to its name, so that nobody reads half of it; raises FileExistsError."""
    new = path.with_name(f"{path.name}.{os.getpid()}")
    descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    try:
        os.write(descriptor, token.encode())
        os.fsync(descriptor)
        os.link(new, path)
    finally:
        os.close(descriptor)
        os.unlink(new)


def _read(folder: Path) -> str | None:
    try:
        return (folder / FILE).read_text(encoding="utf-8").strip()
    except FileNotFoundError:
        return None
