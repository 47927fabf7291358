"""The store in a SQLite file, in WAL mode with `synchronous=FULL`: what was committed survives a power cut.

On a library whose WAL can be corrupted, the rollback journal instead. Writers queue (see `writers`), then
`BEGIN IMMEDIATE`.
"""

from __future__ import annotations

import contextlib
import logging
import os
import statistics
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, ExceptionContext, create_engine, event
from sqlalchemy.exc import DatabaseError, DataError, IntegrityError, StatementError
from sqlalchemy.pool import QueuePool

from orchestrator.clock import Clock
from orchestrator.errors import StoreError, UsageError
from orchestrator.store import HEAD, migrate
from orchestrator.store.database import Database, Health, NoStoreError, OutOfReachError, between
from orchestrator.store.datagrams import Datagrams
from orchestrator.store.dialects import has_wal_reset_defect, sqlite_library
from orchestrator.store.filesystems import refuse_network
from orchestrator.store.hints import collected
from orchestrator.store.measures import noted
from orchestrator.store.writers import WriterQueue

_BUSY = 15_000  # milliseconds; beyond our own queue only a checkpoint or a foreign tool is waited for
_SCHEME = "sqlite:///"
_PROBES = 20
_log = logging.getLogger("fustgo.store")


class SqliteDatabase(Database):
    """A store in one file, for the processes of one host."""

    def __init__(self, path: Path, clock: Clock, lease: float) -> None:
        """Connect to nothing yet; raises OSError where the lock file cannot be opened."""
        library = sqlite_library()
        self.path, self.place = path, str(path)
        self.clock = clock
        self.library: str = library.sqlite_version
        self.has_defect = has_wal_reset_defect(library.sqlite_version_info)
        self.hints = Datagrams(path)
        self._writers = WriterQueue(path.with_name(path.name + ".lock"), lease)
        # AUTOCOMMIT: neither SQLAlchemy nor the driver opens or ends a transaction, `transaction` does.
        self._engine = create_engine(
            f"{_SCHEME}{path}", module=library, isolation_level="AUTOCOMMIT", poolclass=QueuePool
        )
        event.listen(self._engine, "connect", _configure)
        event.listen(self._engine, "handle_error", self._refuse)

    @contextlib.contextmanager
    def transaction(self) -> Iterator[Connection]:
        asked_at = self.clock.monotonic()
        with (
            self._writers.turn(),
            self._explained(),
            self._engine.connect() as connection,
            collected(connection) as hints,
            noted(connection) as moved,
            between(connection, "BEGIN IMMEDIATE"),
        ):
            yield connection
        self._committed(hints, moved, asked_at)
        self._suspend_if_asked()

    @contextlib.contextmanager
    def read(self) -> Iterator[Connection]:
        with self._explained(), self._engine.connect() as connection, between(connection, "BEGIN"):
            yield connection

    @contextlib.contextmanager
    def glance(self) -> Iterator[Connection]:
        with self._explained(), self._engine.connect() as connection:
            yield connection

    @property
    def is_writing(self) -> bool:
        return self._writers.held

    def pragma(self, name: str) -> Any:
        """The value of a setting of SQLite, on a fresh connection of ours."""
        with self._explained(), self._engine.connect() as connection:
            return connection.exec_driver_sql(f"PRAGMA {name}").scalar()

    def close(self) -> None:
        self.hints.close()
        self._engine.dispose()
        self._writers.close()

    def prepare(self) -> None:
        """Bring the schema to `HEAD`: create it, migrate it, or say why not.

        Two processes may do so at once: who gets the turn second finds the work done.
        """
        with self._explained(), self._engine.connect() as connection:
            if migrate.revision_of(connection) != HEAD:
                with self._writers.turn():
                    self._set_journal(connection)  # before the transaction: it cannot change inside one
                    with between(connection, "BEGIN IMMEDIATE"):
                        migrate.to_head(connection, self.place)
            elif self._journal(connection) != self.wanted_journal:
                with self._writers.turn():
                    self._set_journal(connection)

    def health(self) -> Health:
        with self.read() as connection:
            revision = migrate.revision_of(connection)
            said = [str(row[0]) for row in connection.exec_driver_sql("PRAGMA integrity_check(20)")]
            orphans = [
                f"{row[0]} row {row[1]} names a missing row of {row[2]}" for row in _orphans(connection)
            ]
        damage = [f"damaged: {line}" for line in [*said, *orphans] if line != "ok"]
        synchronous = ("OFF", "NORMAL", "FULL", "EXTRA")[int(self.pragma("synchronous"))]
        warning = " (can corrupt a write-ahead log: rollback journal in use)" if self.has_defect else ""
        facts = (
            ("store", self.place),
            ("schema", str(revision)),
            ("sqlite", f"{self.library}{warning}"),
            ("journal", f"{self.pragma('journal_mode')}, synchronous {synchronous}"),
            ("fsync", f"{fsync_time(self.path.parent) * 1000:.2f} ms"),
            ("integrity", f"{len(damage)} problems" if damage else "ok"),
        )
        return Health(facts, tuple(damage))

    @property
    def wanted_journal(self) -> str:
        """The journal mode that is safe with this library."""
        return "delete" if self.has_defect else "wal"

    def _journal(self, connection: Connection) -> str:
        return str(connection.exec_driver_sql("PRAGMA journal_mode").scalar())

    def _set_journal(self, connection: Connection) -> None:
        mode = connection.exec_driver_sql(f"PRAGMA journal_mode={self.wanted_journal}").scalar()
        if mode != self.wanted_journal:
            raise StoreError(
                f"{self.path}: SQLite keeps the journal mode {mode}, {self.wanted_journal} is needed",
                hint="the file system may not support shared memory; put the database on a local disk",
            )

    def _refuse(self, context: ExceptionContext) -> StoreError | None:
        """A number beyond 64 bits: the driver raises an error of Python's own."""
        error = context.original_exception
        return (
            StoreError(f"{self.path} cannot keep a value: {error}")
            if isinstance(error, OverflowError)
            else None
        )

    @contextlib.contextmanager
    def _explained(self) -> Iterator[None]:
        """Turn what SQLite says into what a person can act on."""
        try:
            yield
        except IntegrityError:
            raise  # broken by our own statement: a defect of ours, not of the place
        except DatabaseError as error:
            said = str(error.orig)
            kind = StoreError if isinstance(error, DataError) else OutOfReachError
            raise kind(f"{self.path}: {said}", hint=_hint(said, self._writers.holder()[0])) from error
        except StatementError as error:
            raise StoreError(f"{self.path} cannot keep a value: {error.orig}") from error


