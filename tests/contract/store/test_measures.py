"""What the store tells about itself: how long transactions took, and which were run again."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import pytest
from sqlalchemy import Connection

from orchestrator.store.database import CollisionError, Database
from orchestrator.telemetry import metrics
from orchestrator.telemetry.names import Metric


class Recorder:
    """Keeps what it is told."""

    def __init__(self) -> None:
        self.told: list[tuple[str, float]] = []

    def measure(self, metric: Metric, value: float, attributes: Mapping[str, str] | None = None) -> None:
        self.told.append((metric.name, value))


@pytest.fixture
def told(database: Database) -> Iterator[list[tuple[str, float]]]:
    recorder = Recorder()
    metrics.attach(recorder)
    yield recorder.told
    metrics.attach(None)


def test_a_committed_transaction_tells_its_time(database: Database, told: list[tuple[str, float]]) -> None:
    with database.transaction() as connection:
        connection.exec_driver_sql("UPDATE pools SET slots = 7")
        assert told == []
    ((name, seconds),) = told
    assert name == "fustgo.store.transaction.duration"
    assert 0 <= seconds < 60


def test_what_was_rolled_back_or_only_read_is_not_told(
    database: Database, told: list[tuple[str, float]]
) -> None:
    with pytest.raises(ZeroDivisionError), database.transaction():
        _ = 1 / 0
    with database.read() as connection:
        connection.exec_driver_sql("SELECT 1")
    assert told == []


def test_a_transaction_that_collided_is_counted(database: Database, told: list[tuple[str, float]]) -> None:
    collisions = [CollisionError("first"), CollisionError("second")]

    def work(_: Connection) -> None:
        if collisions:
            raise collisions.pop()

    database.run_transaction(work)
    names = [name for name, _ in told]
    assert names.count("fustgo.store.transactions.retried") == 2
    assert names.count("fustgo.store.transaction.duration") == 1
