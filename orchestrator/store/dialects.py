"""What differs between the databases that hold the store: column types, upserts, the library.

Everything else in the store is written once, in SQLAlchemy Core.
"""

from __future__ import annotations

from datetime import UTC, datetime
from enum import StrEnum
from types import ModuleType
from typing import Any

from sqlalchemy import DateTime, Dialect, String, Table
from sqlalchemy.dialects.sqlite import Insert
from sqlalchemy.dialects.sqlite import insert as sqlite_insert
from sqlalchemy.types import TypeDecorator


class Instant(TypeDecorator[datetime]):
    """An instant: aware in Python, UTC in the database (SQLite keeps no zone: text of fixed width)."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError(f"{value} has no time zone; the store keeps instants")
        value = value.astimezone(UTC)
        return value.replace(tzinfo=None) if dialect.name == "sqlite" else value

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        return value.replace(tzinfo=UTC) if value is not None and value.tzinfo is None else value


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


def upsert(table: Table, values: dict[str, Any], *, key: str) -> Insert:
    """Insert a row, or overwrite the one that has the same `key`."""
    statement = sqlite_insert(table).values(values)
    changed = {name: statement.excluded[name] for name in values if name != key}
    return statement.on_conflict_do_update(index_elements=[table.c[key]], set_=changed)


def sqlite_library() -> ModuleType:
    """The DBAPI module that brings the newest SQLite: PyPI's own build, since distributions ship old ones."""
    import pysqlite3.dbapi2

    return pysqlite3.dbapi2  # type: ignore[no-any-return]


def has_wal_reset_defect(version: tuple[int, ...]) -> bool:
    """Whether this SQLite can corrupt a WAL database when several connections write and checkpoint at once.

    Versions 3.7.0 to 3.51.2 can, but for the repaired 3.44.6 and 3.50.7 and later ones of those lines.
    https://sqlite.org/wal.html names the defect; the rollback journal is not affected.
    """
    if (3, 44, 6) <= version < (3, 45) or (3, 50, 7) <= version < (3, 51):
        return False
    return (3, 7, 0) <= version < (3, 51, 3)