def open_sqlite(url: str, *, clock: Clock, create: bool, lease: float) -> SqliteDatabase:
    """See `open_database`."""
    path = _path_of(url)
    try:
        if create:
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        elif not path.exists():
            raise NoStoreError(f"there is no store at {path}", hint="`fustgo run FILE` creates it")
        refuse_network(path.parent)
        _create_file(path)
        database = SqliteDatabase(path, clock, lease)
    except OSError as error:
        raise StoreError(
            f"cannot open the store {path}: {error.strerror}",
            hint="set FUSTGO_HOME to a folder that you can write",
        ) from error
    try:
        database.prepare()
    except BaseException:
        database.close()
        raise
    if database.has_defect:
        _log.warning(
            "SQLite %s can corrupt its write-ahead log: the slower rollback journal is used", database.library
        )
    return database


def _path_of(url: str) -> Path:
    path = Path(url.removeprefix(_SCHEME))
    if not url.startswith(_SCHEME) or not path.is_absolute():
        raise UsageError(
            f"database.url: {url!r} is not a SQLite file", hint="write sqlite:////absolute/path.db"
        )
    return path


def _create_file(path: Path) -> None:
    """Create the file with the mode that -wal and -shm will copy.

    An existing one is not touched: closing any descriptor of it would drop SQLite's locks in this process.
    """
    with contextlib.suppress(FileExistsError):
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))


def _configure(connection: Any, _record: object) -> None:
    for pragma in ("foreign_keys=ON", "synchronous=FULL", f"busy_timeout={_BUSY}"):
        connection.execute(f"PRAGMA {pragma}")


def _hint(said: str, holder: int) -> str:
    if "full" in said:
        return "free space on that disk; nothing of this step was kept"
    if "readonly" in said or "unable to open" in said:
        return "the folder and the file must be writable by you"
    if "not a database" in said or "malformed" in said:
        return "the file is damaged or something else; restore a copy, or move it away to start anew"
    if "locked" in said:
        return f"another program holds the file (last writer: process {holder}); end it and try again"
    return ""


def fsync_time(folder: Path) -> float:
    """Seconds that this folder's disk takes to make a small write durable: the median of twenty."""
    path = folder / f".fsync-{os.getpid()}"
    file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        return statistics.median(_one_fsync(file, index) for index in range(_PROBES))
    finally:
        os.close(file)
        path.unlink()


def _one_fsync(file: int, index: int) -> float:
    os.pwrite(file, index.to_bytes(8, "big"), 0)
    began = time.perf_counter()
    os.fsync(file)
    return time.perf_counter() - began


def _orphans(connection: Connection) -> list[tuple[object, ...]]:
    return [tuple(row) for row in connection.exec_driver_sql("PRAGMA foreign_key_check")]
