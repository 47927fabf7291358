"""The table that a `SqliteOutput` fills: made where it is absent, loaded inside the applier's transaction."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from operators.sqlite_types import column_declaration, stored_values
from orchestrator.errors import OperatorError, nearest
from orchestrator.sdk.operator import SchemaProblem
from orchestrator.sdk.output import Delivery

if TYPE_CHECKING:
    import pyarrow as pa

    from operators.sqlite import SqliteOutput


def quoted(name: str) -> str:
    """A name as SQL writes it."""
    return '"' + name.replace('"', '""') + '"'


class Table:
    """One table through one connection."""

    def __init__(self, connection: Any, output: SqliteOutput) -> None:
        self._connection, self._output = connection, output
        self._name = output.table
        self._ready: pa.Schema | None = None

    def load(self, delivery: Delivery, *, replace: bool) -> None:
        """Put the delivery's rows into the table; with `replace` they take the place of all it holds."""
        if replace:
            self._clear(delivery.schema)
        if delivery.schema is not None:
            self._prepare(delivery.schema)
        for part in delivery.parts:
            for batch in part.batches():
                self._prepare(batch.schema)
                self._insert(batch)

    def _clear(self, schema: pa.Schema | None) -> None:
        """Empty the table; one with other columns is made anew."""
        columns = self._columns()
        if not columns:
            return
        if schema is None or _folded(schema.names) == _folded(columns):
            self._connection.execute(f"DELETE FROM {quoted(self._name)}")  # noqa: S608
        else:
            self._connection.execute(f"DROP TABLE {quoted(self._name)}")
        self._ready = None

    def _columns(self) -> list[str]:
        """The table's columns; none where it is absent. A view is refused."""
        found = self._connection.execute(
            "SELECT type FROM sqlite_master WHERE lower(name) = lower(?) AND type IN ('table', 'view')",
            (self._name,),
        ).fetchone()
        if found is None:
            return []
        if found[0] == "view":
            raise OperatorError(f"{self._name!r} is a view: rows go into tables", retry=False)
        rows = self._connection.execute(f"PRAGMA table_info({quoted(self._name)})").fetchall()
        return [str(row[1]) for row in rows]

    def _prepare(self, schema: pa.Schema) -> None:
        """Make the table, or see that it takes these columns; once a schema."""
        if self._ready is not None and self._ready.equals(schema):
            return
        columns = self._columns()
        if not columns:
            self._create(schema)
        for name in schema.names if columns else ():
            if name.lower() not in _folded(columns):
                raise OperatorError(
                    f"table {self._name!r} has no column {name!r}",
                    hint=f"{nearest(name, columns)} Add it, or map it away",
                    retry=False,
                )
        if self._output.key and columns:
            self._check_unique()
        self._ready = schema

    def _create(self, schema: pa.Schema) -> None:
        from operators.sqlite import check_schema

        try:
            check_schema(schema, self._output.key)
        except SchemaProblem as problem:
            raise OperatorError(str(problem), hint=problem.hint, retry=False) from None
        columns = [
            f"{quoted(field.name)} {column_declaration(field.type)}"
            + (" NOT NULL" if field.name in self._output.key else "")
            for field in schema
        ]
        if self._output.key:
            columns.append(f"PRIMARY KEY ({_listed(self._output.key)})")
        self._connection.execute(f"CREATE TABLE {quoted(self._name)} ({', '.join(columns)})")

    def _check_unique(self) -> None:
        """An upsert needs a unique index over exactly its key."""
        key, table = _folded(self._output.key), quoted(self._name)
        info = self._connection.execute(f"PRAGMA table_info({table})").fetchall()
        found = [_folded(row[1] for row in info if row[5])]
        for row in self._connection.execute(f"PRAGMA index_list({table})").fetchall():
            if row[2] and not row[4]:
                parts = self._connection.execute(f"PRAGMA index_info({quoted(row[1])})").fetchall()
                found.append(_folded(part[2] or "" for part in parts))
        if key not in found:
            index = quoted(f"{self._name}_key")
            raise OperatorError(
                f"table {self._name!r} has no unique index over {', '.join(self._output.key)}",
                hint=f"CREATE UNIQUE INDEX {index} ON {table} ({_listed(self._output.key)})",
                retry=False,
            )

    def _insert(self, batch: pa.RecordBatch) -> None:
        for name in self._output.key:
            if batch[name].null_count:
                raise OperatorError(
                    f"{batch[name].null_count} rows have no {name!r}, which is a key of the upsert",
                    hint=f"filter them away before: {name} is not null",
                    retry=False,
                )
        columns = [stored_values(column) for column in batch.columns]
        self._connection.executemany(
            _insertion(self._name, batch.schema.names, self._output.key), zip(*columns, strict=True)
        )


def _insertion(table: str, names: Sequence[str], key: Sequence[str]) -> str:
    marks = ", ".join("?" * len(names))
    statement = f"INSERT INTO {quoted(table)} ({_listed(names)}) VALUES ({marks})"  # noqa: S608
    if not key:
        return statement
    others = [name for name in names if name not in key]
    changes = ", ".join(f"{quoted(name)} = excluded.{quoted(name)}" for name in others)
    action = f"UPDATE SET {changes}" if changes else "NOTHING"
    return f"{statement} ON CONFLICT ({_listed(key)}) DO {action}"


def _listed(names: Sequence[str]) -> str:
    return ", ".join(map(quoted, names))


def _folded(names: Any) -> set[str]:
    """Names as SQLite compares them."""
    return {str(name).lower() for name in names}
