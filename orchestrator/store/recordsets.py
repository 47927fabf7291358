"""Many rows as one parameter of a statement, for PostgreSQL: a JSON array, which the server takes apart.

The driver's `executemany` sends a message a row and has the server execute each; a batch of sixteen attempts
writes over a hundred rows. SQLite, which is in the process, gains nothing by it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

from sqlalchemy import JSON, Column, Connection, Dialect, Table, TextClause, bindparam, insert, text

from orchestrator.store.dialects import has_row_locks

Rows = Sequence[Mapping[str, Any]]


def insert_rows(connection: Connection, table: Table, rows: Rows) -> None:
    """Insert rows of the same columns, in their order."""
    if not has_row_locks(connection) or len(rows) == 1:
        connection.execute(insert(table), rows)
        return
    names = tuple(rows[0])
    connection.execute(_insert(table, names, connection.dialect), {"rows": _json(table, names, rows)})


@cache
def _insert(table: Table, names: tuple[str, ...], dialect: Dialect) -> TextClause:
    kinds = {name: table.c[name].type.compile(dialect) for name in names}
    into = ", ".join(f'"{name}"' for name in names)
    read = ", ".join(f'"{name}" {"TEXT" if _is_json(table.c[name]) else kinds[name]}' for name in names)
    taken = ", ".join(f'CAST("{name}" AS {kinds[name]})' for name in names)
    return text(
        f"INSERT INTO {table.name} ({into}) SELECT {taken} "  # noqa: S608  # names of columns
        f"FROM json_to_recordset(CAST(:rows AS JSON)) AS given ({read})"
    ).bindparams(bindparam("rows"))


def _json(table: Table, names: Sequence[str], rows: Rows) -> str:
    """The rows as JSON. A value that is JSON itself is a text in it, which is kept as it is."""
    nested = [name for name in names if _is_json(table.c[name])]
    if nested:
        rows = [
            {**row, **{name: json.dumps(row[name]) for name in nested if row[name] is not None}}
            for row in rows
        ]
    return json.dumps(rows, default=str)


def _is_json(column: Column[Any]) -> bool:
    return isinstance(column.type, JSON)
