"""The store in memory: for a test of one DAG, in one process. It ends with the process, and is never shared.

One connection is all there is of an in-memory SQLite database, so whoever reads waits for who writes.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator, Set

from sqlalchemy import Connection, create_engine
from sqlalchemy.pool import StaticPool

from orchestrator.clock import Clock
from orchestrator.errors import StoreError
from orchestrator.store import HEAD, migrate
from orchestrator.store.database import Database, Health, between
from orchestrator.store.dialects import sqlite_library
from orchestrator.store.hints import Listener, collected


class MemoryDatabase(Database):
    """A store without a file; made at the newest schema."""

    def __init__(self, clock: Clock) -> None:
        self.place, self.clock, self.hints = "memory", clock, _Alone()
        self._turn = threading.RLock()
        self._writing = self._reading = False
        self._engine = create_engine(
            "sqlite://",
            module=sqlite_library(),
            isolation_level="AUTOCOMMIT",
            poolclass=StaticPool,
            connect_args={"check_same_thread": False},
        )
        self._connection = self._engine.connect()
        self._connection.exec_driver_sql("PRAGMA foreign_keys=ON")
        with self.transaction() as connection:
            migrate.to_head(connection, self.place)

    @contextlib.contextmanager
    def transaction(self) -> Iterator[Connection]:
        with self._turn:
            if self._writing or self._reading:
                raise RuntimeError("a transaction was opened inside another one of the same thread")
            self._writing = True
            try:
                with collected(self._connection), between(self._connection, "BEGIN IMMEDIATE"):
                    yield self._connection
            finally:
                self._writing = False

    @contextlib.contextmanager
    def read(self) -> Iterator[Connection]:
        """A consistent view; inside a transaction of the same thread, what that has written so far."""
        with self._turn:
            if self._writing or self._reading:
                yield self._connection
                return
            self._reading = True
            try:
                with between(self._connection, "BEGIN"):
                    yield self._connection
            finally:
                self._reading = False

    @property
    def is_writing(self) -> bool:
        return self._writing

    def health(self) -> Health:
        return Health((("store", self.place), ("schema", HEAD)), ())

    def close(self) -> None:
        self._connection.close()
        self._engine.dispose()


class _Alone:
    """The hints of a store that no other process can see."""

    def send(self, topics: set[str]) -> None:
        """Nobody hears."""

    def listen(self, own: Set[str] = frozenset()) -> Listener:
        raise StoreError("nobody else writes to a store in memory: there is nothing to listen to")

    def close(self) -> None:
        """Nothing was opened."""
