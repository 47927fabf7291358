"""sqlite passes the suites of inputs (table, table without rowid, ordered query) and outputs (each mode)."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from datetime import date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa

from operators.sqlite import SqliteInput, SqliteOutput
from operators.sqlite_types import column_declaration, stored_values
from orchestrator.sdk.conformance import ApplyOutputConformance, InputConformance

BACK: dict[str, Callable[[Any], Any]] = {
    "BOOLEAN": bool,
    "DATE": date.fromisoformat,
    "TIMESTAMP": datetime.fromisoformat,
    "DECIMAL_TEXT(10, 2)": Decimal,
}


def fill(path: Path, table: pa.Table, ending: str = "", key: str = "") -> None:
    columns = [f'"{field.name}" {column_declaration(field.type)}' for field in table.schema]
    with sqlite3.connect(path) as connection:
        connection.execute("DROP TABLE IF EXISTS rows")
        connection.execute(f"CREATE TABLE rows ({', '.join(columns)}{key}){ending}")
        values = [stored_values(column) for column in table.combine_chunks().columns]
        marks = ", ".join("?" * len(columns))
        connection.executemany(f"INSERT INTO rows VALUES ({marks})", zip(*values, strict=True))
    connection.close()


def rows_of(path: Path) -> list[dict[str, Any]]:
    """What lies in the table, read by Python's own driver, in Arrow's types."""
    with sqlite3.connect(path) as connection:
        kinds = [(row[1], row[2]) for row in connection.execute("PRAGMA table_info(rows)")]
        rows = connection.execute("SELECT * FROM rows").fetchall() if kinds else []
    connection.close()
    return [
        {
            name: BACK[kind](value) if kind in BACK and value is not None else value
            for (name, kind), value in zip(kinds, row, strict=True)
        }
        for row in rows
    ]


class TestSqliteTable(InputConformance):
    def source(self, folder: Path, table: pa.Table) -> SqliteInput:
        fill(folder / "in.db", table)
        types = {"price": "decimal(10, 2)"} if "price" in table.schema.names else {}
        return SqliteInput(path="in.db", table="rows", columns=types)


class TestSqliteTableWithoutRowid(InputConformance):
    def source(self, folder: Path, table: pa.Table) -> SqliteInput:
        name = "id" if "id" in table.schema.names else "number"
        numbered = table if name == "id" else self._numbered(table)
        fill(folder / "in.db", numbered, " WITHOUT ROWID", f", PRIMARY KEY ({name})")
        return SqliteInput(path="in.db", table="rows")

    def _numbered(self, table: pa.Table) -> pa.Table:
        return table.append_column("number", pa.array(range(table.num_rows), pa.int64()))

    def expected(self, table: pa.Table) -> list[dict[str, Any]]:
        return (table if "id" in table.schema.names else self._numbered(table)).to_pylist()


class TestSqliteQuery(InputConformance):
    def source(self, folder: Path, table: pa.Table) -> SqliteInput:
        fill(folder / "in.db", table)
        return SqliteInput(path="in.db", query="SELECT * FROM rows", order_by="id")

    def wide_table(self) -> pa.Table:
        table = super().wide_table()
        return table.append_column("id", pa.array(range(table.num_rows), pa.int64()))


class _SqliteConformance(ApplyOutputConformance):
    def read(self, folder: Path) -> list[dict[str, Any]]:
        return rows_of(folder / "out.db")

    def lose_ledger(self, folder: Path) -> None:
        with sqlite3.connect(folder / "out.db") as connection:
            connection.execute("DELETE FROM fustgo_ledger")
        connection.close()


class TestSqliteAppend(_SqliteConformance):
    def output(self, folder: Path) -> SqliteOutput:
        return SqliteOutput(path=str(folder / "out.db"), table="rows")

    def after_two_runs(self) -> list[dict[str, Any]]:
        return [*self.table().to_pylist(), *self.table().to_pylist()]


class TestSqliteOverwrite(_SqliteConformance):
    def output(self, folder: Path) -> SqliteOutput:
        return SqliteOutput(path=str(folder / "out.db"), table="rows", mode="overwrite")


class TestSqliteUpsert(_SqliteConformance):
    def output(self, folder: Path) -> SqliteOutput:
        return SqliteOutput(path=str(folder / "out.db"), table="rows", mode="upsert", key=["id"])

    def wide_table(self) -> pa.Table:
        table = super().wide_table()
        return table.append_column("id", pa.array(range(table.num_rows), pa.int64()))
