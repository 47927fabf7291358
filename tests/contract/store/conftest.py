from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, event, select

from orchestrator.clock import SystemClock
from orchestrator.runs.states import AttemptState, EpochState, RunState, StageState, may_follow
from orchestrator.store.database import Database, open_database
from orchestrator.store.sqlite import SqliteDatabase
from orchestrator.store.tables import Event, table_of
from tests.support.asking import Services
from tests.support.postgres import Cluster
from tests.support.services import Service
from tests.support.store import Command, ManualClock, gone_process, open_store, url_of

STATES: dict[str, Any] = {"run": RunState, "stage": StageState, "attempt": AttemptState, "epoch": EpochState}
events = table_of(Event)
_UPDATED = re.compile(
    r"UPDATE (?:ONLY )?(runs|stage_runs|attempts|epochs) SET (.*?)(?:\sWHERE (.*))?$", re.DOTALL
)
_STATE = re.compile(r"(?<![\w.])(?:\w+\.)?state\s*(?:=|IN\b)")


def refuse_unguarded(*happened: Any) -> None:
    """An UPDATE of a state says which one it expects; what a test writes by hand is no statement of ours."""
    _, _, statement, _, context, _ = happened
    found = _UPDATED.search(statement)
    if found is not None and context.compiled is not None and _STATE.search(found[2]):
        assert _STATE.search(found[3] or ""), f"a state is overwritten unseen: {statement}"


def refuse_other_transitions(database: Database) -> None:
    """What the events tell of a test is in the tables of transitions."""
    query = select(events.c.kind, events.c.old, events.c.new).where(events.c.old.is_not(None)).distinct()
    with database.read() as connection:
        told = {tuple(row) for row in connection.execute(query)}
    for kind, old, new in told:
        if "paused" not in (old, new):  # a flag: told, but no state
            assert may_follow(STATES[kind](old), STATES[kind](new)), f"{kind}: {new} after {old}"


@pytest.fixture(autouse=True)
def guarded() -> Iterator[None]:
    """In every test of the store, on both databases: no state is overwritten unseen."""
    event.listen(Engine, "before_cursor_execute", refuse_unguarded)
    yield
    event.remove(Engine, "before_cursor_execute", refuse_unguarded)


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture(scope="session")
def template(postgres: Cluster) -> str:
    """A database with a fresh store, to be copied."""
    name = postgres.create()
    open_database(postgres.url(name), clock=SystemClock()).close()
    return name


@pytest.fixture(params=["sqlite", "postgresql"])
def dialect(request: pytest.FixtureRequest) -> str:
    """Every promise is kept on both databases."""
    return str(request.param)


@pytest.fixture
def url(dialect: str, request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """Where the test's store is."""
    if dialect == "sqlite":
        yield url_of(tmp_path)
        return
    cluster: Cluster = request.getfixturevalue("postgres")
    name = cluster.create(request.getfixturevalue("template"))
    yield cluster.url(name)
    cluster.drop(name)


@pytest.fixture
def aside() -> Iterator[Callable[[Callable[[], Any]], Future[Any]]]:
    """Runs a function in another thread, which is another session."""
    with ThreadPoolExecutor(1) as pool:
        yield pool.submit


@pytest.fixture
def empty_url(dialect: str, request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """Where no store has been yet."""
    if dialect == "sqlite":
        yield url_of(tmp_path / "empty")
        return
    cluster: Cluster = request.getfixturevalue("postgres")
    name = cluster.create()
    yield cluster.url(name)
    cluster.drop(name)


@pytest.fixture
def database(url: str, clock: ManualClock) -> Iterator[Database]:
    opened = open_database(url, clock=clock)
    yield opened
    refuse_other_transitions(opened)
    opened.close()


@pytest.fixture
def sqlite(tmp_path: Path, clock: ManualClock) -> Iterator[SqliteDatabase]:
    """For what only a file promises."""
    opened = open_store(tmp_path, clock)
    yield opened
    opened.close()


@pytest.fixture
def command(database: Database, clock: ManualClock) -> Command:
    """A command that lives: this process."""
    return Command(database, clock)


@pytest.fixture
def killed(database: Database, clock: ManualClock) -> Command:
    """A command whose process is gone; what it did before is done through it."""
    return Command(database, clock, *gone_process())


@pytest.fixture
def service(database: Database, clock: ManualClock) -> Service:
    """A worker of the services, and a client."""
    return Service(database, clock)


@pytest.fixture
def services(database: Database, clock: ManualClock, command: Command) -> Services:
    """Services that a test enters one by one; what waits for them is asked why."""
    return Services(database, clock, command)
