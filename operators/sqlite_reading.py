"""How a `SqliteInput` reads: by key in pages that hold no lock between them, or along a query's cursor.

A table is read by its rowid, or by its primary key where it has none, up to the last key that it has when
the stage is planned. A position is the last key that was given. Between two attempts the first and
the last row are compared with what was planned; a row changed in between goes unnoticed.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from operators.rejects import failing, reject_record
from operators.sqlite import connect, reported
from operators.sqlite_table import quoted
from operators.sqlite_types import Failure, array_of, column_type
from orchestrator.errors import OperatorError, nearest
from orchestrator.sdk.context import Context
from orchestrator.sdk.input import EndOfInput, InputChanged, Reader
from orchestrator.sdk.types import parse_type, type_name

if TYPE_CHECKING:
    from operators.sqlite import SqliteInput

Row = Sequence[Any]
FIRST_ROWS = 1024


class Source:
    """What an input names, looked up through a connection: its columns, their types, its key."""

    def __init__(self, source: SqliteInput, connection: Any) -> None:
        self._input, self._connection = source, connection
        self.key: list[str] = []
        self.declared: dict[str, str] = {}
        if source.table:
            self._look_up_table()
        else:
            self._look_up_query()
        unknown = [name for name in source.columns if name not in self.declared]
        if unknown:
            raise OperatorError(
                f"`columns` names {unknown[0]!r}, which is not there",
                hint=nearest(unknown[0], self.declared),
                retry=False,
            )

    def _look_up_table(self) -> None:
        table = self._input.table
        kinds = {
            row[1]: row for row in self._rows("PRAGMA main.table_list") if not row[1].startswith("sqlite_")
        }
        found = kinds.get(table) or next((r for n, r in kinds.items() if n.lower() == table.lower()), None)
        if found is None:
            raise OperatorError(f"there is no table {table!r}", hint=nearest(table, kinds), retry=False)
        if found[2] == "view":
            raise OperatorError(f"{table!r} is a view", hint="read it by `query`", retry=False)
        columns = [row for row in self._rows(f"PRAGMA table_xinfo({quoted(table)})") if row[6] != 1]
        self.declared = {row[1]: row[2] for row in columns}
        self.origin = quoted(table)
        if found[4]:
            self.key = [quoted(row[1]) for row in sorted(columns, key=lambda row: row[5]) if row[5]]
        else:
            taken = {name.lower() for name in self.declared}
            self.key = [next(name for name in ("rowid", "_rowid_", "oid") if name not in taken)]

    def _look_up_query(self) -> None:
        query = self._input.query.strip().rstrip(";")
        self._connection.execute("PRAGMA query_only = 0")
        try:
            self._connection.execute(f"CREATE TEMP VIEW fustgo_query AS {query}")
            self.declared = {row[1]: row[2] for row in self._rows("PRAGMA temp.table_info(fustgo_query)")}
        finally:
            self._connection.execute("PRAGMA query_only = 1")
        self.origin = f"({query}\n)"  # the query may end in a comment
        if self._input.order_by:
            if self._input.order_by not in self.declared:
                raise OperatorError(
                    f"`order_by` names {self._input.order_by!r}, which the query does not give",
                    hint=nearest(self._input.order_by, self.declared),
                    retry=False,
                )
            self.key = [quoted(self._input.order_by)]

    def _rows(self, sql: str, parameters: Row = ()) -> list[Any]:
        rows: list[Any] = self._connection.execute(sql, parameters).fetchall()
        return rows

    def schema(self) -> pa.Schema:
        """The columns with their types: as asked, as declared, or as a sample shows them."""
        listed = ", ".join(map(quoted, self.declared))
        sample = self._rows(f"SELECT {listed} FROM {self.origin} LIMIT ?", (self._input.infer_rows,))  # noqa: S608
        by_column = list(zip(*sample, strict=True)) if sample else [()] * len(self.declared)
        return pa.schema(
            [
                (name, parse_type(asked) if asked else column_type(declared, values))
                for (name, declared), values in zip(self.declared.items(), by_column, strict=True)
                for asked in [self._input.columns.get(name)]
            ]
        )

    def split(self) -> Any:
        """What there is to read: types, first and last key, and a digest of those two rows."""
        split: dict[str, Any] = {"columns": {field.name: type_name(field.type) for field in self.schema()}}
        if self._input.table:
            ends = [self._end("ASC"), self._end("DESC")]
            split["ends"] = [_to_json(row[: len(self.key)]) for row in ends if row]
            split["digest"] = _digest(ends)
        return split

    def _end(self, order: str) -> Row | None:
        keys = ", ".join(f"{key} {order}" for key in self.key)
        found = self._rows(f"{self.select()} ORDER BY {keys} LIMIT 1")
        return found[0] if found else None

    def check(self, split: Any) -> None:
        """Raise `InputChanged` where columns, or the first or last row, are not those of the split."""
        missing = [name for name in split["columns"] if name not in self.declared]
        if missing:
            raise InputChanged(f"column {missing[0]!r} is gone since the run began")
        if "ends" not in split:
            return
        marks = ", ".join("?" * len(self.key))
        rows = [
            found[0]
            if (found := self._rows(f"{self.select()} WHERE ({self.keys()}) = ({marks})", key))
            else None
            for key in map(_from_json, split["ends"])
        ]
        if _digest(rows if rows else [None, None]) != split["digest"]:
            raise InputChanged(f"table {self._input.table!r} has other rows than when the run began")

    def keys(self) -> str:
        """The key's columns, listed."""
        return ", ".join(self.key)

    def select(self) -> str:
        """Key and columns of every row."""
        return f"SELECT {', '.join([*self.key, *map(quoted, self.declared)])} FROM {self.origin}"  # noqa: S608


