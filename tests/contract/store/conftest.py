from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from orchestrator.clock import SystemClock
from orchestrator.store.database import Database, open_database
from orchestrator.store.sqlite import SqliteDatabase
from tests.support.postgres import Cluster
from tests.support.services import Service
from tests.support.store import Command, ManualClock, gone_process, open_store, url_of


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
