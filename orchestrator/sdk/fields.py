"""Types for operator fields: templates, durations, sizes and connection names.

`Templated[T]` accepts a value of T or a text with `{{ ... }}`, which the runner renders and then
validates as T. To a type checker it is `T | str`. Durations and sizes are those of `orchestrator.units`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, TypeAlias, TypeVar

from pydantic import TypeAdapter, WithJsonSchema, WrapSerializer, WrapValidator

from orchestrator.units import ByteSize, Duration

__all__ = [
    "ByteSize",
    "Duration",
    "TemplateMark",
    "Templated",
    "connection_field",
    "is_template",
    "templated_fields",
]

T = TypeVar("T")


@dataclass(frozen=True)
class TemplateMark:
    """Marks a field whose text is rendered in the runner before it is validated as `inner`."""

    inner: Any


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


def templated_fields(model: type[Any]) -> dict[str, Any]:
    """The fields of an operator that may hold a template, with the type each must render to."""
    return {
        name: mark.inner
        for name, info in model.model_fields.items()
        for mark in info.metadata
        if isinstance(mark, TemplateMark)
    }


def connection_field(*types: str) -> dict[str, Any]:
    """The `json_schema_extra` of a field that names a connection of one of these types."""
    return {"connection": list(types)}
