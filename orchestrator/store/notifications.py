"""Hints through PostgreSQL: LISTEN and NOTIFY, each on a connection of its own.

NOTIFY inside the transactions of the queue would make them commit one after the other (the server takes a
lock for it until the commit), so it is sent after them.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import threading
import time
from collections.abc import Callable, Set
from typing import Any

import psycopg

from orchestrator.errors import StoreError
from orchestrator.store.hints import TOPICS

_CHANNEL = "fustgo"
_PATIENCE = 1.0  # seconds between two tries to reach a server that is gone
Connect = Callable[[], "psycopg.Connection[Any]"]


class Notifications:
    """The hints of one open store. `connect` gives a new session in autocommit."""

    def __init__(self, connect: Connect) -> None:
        """Connect to nothing yet."""
        self._connect = connect
        self._name = f"{os.getpid()}-{secrets.token_hex(4)}"
        self._lock = threading.Lock()
        self._session: psycopg.Connection[Any] | None = None
        self._not_before = 0.0

    def send(self, topics: set[str]) -> None:
        """See `hints.Hints`."""
        with self._lock:
            if self._session is None and time.monotonic() < self._not_before:
                return
            try:
                message = " ".join([self._name, *sorted(topics)])
                self._opened().execute("SELECT pg_notify(%s, %s)", (_CHANNEL, message))
            except psycopg.Error:
                self._not_before = time.monotonic() + _PATIENCE
                self._drop()

    def listen(self, own: Set[str] = frozenset()) -> NotificationListener:
        """A session of its own that listens; raises StoreError."""
        try:
            return NotificationListener(self._connect, self._name, own)
        except psycopg.Error as error:
            raise StoreError(f"cannot listen to hints: {error}") from error

    def close(self) -> None:
        """See `hints.Hints`."""
        with self._lock:
            self._drop()

    def _opened(self) -> psycopg.Connection[Any]:
        if self._session is None:
            self._session = self._connect()
            self._session.execute("SET synchronous_commit = off")  # nothing of it need outlive a crash
        return self._session

    def _drop(self) -> None:
        if self._session is not None:
            self._session.close()
            self._session = None


class NotificationListener:
    """A session that listens, opened again where it was cut: then something may have been missed."""

    def __init__(self, connect: Connect, name: str, own: Set[str] = frozenset()) -> None:
        """Connect and listen; `own`: what is heard of `name` itself too. Raises psycopg.Error."""
        self._connect, self._name, self._own = connect, name, own
        self._idle, self._wake = os.pipe()  # what is waited for while there is no session
        self._session: psycopg.Connection[Any] | None = None
        self._not_before = 0.0
        self._woken = False
        try:
            self._open()
        except psycopg.Error:
            self.close()
            raise

    def fileno(self) -> int:
        """See `hints.Listener`. Readable while there is no session, but for a moment after each try."""
        if self._session is None and not self._woken and time.monotonic() >= self._not_before:
            os.write(self._wake, b"w")
            self._woken = True
        return self._idle if self._session is None else self._session.fileno()

    def take(self) -> set[str]:
        """See `hints.Listener`."""
        try:
            if self._session is None:
                return self._open_again()
            messages = [notify.payload.split() for notify in self._session.notifies(timeout=0)]
        except psycopg.Error:
            self._drop()
            return set(TOPICS)
        return {
            topic
            for sender, *topics in messages
            for topic in topics
            if sender != self._name or topic in self._own
        }

    def close(self) -> None:
        """See `hints.Listener`."""
        self._drop()
        os.close(self._idle)
        os.close(self._wake)

    def _open(self) -> None:
        self._session = self._connect()
        self._session.execute(f"LISTEN {_CHANNEL}".encode())

    def _open_again(self) -> set[str]:
        if self._woken:
            os.read(self._idle, 1)
            self._woken = False
        if time.monotonic() < self._not_before:
            return set()
        self._not_before = time.monotonic() + _PATIENCE
        self._open()
        return set(TOPICS)

    def _drop(self) -> None:
        if self._session is not None:
            with contextlib.suppress(psycopg.Error):
                self._session.close()
            self._session = None
