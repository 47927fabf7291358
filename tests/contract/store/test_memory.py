"""The store in memory: the same tables and transactions, in one process, shared with nobody."""

from __future__ import annotations

from threading import Event, Thread

import pytest

from orchestrator.clock import SystemClock
from orchestrator.errors import StoreError
from orchestrator.store import HEAD, hints, pools
from orchestrator.store.memory import MemoryDatabase


@pytest.fixture
def memory() -> MemoryDatabase:
    return MemoryDatabase(SystemClock())


def test_it_is_at_the_newest_schema_and_sound(memory: MemoryDatabase) -> None:
    assert memory.health().sound
    assert ("schema", HEAD) in memory.health().facts


def test_what_a_transaction_that_fails_has_written_is_gone(memory: MemoryDatabase) -> None:
    def write() -> None:
        with memory.transaction() as connection:
            pools.set_pool(connection, "small", 1)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        write()
    with memory.read() as connection:
        assert "small" not in pools.slots(connection)
    assert not memory.is_writing


def test_two_know_nothing_of_each_other(memory: MemoryDatabase) -> None:
    other = MemoryDatabase(SystemClock())
    with memory.transaction() as connection:
        pools.set_pool(connection, "small", 1)
    with other.read() as connection:
        assert list(pools.slots(connection)) == ["default"]
    other.close()


def test_a_transaction_inside_another_is_refused_and_a_read_sees_it(memory: MemoryDatabase) -> None:
    with memory.transaction() as connection:
        pools.set_pool(connection, "small", 1)
        with memory.read() as inner:
            assert "small" in pools.slots(inner)
        with pytest.raises(RuntimeError, match="inside another"), memory.transaction():
            pass
        assert memory.is_writing


def test_another_thread_waits_for_its_turn(memory: MemoryDatabase) -> None:
    began, order = Event(), []

    def look() -> None:
        began.set()
        with memory.read() as connection:
            order.append(f"read {sorted(pools.slots(connection))}")

    with memory.transaction() as connection:
        thread = Thread(target=look)
        thread.start()
        began.wait()
        pools.set_pool(connection, "small", 1)
        order.append("written")
    thread.join()
    assert order == ["written", "read ['default', 'small']"]


def test_there_is_nobody_to_hear(memory: MemoryDatabase) -> None:
    with memory.transaction() as connection:
        hints.mark(connection, "work")
    with pytest.raises(StoreError, match="nobody else writes"):
        hints.listen(memory)
