"""Who follows the events sees each once, whatever the order in which transactions end."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest

from orchestrator.store import events
from orchestrator.store.database import Database
from orchestrator.store.events import Cursor
from orchestrator.store.transitions import tell
from tests.support.store import START, Command, graph


def follow(database: Database, cursor: Cursor, limit: int = 1000) -> tuple[list[str], Cursor]:
    with database.read() as connection:
        found, seen = events.after(connection, cursor, limit=limit)
    return [f"{event.kind} {event.new}" for event in found], seen


def test_events_are_read_in_pieces_and_each_once(command: Command, database: Database) -> None:
    command.start(graph({"a": ""}))
    command.run_to_end()
    whole, last = follow(database, Cursor())
    assert whole[0] == "run running"
    assert whole[-1] == "run success"
    pieces, cursor = follow(database, Cursor(), limit=2)
    while (more := follow(database, cursor, limit=2))[0]:
        pieces, cursor = [*pieces, *more[0]], more[1]
    assert (pieces, cursor) == (whole, last)
    assert follow(database, last) == ([], last)


@pytest.mark.parametrize("dialect", ["postgresql"])
def test_an_event_that_commits_late_is_not_overlooked(database: Database) -> None:
    def commit(word: str) -> None:
        with database.transaction() as connection:
            tell(connection, "test", now=START, new=word)

    with database.transaction() as connection:
        tell(connection, "test", now=START, new="first")
        with ThreadPoolExecutor(1) as aside:
            aside.submit(commit, "second").result(60)
        said, cursor = follow(database, Cursor())
        assert said == []  # the second is there, but the first may come
    assert follow(database, cursor)[0] == ["test first", "test second"]
