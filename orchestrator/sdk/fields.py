"""Types for operator fields: templates, durations, sizes and connection names.

`Templated[T]` accepts a value of T or a text with `{{ ... }}`, which the runner renders and then
validates as T. To a type checker it is `T | str`. In `SqlText` and `SqliteText` each `{{ ... }}` becomes
a literal. Durations and sizes are those of `orchestrator.units`.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Annotated, Any, TypeAlias, TypeVar

from pydantic import BaseModel, TypeAdapter, WithJsonSchema, WrapSerializer, WrapValidator

from orchestrator.units import ByteSize, Duration

__all__ = [
    "ByteSize",
    "Duration",
    "SqlText",
    "SqliteText",
    "TemplateMark",
    "Templated",
    "TemplatedDict",
    "connection_field",
    "is_template",
    "or_template",
    "sql_dialects",
    "template_marks",
    "templated_fields",
]

T = TypeVar("T")


@dataclass(frozen=True)
class TemplateMark:
    """Marks a field whose text is rendered in the runner before it is validated as `inner`.

    `dialect` names the SQL whose literals its values become; empty where they become plain text. `within`:
    the field holds its templates in texts at any depth.
    """

    inner: Any
    dialect: str = ""
    within: bool = False


def is_template(value: object) -> bool:
    """Whether a value is a text that holds a template."""
    return isinstance(value, str) and ("{{" in value or "{%" in value)


if TYPE_CHECKING:
    Templated: TypeAlias = T | str
else:

    class Templated:
        """`Templated[T]`: a T, or a text whose `{{ ... }}` give one."""

        def __class_getitem__(cls, inner: Any) -> Any:
            return Annotated[
                inner,
                WrapValidator(_accept_template),
                WrapSerializer(_keep_template),
                WithJsonSchema(_or_template(inner)),
                TemplateMark(inner),
            ]


if TYPE_CHECKING:
    TemplatedDict: TypeAlias = dict[str, T]
else:

    class TemplatedDict:
        """`TemplatedDict[T]`: names with a T each, or a text whose `{{ ... }}` give one."""

        def __class_getitem__(cls, inner: Any) -> Any:
            each = dict[str, Any] if inner is Any else dict[str, Templated[inner]]
            return Annotated[each, TemplateMark(inner, within=True)]


def _sql_text(dialect: str) -> Any:
    return Annotated[
        str, WrapValidator(_accept_template), WrapSerializer(_keep_template), TemplateMark(str, dialect)
    ]


def or_template(inner: Any) -> Any:
    """The type of a value that may be a template: without a JSON Schema, so of any type."""
    return Annotated[inner, WrapValidator(_accept_template), WrapSerializer(_keep_template)]


def _accept_template(value: Any, validate: Any) -> Any:
    return value if is_template(value) else validate(value)


def _keep_template(value: Any, serialize: Any) -> Any:
    return value if is_template(value) else serialize(value)


def _or_template(inner: Any) -> dict[str, Any]:
    schema = TypeAdapter(inner).json_schema()
    return (
        schema
        if schema.get("type") == "string"
        else {"anyOf": [schema, {"type": "string", "pattern": r"\{[{%]"}]}
    )


if TYPE_CHECKING:
    SqlText: TypeAlias = str
    SqliteText: TypeAlias = str
else:
    SqlText = _sql_text("sql")
    SqliteText = _sql_text("sqlite")
"""SQL whose `{{ ... }}` become literals of their values, never SQL."""


@cache
def template_marks(model: type[BaseModel]) -> dict[str, TemplateMark]:
    """The fields of an operator that may hold templates."""
    return {
        name: mark
        for name, info in model.model_fields.items()
        for mark in info.metadata
        if isinstance(mark, TemplateMark)
    }


def templated_fields(model: type[BaseModel]) -> dict[str, Any]:
    """The fields of an operator that may hold a template, with the type each must render to."""
    return {name: mark.inner for name, mark in template_marks(model).items()}


def sql_dialects(model: type[BaseModel]) -> dict[str, str]:
    """The fields of an operator whose templates give SQL literals, with their dialect."""
    return {name: mark.dialect for name, mark in template_marks(model).items() if mark.dialect}


def connection_field(*types: str) -> dict[str, Any]:
    """The `json_schema_extra` of a field that names a connection of one of these types."""
    return {"connection": list(types)}
