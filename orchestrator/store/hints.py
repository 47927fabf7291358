"""Hints: what wakes those who wait for something in the store.

A transaction marks what others may now have to do; the database tells them after the commit, and only
then. A hint may be lost (who listens is full, stopped or cut off) and is never relied on: everybody looks
by himself each second. An open store does not wake itself, but by the topics of which a listener asks for
its `own`: those that another thread of the process tells.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Set
from typing import TYPE_CHECKING, Literal, Protocol, TypeAlias, get_args

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from orchestrator.store.database import Database

Topic: TypeAlias = Literal["work", "ask", "run", "schedule"]
TOPICS: frozenset[str] = frozenset(get_args(Topic))
_MARKED = "fustgo.hints"


class Listener(Protocol):
    """Hears hints. Wait until `fileno` is readable, then `take`; ask for `fileno` anew before each wait."""

    def fileno(self) -> int:
        """What becomes readable with a hint."""

    def take(self) -> set[str]:
        """The topics heard since the last call, all where some may have been missed; never waits."""

    def close(self) -> None:
        """Stop listening."""


class Hints(Protocol):
    """The hints of one open store. Telling neither waits for a listener nor raises."""

    def send(self, topics: set[str]) -> None:
        """Tell everybody who listens, those of this open store only what they asked for."""

    def listen(self, own: Set[str] = frozenset()) -> Listener:
        """Start to hear what others tell, and this open store of its `own`; raises StoreError."""

    def close(self) -> None:
        """Let go of what was opened to tell them."""


def mark(connection: Connection, topic: Topic) -> None:
    """Have this topic told when the transaction has committed.

    `work`: an attempt may be claimed. `ask`: a verb wants something of a running attempt. `run`: a run began,
    ended, or may be promoted. `schedule`: it was planned when a DAG fires next. Raises RuntimeError outside a
    transaction that writes.
    """
    marked: set[str] | None = connection.info.get(_MARKED)
    if marked is None:
        raise RuntimeError(f"the hint {topic!r} was marked outside a transaction that writes")
    marked.add(topic)


@contextlib.contextmanager
def collected(connection: Connection) -> Iterator[set[str]]:
    """What is marked on this connection inside the block."""
    marked: set[str] = set()
    info = connection.info  # of the session: a connection that broke gives it out no more
    info[_MARKED] = marked
    try:
        yield marked
    finally:
        info.pop(_MARKED, None)


def listen(database: Database, own: Set[Topic] = frozenset()) -> Listener:
    """Start to hear the hints of a store, also those on `own` that are told through this opening of it.

    Raises StoreError where that is impossible.
    """
    return database.hints.listen(own)
