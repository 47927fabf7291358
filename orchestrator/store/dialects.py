"""What differs between the databases that hold the store: types, upserts, locks, partial indexes, libraries.

How each is opened stands in `sqlite` and `postgresql`. Everything else is written once, in SQLAlchemy Core.
"""

from __future__ import annotations

from datetime import UTC, datetime
from enum import StrEnum
from functools import cache
from types import ModuleType
from typing import Any

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Connection,
    DateTime,
    Dialect,
    Integer,
    MetaData,
    String,
    Table,
    literal,
    literal_column,
    text,
)
from sqlalchemy.types import TypeDecorator

from orchestrator.kept import instant

WHOLE = Integer().with_variant(BigInteger(), "postgresql")  # 64 bits on both: ids are never given again
_CLAIM_LOCK = 0x66757374_676F0001  # advisory locks of PostgreSQL share one space of numbers
_SCHEMA_LOCK = 0x66757374_676F0002
_TABLES = {
    "sqlite": "SELECT name FROM sqlite_master WHERE type = 'table'",
    "postgresql": "SELECT tablename FROM pg_tables WHERE schemaname = current_schema()",
}


class Instant(TypeDecorator[datetime]):
    """An instant: aware in Python, UTC in the database (SQLite keeps no zone: text of fixed width)."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        value = instant(value)
        return value.replace(tzinfo=None) if dialect.name == "sqlite" else value

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


class Word(TypeDecorator[StrEnum]):
    """A word of an enumeration: text in the database, the enumeration's member in Python."""

    impl = String
    cache_ok = True

    def __init__(self, words: type[StrEnum]) -> None:
        super().__init__()
        self.words = words

    def process_bind_param(self, value: StrEnum | None, dialect: Dialect) -> str | None:
        return None if value is None else self.words(value).value

    def process_result_value(self, value: str | None, dialect: Dialect) -> StrEnum | None:
        return None if value is None else self.words(value)


def upsert(connection: Connection, table: Table, values: dict[str, Any], *, key: str) -> None:
    """Insert a row, or overwrite the one that has the same `key`."""
    connection.execute(_upsert(connection.dialect.name, table, frozenset(values), key), values)


@cache  # to make it takes several times as long as to execute it
def _upsert(dialect: str, table: Table, names: frozenset[str], key: str) -> Any:
    statement = _insert(dialect, table)
    changed = {name: statement.excluded[name] for name in sorted(names - {key})}
    return statement.on_conflict_do_update(index_elements=[table.c[key]], set_=changed)


def insert_absent(
    connection: Connection, table: Table, values: dict[str, Any] | list[dict[str, Any]]
) -> None:
    """Insert a row or several, but for one that may not be there twice: another has inserted it just now."""
    connection.execute(_insert(connection.dialect.name, table).values(values).on_conflict_do_nothing())


def _insert(dialect: str, table: Table) -> Any:
    if dialect == "postgresql":
        from sqlalchemy.dialects.postgresql import insert as postgresql_insert

        return postgresql_insert(table)
    from sqlalchemy.dialects.sqlite import insert as sqlite_insert

    return sqlite_insert(table)


def has_row_locks(connection: Connection) -> bool:
    """Whether transactions write side by side. SQLite's never do: what they read stays as it is."""
    return connection.dialect.name == "postgresql"


def take_claim_lock(connection: Connection) -> None:
    """Claim alone until this transaction ends: what a claim counts must not change under it (rule 9.1).

    Its statements have one plan whatever their parameters: the choice of candidates takes PostgreSQL longer
    to plan than to execute, and others wait meanwhile.
    """
    if has_row_locks(connection):
        planned_once = "set_config('plan_cache_mode', 'force_generic_plan', true)"
        connection.exec_driver_sql(f"SELECT {planned_once}, pg_advisory_xact_lock({_CLAIM_LOCK})")


def take_schema_lock(connection: Connection) -> None:
    """Create or migrate the schema alone until this transaction ends."""
    if has_row_locks(connection):
        connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({_SCHEMA_LOCK})")


def table_names(connection: Connection) -> list[str]:
    """The tables that are there."""
    return list(connection.exec_driver_sql(_TABLES[connection.dialect.name]).scalars())


def declare_partial_indexes(schema: MetaData, dialect: str) -> None:
    """Give partial indexes their condition for a database of this kind.

    Declared with the tables, PostgreSQL's would load its dialect into every process.
    """
    for table in schema.tables.values():
        for index in table.indexes:
            if "where" in index.info:
                index.dialect_options[dialect]["where"] = text(index.info["where"])


def stamp_with_transaction(_events: Table, connection: Connection, **_more: object) -> None:
    """Have PostgreSQL write into each row of the feed which transaction it is from (rule 13).

    A listener: called when the table has just been created.
    """
    if has_row_locks(connection):
        number = "BIGINT NOT NULL DEFAULT pg_current_xact_id()::text::bigint"
        connection.exec_driver_sql(f"ALTER TABLE events ADD COLUMN xact {number}")
        connection.exec_driver_sql("CREATE INDEX ix_events_xact ON events (xact, id)")


def settled(
    connection: Connection, number: ColumnElement[int]
) -> tuple[ColumnElement[int], ColumnElement[bool]]:
    """Of the rows of a feed: the transaction's number, and the condition that no row will come before it.

    Sequences give `number` before the commit, so on PostgreSQL a lower one may appear after a higher one. A
    row is settled when every transaction up to its own has ended. SQLite's only writer needs none of this.
    """
    if not has_row_locks(connection):
        return literal(0), number > 0
    xact: ColumnElement[int] = literal_column("events.xact", BigInteger)
    oldest: ColumnElement[int] = literal_column("pg_snapshot_xmin(pg_current_snapshot())::text::bigint")
    return xact, xact < oldest


def sqlite_library() -> ModuleType:
    """The DBAPI module that brings the newest SQLite: PyPI's own build, since distributions ship old ones."""
    import pysqlite3.dbapi2

    return pysqlite3.dbapi2  # type: ignore[no-any-return]


def postgresql_library() -> ModuleType:
    """The DBAPI module for PostgreSQL."""
    import psycopg

    return psycopg


def has_wal_reset_defect(version: tuple[int, ...]) -> bool:
    """Whether this SQLite can corrupt a WAL database when several connections write and checkpoint at once.

    Versions 3.7.0 to 3.51.2 can, but for the repaired 3.44.6 and 3.50.7 and later ones of those lines.
    https://sqlite.org/wal.html names the defect; the rollback journal is not affected.
    """
    if (3, 44, 6) <= version < (3, 45) or (3, 50, 7) <= version < (3, 51):
        return False
    return (3, 7, 0) <= version < (3, 51, 3)
