"""The metadata database: opening it, and the one place where transactions open.

What a database must do stands here; how SQLite and PostgreSQL do it, in the modules of their names, each
imported only where `database.url` names it.
"""

from __future__ import annotations

import contextlib
import os
import signal
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import TypeVar

from sqlalchemy import Connection
from sqlalchemy.exc import SQLAlchemyError

from orchestrator.clock import Clock
from orchestrator.errors import StoreError, UsageError
from orchestrator.store import measures
from orchestrator.store.hints import Hints
from orchestrator.store.measures import Noted
from orchestrator.store.writers import LEASE
from orchestrator.telemetry import metrics

_TRIES = 5
T = TypeVar("T")


class OutOfReachError(StoreError):
    """The database does not answer, or cannot write now: the same may be done again, later.

    A StoreError of another kind is a refusal: asked again, it would be the same.
    """


class NoStoreError(StoreError):
    """There is no store yet, and it was not to be made."""


class CollisionError(OutOfReachError):
    """The database ended a transaction so that another could go on; nothing of it was kept."""


@dataclass(frozen=True)
class Health:
    """The state of a database: `facts` are names and values to be shown, `problems` what makes it unsound."""

    facts: tuple[tuple[str, str], ...]
    problems: tuple[str, ...]

    @property
    def sound(self) -> bool:
        """Whether nothing is wrong with it."""
        return not self.problems


class Database(ABC):
    """An open store. `read` and the transactions give connections; nothing else does.

    `place` is how people know it; no password is in it. `retried` counts transactions that collided and
    were run again.
    """

    place: str
    clock: Clock
    hints: Hints
    retried: int = 0
    _suspend_asked: bool = False

    @abstractmethod
    def transaction(self) -> AbstractContextManager[Connection]:
        """A transaction that writes: committed, or where the block raises rolled back.

        Raises OutOfReachError where the database cannot be written, StoreError where it cannot keep a
        value; nothing of the block was then kept.
        """

    @abstractmethod
    def read(self) -> AbstractContextManager[Connection]:
        """A consistent view of one moment; waits for nobody."""

    def glance(self) -> AbstractContextManager[Connection]:
        """For one statement that reads, which is a view of one moment in itself: cheaper than `read`."""
        return self.read()

    @abstractmethod
    def health(self) -> Health:
        """Look at the database and measure how long it takes to make a write durable; changes nothing."""

    def end_stalled(self) -> int:
        """End transactions that stand still, so that others go on; how many there were.

        Whoever waits for SQLite's only writer ends one that was stopped by himself (see `writers`).
        """
        return 0

    @abstractmethod
    def close(self) -> None:
        """Let go of every connection."""

    @property
    @abstractmethod
    def is_writing(self) -> bool:
        """Whether a thread of this process holds up others: it is inside a transaction that writes."""

    def run_transaction(self, work: Callable[[Connection], T]) -> T:
        """What `work` gives inside a transaction, which is run again as a whole where it collides."""
        for _ in range(_TRIES - 1):
            with contextlib.suppress(CollisionError), self.transaction() as connection:
                return work(connection)
            self.retried += 1
            metrics.transaction_retried()
        with self.transaction() as connection:
            return work(connection)

    def suspend(self, *_signal: object) -> None:
        """Stop this process (a handler for SIGTSTP): now, or as soon as its transaction has ended."""
        if self.is_writing:
            self._suspend_asked = True
        else:
            os.kill(os.getpid(), signal.SIGSTOP)

    def _committed(self, topics: set[str], moved: Noted, asked_at: float) -> None:
        """Tell of a transaction that has committed: its hints, how long it took, and what moved in it."""
        if topics:
            self.hints.send(topics)
        metrics.transaction(self.clock.monotonic() - asked_at)
        if moved:
            measures.tell(self, moved)

    def _suspend_if_asked(self) -> None:
        if self._suspend_asked:
            self._suspend_asked = False
            os.kill(os.getpid(), signal.SIGSTOP)


def open_database(url: str, *, clock: Clock, create: bool = True, lease: float = LEASE) -> Database:
    """The store at `url`, at the newest schema: `sqlite:////absolute/path.db`, or
    `postgresql://user:password@host:port/database`.

    Creates it where it is absent (of PostgreSQL: the tables, in a database that is there), a file in a
    folder readable by its owner only, unless `create` is False. A process that is stopped in the middle of
    a write is ended after `lease` seconds, so that others go on; PostgreSQL ends its session by itself.
    Raises UsageError for another kind of URL, StoreError where the place cannot be used: absent, not
    writable, over a network, no store, made by a newer version, or older and in use by a live service.
    """
    if url.startswith("postgresql://"):
        from orchestrator.store.postgresql import open_postgresql

        return open_postgresql(url, clock=clock, create=create, lease=lease)
    if url.startswith("sqlite:"):
        from orchestrator.store.sqlite import open_sqlite

        return open_sqlite(url, clock=clock, create=create, lease=lease)
    raise UsageError(
        f"database.url: {url!r} names no database that holds a store",
        hint="write sqlite:////absolute/path.db or postgresql://user:password@host/database",
    )


@contextlib.contextmanager
def between(connection: Connection, begin: str) -> Iterator[None]:
    """A transaction that `begin` opens. The engines are in AUTOCOMMIT: SQLAlchemy opens and ends none."""
    connection.exec_driver_sql(begin)
    try:
        yield
        connection.exec_driver_sql("COMMIT")
    except BaseException:
        with contextlib.suppress(SQLAlchemyError):  # the database may have rolled back by itself, or be gone
            connection.exec_driver_sql("ROLLBACK")
        raise
