"""The metadata database: opening it, and the one place where transactions open.

SQLite in WAL mode with `synchronous=FULL`: what was committed survives a power cut. On a library whose
WAL can be corrupted, the rollback journal instead. Writers queue (see `writers`), then `BEGIN IMMEDIATE`.
"""

from __future__ import annotations

import contextlib
import logging
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, create_engine, event
from sqlalchemy.exc import DatabaseError, IntegrityError
from sqlalchemy.pool import QueuePool

from orchestrator.clock import Clock
from orchestrator.errors import StoreError, UsageError
from orchestrator.store import HEAD, migrate
from orchestrator.store.dialects import has_wal_reset_defect, sqlite_library
from orchestrator.store.filesystems import refuse_network
from orchestrator.store.writers import LEASE, WriterQueue

_BUSY = 15_000  # milliseconds; beyond our own queue only a checkpoint or a foreign tool is waited for
_SCHEME = "sqlite:///"
_log = logging.getLogger("fustgo.store")


class Database:
    """An open store. `read` and `transaction` give connections; nothing else does."""

    def __init__(self, path: Path, clock: Clock, lease: float) -> None:
        """Connect to nothing yet; raises OSError where the lock file cannot be opened."""
        library = sqlite_library()
        self.path = path
        self.clock = clock
        self.library: str = library.sqlite_version
        self.has_defect = has_wal_reset_defect(library.sqlite_version_info)
        self._writers = WriterQueue(path.with_name(path.name + ".lock"), lease)
        self._suspend_asked = False
        # AUTOCOMMIT: neither SQLAlchemy nor the driver opens or ends a transaction, `transaction` does.
        self._engine = create_engine(
            f"{_SCHEME}{path}", module=library, isolation_level="AUTOCOMMIT", poolclass=QueuePool
        )
        event.listen(self._engine, "connect", _configure)

    @contextlib.contextmanager
    def transaction(self) -> Iterator[Connection]:
        """A transaction that writes: committed, or where the block raises rolled back.

        Raises StoreError where the database cannot be written; nothing of the block was then kept.
        """
        with (
            self._writers.turn(),
            self._explained(),
            self._engine.connect() as connection,
            _between(connection, "BEGIN IMMEDIATE"),
        ):
            yield connection
        if self._suspend_asked:
            self._suspend_asked = False
            os.kill(os.getpid(), signal.SIGSTOP)

    @contextlib.contextmanager
    def read(self) -> Iterator[Connection]:
        """A consistent view of one moment; waits for nobody."""
        with self._explained(), self._engine.connect() as connection, _between(connection, "BEGIN"):
            yield connection

    def suspend(self, *_signal: object) -> None:
        """Stop this process (a handler for SIGTSTP): now, or as soon as its transaction has ended."""
        if self._writers.held:
            self._suspend_asked = True
        else:
            os.kill(os.getpid(), signal.SIGSTOP)

    def pragma(self, name: str) -> Any:
        """The value of a setting of SQLite, on a fresh connection of ours."""
        with self._explained(), self._engine.connect() as connection:
            return connection.exec_driver_sql(f"PRAGMA {name}").scalar()

    def close(self) -> None:
        """Close every connection and the lock file."""
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
                    with _between(connection, "BEGIN IMMEDIATE"):
                        migrate.to_head(connection, self.path, self.clock.now())
            elif self._journal(connection) != self.wanted_journal:
                with self._writers.turn():
                    self._set_journal(connection)

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

    @contextlib.contextmanager
    def _explained(self) -> Iterator[None]:
        """Turn what SQLite says into what a person can act on."""
        try:
            yield
        except IntegrityError:
            raise  # broken by our own statement: a defect of ours, not of the place
        except DatabaseError as error:
            said = str(error.orig)
            raise StoreError(f"{self.path}: {said}", hint=_hint(said, self._writers.holder()[0])) from error


def open_database(url: str, *, clock: Clock, create: bool = True, lease: float = LEASE) -> Database:
    """The store at `url` (`sqlite:////absolute/path.db`), at the newest schema.

    Creates it where it is absent, in a folder readable by its owner only, unless `create` is False. A
    process that is stopped in the middle of a write is ended after `lease` seconds, so that others go on.
    Raises UsageError for another kind of URL, StoreError where the place cannot be used: absent, not
    writable, over a network, no store, made by a newer version, or older and in use by a live service.
    """
    path = _path_of(url)
    try:
        if create:
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        elif not path.exists():
            raise StoreError(f"there is no store at {path}", hint="`fustgo run FILE` creates it")
        refuse_network(path.parent)
        _create_file(path)
        database = Database(path, clock, lease)
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


@contextlib.contextmanager
def _between(connection: Connection, begin: str) -> Iterator[None]:
    connection.exec_driver_sql(begin)
    try:
        yield
        connection.exec_driver_sql("COMMIT")
    except BaseException:
        with contextlib.suppress(DatabaseError):  # SQLite may have rolled back by itself
            connection.exec_driver_sql("ROLLBACK")
        raise


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
