"""The base of all tables, and how their constraints are named (so that a migration can name them too)."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, TypeVar

from sqlalchemy import CheckConstraint, MetaData, Row, Table
from sqlalchemy.orm import registry
from sqlmodel import SQLModel

METADATA = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s",
        "pk": "pk_%(table_name)s",
    }
)


class Entity(SQLModel, registry=registry(metadata=METADATA)):
    """A table. Its instances are plain values here: no session ever tracks one."""

    metadata = METADATA


E = TypeVar("E", bound=Entity)


def table_of(entity: type[Entity]) -> Table:
    """The Core table of an entity, for statements."""
    return METADATA.tables[str(entity.__tablename__)]


def value(entity: type[E], row: Row[Any]) -> E:
    """A row of exactly this table as a value."""
    return entity(**row._mapping)


def one_of(column: str, words: Iterable[str]) -> CheckConstraint:
    """A column that holds one of these words, or nothing."""
    listed = ", ".join(f"'{word}'" for word in words)
    return CheckConstraint(f"{column} IN ({listed})", name=column)
