from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from orchestrator.store.database import Database
from tests.support.store import Command, ManualClock, gone_process, open_store


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def database(tmp_path: Path, clock: ManualClock) -> Iterator[Database]:
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
