"""The base of all tables, and how their constraints are named (so that a migration can name them too)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import cache
from typing import Any, TypeVar

from sqlalchemy import CheckConstraint, Index, Integer, MetaData, Row, Table, TextClause, event, inspect
from sqlalchemy import column as sql_column
from sqlalchemy.orm import registry
from sqlmodel import SQLModel

from orchestrator.store.dialects import WHOLE

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

    model_config = {"defer_build": True}  # validators are built when one is used, which saves start-up
    metadata = METADATA


E = TypeVar("E", bound=Entity)


def table_of(entity: type[Entity]) -> Table:
    """The Core table of an entity, for statements."""
    return METADATA.tables[str(entity.__tablename__)]


def value(entity: type[E], row: Row[Any]) -> E:
    """A row of exactly this table as a value."""
    return _made(entity, dict(row._mapping))


def part(entity: type[E], row: Row[Any], start: int) -> E:
    """The columns of a row from `start` on as a value of this table, which was selected with others."""
    columns = table_of(entity).columns.keys()
    return _made(entity, dict(zip(columns, row[start : start + len(columns)], strict=True)))


def _made(entity: type[E], values: Mapping[str, Any]) -> E:
    """An instance with these values of all columns, as a database gave them: nothing is left to validate.

    A twentieth of the time of the constructor, which sets one attribute after the other.
    """
    made: E = _manager(entity).new_instance()
    made.__dict__.update(values)
    for name, kept in (("fields_set", set(values)), ("extra", None), ("private", None)):
        object.__setattr__(made, f"__pydantic_{name}__", kept)
    return made


@cache
def _manager(entity: type[Entity]) -> Any:
    """What SQLAlchemy makes instances with, ready for use."""
    mapper = inspect(entity)
    mapper.registry.configure()
    return mapper.class_manager


def partial_index(name: str, *columns: str | TextClause, where: str, unique: bool = False) -> Index:
    """An index over the rows where a condition holds (see `dialects.declare_partial_indexes`)."""
    return Index(name, *columns, unique=unique, info={"where": where})


def one_of(column: str, words: Iterable[str]) -> CheckConstraint:
    """A column that holds one of these words, or nothing."""
    return CheckConstraint(sql_column(column).in_([str(word) for word in words]), name=column)


def _widen(table: Table, metadata: MetaData) -> None:
    """Integers are 64 bits everywhere, as SQLite's always are."""
    for column in table.columns:
        if metadata is METADATA and type(column.type) is Integer:
            column.type = WHOLE


event.listen(Table, "after_parent_attach", _widen)