def _digest(rows: Sequence[Row | None]) -> str:
    return hashlib.sha256(repr([row and tuple(row) for row in rows]).encode()).hexdigest()


def _to_json(key: Row) -> list[Any]:
    return [{"blob": value.hex()} if isinstance(value, bytes) else value for value in key]


def _from_json(key: Row) -> list[Any]:
    return [bytes.fromhex(value["blob"]) if isinstance(value, dict) else value for value in key]


class SqliteReader(Reader):
    """Reads one split; `position` is the last key given, or for a query without order the rows given."""

    def __init__(self, source: SqliteInput, context: Context, split: Any, position: Any | None) -> None:
        self._input, self._context = source, context
        self.schema = pa.schema([(name, parse_type(text)) for name, text in split["columns"].items()])
        with reported(context, source.path):
            self._connection = connect(context, source.path)
            try:
                self._source = Source(source, self._connection)
                self._source.check(split)
            except BaseException:
                self._connection.close()
                raise
        if position is not None and not source.replayable:
            self._connection.close()
            raise OperatorError("a query without `order_by` cannot go on from a position", retry=False)
        self._last = None if position is None else _from_json(position)
        ends = split.get("ends")
        self._bound = _from_json(ends[-1]) if ends else None
        self._ended = bool(source.table) and not ends
        self._rows = min(context.batch_rows, FIRST_ROWS)
        self._given = 0
        self._cursor: Any = None

    def read(self) -> pa.RecordBatch:
        while not self._ended:
            with reported(self._context, self._input.path):
                rows = self._page() if self._input.table else self._along_cursor()
            if not rows:
                self._ended = True
                break
            batch = self._batch(rows)
            if batch.num_rows:
                return batch
        raise EndOfInput

    def _page(self) -> list[Row]:
        """The next rows by key: a statement of its own, so that no lock is held between two."""
        keys, marks = self._source.keys(), ", ".join("?" * len(self._source.key))
        parts = [f"({keys}) <= ({marks})"]
        parameters = list(self._bound or ())
        if self._last is not None:
            parts.append(f"({keys}) > ({marks})")
            parameters += self._last
        sql = f"{self._source.select()} WHERE {' AND '.join(parts)} ORDER BY {keys} LIMIT ?"
        rows: list[Row] = self._connection.execute(sql, [*parameters, self._rows]).fetchall()
        return rows

    def _along_cursor(self) -> list[Row]:
        if self._cursor is None:
            sql, keys = self._source.select(), self._source.keys()
            if keys and self._last is not None:
                sql += f" WHERE {keys} > ?"
            self._cursor = self._connection.execute(
                sql + (f" ORDER BY {keys}" if keys else ""), self._last or ()
            )
        rows: list[Row] = self._cursor.fetchmany(self._rows)
        if self._source.key and rows:
            self._check_order(rows)
        return rows

    def _check_order(self, rows: list[Row]) -> None:
        """A key that is null or comes twice would lose rows when the input goes on from it."""
        keys = [row[0] for row in rows]
        before = [self._last[0] if self._last else None, *keys]
        if None in keys or any(left == right for left, right in zip(before, keys, strict=False)):
            raise OperatorError(
                f"`order_by` {self._input.order_by!r} is null or not unique",
                hint="order by a unique column, or leave `order_by` out: the stage is then one epoch",
                retry=False,
            )

    def _batch(self, rows: list[Row]) -> pa.RecordBatch:
        width = len(self._source.key)
        found = list(zip(*rows, strict=True))[width:]
        bad: dict[int, str] = {}
        arrays = [self._array(field, values, bad) for field, values in zip(self.schema, found, strict=True)]
        for row, reason in sorted(bad.items()):
            self._reject(rows[row], reason, self._given + row + 1)
        self._last = list(rows[-1][:width]) if width else None
        self._given += len(rows)
        batch = pa.RecordBatch.from_arrays(arrays, schema=self.schema)
        self._adapt(batch)
        return batch.filter(pa.array([row not in bad for row in range(len(rows))])) if bad else batch

    def _adapt(self, batch: pa.RecordBatch) -> None:
        """As many rows as fit the bytes of a batch, judged by the last one."""
        fitting = batch.num_rows * self._context.batch_bytes // max(batch.nbytes, 1)
        self._rows = max(1, min(self._context.batch_rows, fitting))

    def _array(self, field: pa.Field[Any], values: Row, bad: dict[int, str]) -> Any:
        try:
            return array_of(values, field.type)
        except Failure:
            pass

        def fails(start: int, stop: int) -> str:
            try:
                array_of(values[start:stop], field.type)
            except Failure:
                return f"column {field.name!r}: {values[start]!r} is no {type_name(field.type)}"
            return ""

        found = dict(failing(len(values), fails))
        for row, reason in found.items():
            bad.setdefault(row, reason)
        return array_of([None if row in found else value for row, value in enumerate(values)], field.type)

    def _reject(self, row: Row, reason: str, number: int) -> None:
        width = len(self._source.key)
        record = dict(zip(self.schema.names, row[width:], strict=True))
        place = dict(zip(self._source.key, _to_json(row[:width]), strict=True)) if width else {"row": number}
        reject_record(self._context, record, reason, "conversion", place, self._input.path)

    @property
    def position(self) -> Any:
        if self._source.key:
            return None if self._last is None else _to_json(self._last)
        return [self._given] if self._given else None

    def close(self) -> None:
        self._connection.close()
