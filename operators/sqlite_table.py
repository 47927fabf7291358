"""The table that a `SqliteOutput` fills: made where it is absent, loaded inside the applier's transaction.

What does not fit is found before an epoch is decided: columns by `check`, rows by `refusals`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from operators.sqlite_types import column_declaration, stored_values, type_for_text
from orchestrator.errors import OperatorError, nearest
from orchestrator.sdk.operator import SchemaProblem
from orchestrator.sdk.output import Delivery

if TYPE_CHECKING:
    import pyarrow as pa

    from operators.sqlite import SqliteOutput


def quoted(name: str) -> str:
    """A name as SQL writes it."""
    return '"' + name.replace('"', '""') + '"'


@dataclass(frozen=True)
class Column:
    """A column of an existing table; `required` ones take no null, and `filled` ones come by themselves."""

    name: str
    declared: str
    required: bool
    filled: bool


class Table:
    """One table through one connection."""

    def __init__(self, connection: Any, output: SqliteOutput) -> None:
        self._connection, self._output = connection, output
        self._name = output.table
        self._ready: pa.Schema | None = None
        self._checked: pa.Schema | None = None
        self._required: set[str] = set()

    def check(self, schema: pa.Schema) -> None:
        """Refuse columns that the table does not take, or could not be made of; once a schema."""
        if self._checked is not None and self._checked.equals(schema):
            return
        self._check_schema(schema)
        columns = self._columns()
        if self._output.replaces_whole and columns.keys() != _folded(schema.names):
            columns = {}  # it will be made anew
        if columns:
            self._check_fit(schema, columns)
            self._check_texts(schema, columns)
        self._required = {name for name, column in columns.items() if column.required}
        self._checked = schema

    def refusals(self, batch: pa.RecordBatch) -> dict[int, tuple[str, str]]:
        """The rows of a checked batch that can never be written, each with a code and why."""
        refused: dict[int, tuple[str, str]] = {}
        for name, column in zip(batch.schema.names, batch.columns, strict=True):
            if name in self._output.key:
                reason = f"{name!r}, a key of the upsert, is null"
            else:
                reason = f"{name!r} is null, which table {self._name!r} does not take"
            if name in self._output.key or name.lower() in self._required:
                for row in _nulls(column):
                    refused.setdefault(row, ("null", reason))
            for row in _too_large(column):
                refused.setdefault(row, ("range", f"{name!r} is above 2^63 - 1, SQLite's largest integer"))
        return refused

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
        if schema is None or _folded(schema.names) == columns.keys():
            self._connection.execute(f"DELETE FROM {quoted(self._name)}")  # noqa: S608
        else:
            self._connection.execute(f"DROP TABLE {quoted(self._name)}")
        self._ready = None

    def _columns(self) -> dict[str, Column]:
        """The table's columns by folded name; none where it is absent. A view is refused."""
        found = self._connection.execute(
            "SELECT type FROM sqlite_master WHERE lower(name) = lower(?) AND type IN ('table', 'view')",
            (self._name,),
        ).fetchone()
        if found is None:
            return {}
        if found[0] == "view":
            raise OperatorError(f"{self._name!r} is a view: rows go into tables", retry=False)
        rows = self._connection.execute(f"PRAGMA table_info({quoted(self._name)})").fetchall()
        keys = sum(bool(row[5]) for row in rows)
        found = {}
        for _, name, declared, not_null, default, key in rows:
            # A single integer key is the rowid, which SQLite gives where it is null.
            rowid = bool(key) and keys == 1 and declared.upper() == "INTEGER"
            column = Column(name, declared, bool(not_null) and not rowid, rowid or default is not None)
            found[name.lower()] = column
        return found

    def _prepare(self, schema: pa.Schema) -> None:
        """Make the table, or see that it takes these columns; once a schema."""
        if self._ready is not None and self._ready.equals(schema):
            return
        columns = self._columns()
        if not columns:
            self._create(schema)
        else:
            self._check_fit(schema, columns)
        self._ready = schema

    def _check_schema(self, schema: pa.Schema) -> None:
        from operators.sqlite import check_schema

        try:
            check_schema(schema, self._output.key)
        except SchemaProblem as problem:
            raise OperatorError(str(problem), hint=problem.hint, retry=False) from None

    def _check_fit(self, schema: pa.Schema, columns: Mapping[str, Column]) -> None:
        """Refuse columns that an existing table lacks, and those that it waits for in vain."""
        for field in schema:
            if field.name.lower() not in columns:
                names = [known.name for known in columns.values()]
                raise OperatorError(
                    f"table {self._name!r} has no column {field.name!r}",
                    hint=f"{nearest(field.name, names)}; or add it to the table, or map it away",
                    retry=False,
                )
        given = _folded(schema.names)
        for folded, column in columns.items():
            if column.required and not column.filled and folded not in given:
                raise OperatorError(
                    f"column {column.name!r} of table {self._name!r} may not be null, and does not arrive",
                    hint="add it by `mapping`, or give it a default in the table",
                    retry=False,
                )
        if self._output.key:
            self._check_unique()

    def _check_texts(self, schema: pa.Schema, columns: Mapping[str, Column]) -> None:
        """Refuse texts for columns of numbers: SQLite would keep them without a word.

        Asked before a decision only: what is decided goes in, since it can.
        """
        for field in schema:
            declared = columns[field.name.lower()].declared
            wanted = type_for_text(declared)
            if wanted and str(field.type) in ("string", "large_string"):
                raise OperatorError(
                    f"column {field.name!r} holds {field.type}, "
                    f"but table {self._name!r} declares it {declared}",
                    hint=f"convert it before, by a mapping with types: {{{field.name}: {wanted}}}",
                    retry=False,
                )

    def _create(self, schema: pa.Schema) -> None:
        self._check_schema(schema)
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


def _nulls(column: Any) -> Iterator[int]:
    """Rows that SQLite would hold as null: NaN is one of them."""
    import pyarrow as pa
    import pyarrow.compute as pc

    if column.null_count or pa.types.is_floating(column.type):
        yield from pc.indices_nonzero(pc.is_null(column, nan_is_null=True)).to_pylist()


def _too_large(column: Any) -> Iterator[int]:
    import pyarrow as pa
    import pyarrow.compute as pc

    if pa.types.is_uint64(column.type):
        largest: Any = pa.scalar(2**63 - 1, pa.uint64())
        yield from pc.indices_nonzero(pc.greater(column, largest)).to_pylist()


def _folded(names: Any) -> set[str]:
    """Names as SQLite compares them."""
    return {str(name).lower() for name in names}
