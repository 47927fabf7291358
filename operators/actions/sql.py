"""sql: statements on a database, in one transaction.

Values go in as bound parameters: `statement="DELETE FROM t WHERE day = :day"`, `bind={"day": "{{ ds }}"}`. A
process that dies after the commit runs the statements again, so let them be such that this does no harm.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from typing import Any

from pydantic import Field, field_validator, model_validator

from orchestrator.errors import OperatorError
from orchestrator.sdk.action import Action, as_json
from orchestrator.sdk.context import Context
from orchestrator.sdk.fields import Templated, TemplatedDict, connection_field
from orchestrator.sdk.operator import operator


@operator("sql")
class Sql(Action):
    """Runs SQL statements on a SQLite database; its result is the rows of the last one, or their number.

    Where the last statement gives rows, the result is a list of the first `rows` of them by column name; else
    `{"rows": n}`, the rows that all statements changed.
    """

    statement: str | list[str] = Field(
        description="The statements; several in one text end in a semicolon each."
    )
    path: Templated[str] = Field(default="", description="The SQLite file; it is made where it is absent.")
    connection: str = Field(
        default="",
        description="A connection to the database instead of a path.",
        json_schema_extra=connection_field("sqlite"),
    )
    bind: TemplatedDict[Any] = Field(
        default_factory=dict, description="Values of the parameters, which a statement names `:name`."
    )
    rows: int = Field(default=100, ge=0, description="How many rows the result keeps.")

    @field_validator("statement")
    @classmethod
    def _complete(cls, statement: str | list[str]) -> str | list[str]:
        if not list(statements_of(statement)):
            raise ValueError("it holds no statement")
        return statement

    @model_validator(mode="after")
    def _one_database(self) -> Sql:
        if bool(self.path) == bool(self.connection):
            raise ValueError("give either `path` or `connection`")
        return self

    def connection_names(self) -> tuple[str, ...]:
        return (self.connection,) if self.connection else ()

    def run(self, context: Context) -> Any:
        from operators.sqlite import connect, driver

        path = self.path or _database(context, self.connection)
        with closing(connect(context, path, create=True)) as connection:
            statement = ""
            try:
                connection.execute("BEGIN IMMEDIATE")
                result: Any = {"rows": 0}
                for statement in statements_of(self.statement):
                    result = _executed(connection, statement, self.bind, self.rows, result)
                as_json(result, "result")  # before the commit: what cannot be kept changes nothing
                connection.execute("COMMIT")
            except driver().Error as error:
                raise _refused(error, statement) from None
            return result


def statements_of(text: str | list[str]) -> Iterator[str]:
    """The single statements, without what is only space or comment."""
    for written in [text] if isinstance(text, str) else text:
        begun = ""
        for piece in written.split(";"):
            begun += piece
            if sqlite3.complete_statement(f"{begun};"):
                if _says_something(begun):
                    yield begun.strip()
                begun = ""
            else:
                begun += ";"
        if _says_something(begun.rstrip(";")):
            yield begun.rstrip(";").strip()


def _says_something(statement: str) -> bool:
    lines = [line.strip() for line in statement.splitlines()]
    return any(line and not line.startswith("--") for line in lines)


def _executed(connection: Any, statement: str, bind: dict[str, Any], most: int, before: Any) -> Any:
    cursor = connection.execute(statement, bind)
    if cursor.description is not None:
        names = [column[0] for column in cursor.description]
        found = [dict(zip(names, row, strict=True)) for row in cursor.fetchmany(most)] if most else []
        for _ in cursor:  # a statement that is not read to its end has not changed all its rows
            pass
        return found
    counted = before["rows"] if isinstance(before, dict) else 0
    return {"rows": counted + max(0, cursor.rowcount)}


def _database(context: Context, name: str) -> str:
    found = context.connection(name)
    if found.type != "sqlite" or not found.database:
        hint = f"set FUSTGO_CONN_{name.upper()}=sqlite:///path/to/file.db"
        raise OperatorError(
            f"connection {name!r} is no SQLite database: its type is {found.type!r}", hint=hint, retry=False
        )
    return found.database


def _refused(error: Exception, statement: str) -> OperatorError:
    busy = "locked" in str(error) or "busy" in str(error)
    hint = (
        "another process writes to the database"
        if busy
        else f"the statement: {' '.join(statement.split())[:300]}"
    )
    return OperatorError(f"the database refused: {error}", hint=hint, retry=busy)
