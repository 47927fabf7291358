"""Variables: named JSON values that templates read as `var.NAME`. Names know no case."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, select, update

from orchestrator.store.dialects import upsert
from orchestrator.store.tables import table_of
from orchestrator.store.tables.services import Variable

variables = table_of(Variable)


def read(connection: Connection, names: Collection[str]) -> dict[str, Any]:
    """The values of those of these names that are set, by lower-case name."""
    wanted = {name.lower() for name in names}
    if not wanted:
        return {}
    query = select(variables.c.key, variables.c.value).where(variables.c.key.in_(wanted))
    return {row.key: row.value for row in connection.execute(query)}


def set_variable(connection: Connection, name: str, value: Any, now: datetime) -> None:
    """Set one, whether it was there or not."""
    fresh = {"key": name.lower(), "value": value, "changed_at": now}
    changed = connection.execute(
        update(variables).where(variables.c.key == fresh["key"]).values(value=value, changed_at=now)
    )
    if changed.rowcount == 0:
        upsert(connection, variables, {**fresh, "description": ""}, key="key")
