"""How a database would execute a statement: by which indexes, and whether it would read a whole table."""

from __future__ import annotations

import re
from typing import Any

from sqlalchemy import Connection

from orchestrator.store.database import Database

_WHOLE = re.compile(r"Seq Scan on (\w+)|^SCAN (\w+)(?!.* USING .*INDEX)")
_INDEX = re.compile(r"(?:using|on|INDEX) (ix_\w+|pk_\w+)")


def plan_of(database: Database, query: Any, **values: Any) -> set[str]:
    """The indexes by which a query is answered, and `all of TABLE` where that is read whole.

    PostgreSQL is told that reading a table whole is dear, as it is once there are many rows.
    """
    with database.read() as connection:
        lines = _explained(connection, query, values)
    whole = {f"all of {found[1] or found[2]}" for line in lines if (found := _WHOLE.search(line))}
    return whole | {name for line in lines for name in _INDEX.findall(line)}


def _explained(connection: Connection, query: Any, values: dict[str, Any]) -> list[str]:
    if connection.dialect.name == "postgresql":
        connection.exec_driver_sql("SET LOCAL enable_seqscan = off")
        connection.exec_driver_sql("SET LOCAL enable_bitmapscan = off")
    compiled = query.compile(dialect=connection.dialect)
    explain = "EXPLAIN " if connection.dialect.name == "postgresql" else "EXPLAIN QUERY PLAN "
    given = compiled.construct_params(values)
    processed = {
        name: compiled._bind_processors[name](value) if name in compiled._bind_processors else value
        for name, value in given.items()
    }
    bound: Any = processed
    if compiled.positional:
        bound = tuple(processed[name] for name in compiled.positiontup)
    rows = connection.exec_driver_sql(explain + str(compiled), bound)
    return [str(row[-1]).strip() for row in rows]
