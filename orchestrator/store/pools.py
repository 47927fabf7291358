"""Pools: named numbers of slots. A stage whose pool has no row here is not limited by it."""

from __future__ import annotations

from sqlalchemy import Connection, insert, select

from orchestrator.errors import UsageError
from orchestrator.store.dialects import upsert
from orchestrator.store.tables import Pool, table_of

DEFAULT_SLOTS = 128
pools = table_of(Pool)


def add_default_pool(connection: Connection) -> None:
    """The pool of every stage that names none; part of a new store."""
    connection.execute(
        insert(pools).values(name="default", slots=DEFAULT_SLOTS, description="Stages that name no pool.")
    )


def set_pool(connection: Connection, name: str, slots: int, description: str = "") -> None:
    """Create a pool or change its size; raises UsageError for a negative one."""
    if slots < 0:
        raise UsageError(f"pool {name!r}: {slots} slots", hint="0 or more")
    upsert(connection, pools, {"name": name, "slots": slots, "description": description}, key="name")


def slots(connection: Connection) -> dict[str, int]:
    """The size of every pool."""
    rows = connection.execute(select(pools.c.name, pools.c.slots))
    return {row.name: row.slots for row in rows}
