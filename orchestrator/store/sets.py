"""Sets of values as one parameter of a statement, so that its text is the same for one value and a thousand.

A statement that is built once and whose text never changes is compiled once and prepared once: executing it
costs a fifth of one that is built anew.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from sqlalchemy import ARRAY, JSON, Boolean, ColumnElement, Dialect, String, bindparam
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.visitors import InternalTraversal
from sqlalchemy.types import TypeDecorator, TypeEngine


class Several(TypeDecorator[Iterable[Any]]):
    """Values of one type: an array for PostgreSQL, the text of a JSON array for SQLite."""

    impl = JSON
    cache_ok = True

    def __init__(self, item: TypeEngine[Any]) -> None:
        super().__init__()
        self.item = item

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        kept: TypeEngine[Any] = ARRAY(self.item) if dialect.name == "postgresql" else String()
        return dialect.type_descriptor(kept)

    def process_bind_param(self, value: Iterable[Any] | None, dialect: Dialect) -> Any:
        given = list(value or ())
        return given if dialect.name == "postgresql" else json.dumps(given)


class within(ColumnElement[bool]):  # noqa: N801  # reads as a function of SQL in a statement
    """Whether a column's value is among those of the parameter `name`."""

    inherit_cache = True
    type = Boolean()
    _traverse_internals = [  # noqa: RUF012  # SQLAlchemy's way to tell what a cached statement is made of
        ("column", InternalTraversal.dp_clauseelement),
        ("several", InternalTraversal.dp_clauseelement),
    ]

    def __init__(self, column: ColumnElement[Any], name: str) -> None:
        self.column = column
        self.several = bindparam(name, type_=Several(column.type))

    def self_group(self, against: Any = None) -> within:
        """Itself: a condition already; compared with a 1, as SQLite's booleans are, it would use no index."""
        return self


@compiles(within)
def _in_array(element: within, compiler: Any, **options: Any) -> str:
    column, several = (compiler.process(part, **options) for part in (element.column, element.several))
    return f"{column} = ANY({several})"


@compiles(within, "sqlite")
def _in_json(element: within, compiler: Any, **options: Any) -> str:
    column, several = (compiler.process(part, **options) for part in (element.column, element.several))
    return f"{column} IN (SELECT value FROM json_each({several}))"  # noqa: S608  # both are made by SQLAlchemy
