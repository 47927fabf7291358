"""One DAG's or run's defect, in a duty that serves all: it is said once, and the others are served."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from weakref import WeakKeyDictionary

from orchestrator.errors import FustgoError
from orchestrator.store.database import CollisionError, Database, OutOfReachError

_KEPT = 4096  # troubles of a store that are remembered: the oldest is forgotten, and said again
_log = logging.getLogger("fustgo.store")
_said: WeakKeyDictionary[Database, dict[str, str]] = WeakKeyDictionary()


@contextmanager
def apart(database: Database, what: str) -> Iterator[None]:
    """Whatever the block raises is logged as "`what`: why", and what comes after it goes on.

    The same is logged again only where it went well in between. Raises OutOfReachError where the database is
    the matter, and not the one that is served.
    """
    said = _said.setdefault(database, {})
    try:
        yield
    except OutOfReachError as error:
        if not isinstance(error, CollisionError):
            raise
        _say(said, what, error)
    except Exception as error:
        _say(said, what, error)
    else:
        said.pop(what, None)


def _say(said: dict[str, str], what: str, error: Exception) -> None:
    if said.get(what) == (why := f"{type(error).__name__}: {error}"):
        return
    said.pop(what, None)
    while len(said) >= _KEPT:
        del said[next(iter(said))]
    said[what] = why
    if isinstance(error, FustgoError):
        _log.error("%s: %s", what, error)
    else:
        _log.error("%s: %s", what, why, exc_info=error)
