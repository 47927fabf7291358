"""Types for operator fields: templates, durations, sizes and connection names.

`Templated[T]` accepts a value of T or a text with `{{ ... }}`, which the runner renders and then
validates as T. To a type checker it is `T | str`. Units: `64MB` is 10^6 bytes, `64MiB` 2^20.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Annotated, Any, TypeAlias, TypeVar

from pydantic import (
    BeforeValidator,
    PlainSerializer,
    TypeAdapter,
    WithJsonSchema,
    WrapSerializer,
    WrapValidator,
)

T = TypeVar("T")

_DURATION = re.compile(r"\s*(?:(\d+(?:\.\d+)?)\s*(ms|s|m|h|d))", re.IGNORECASE)
_SECONDS = {"ms": 0.001, "s": 1, "m": 60, "h": 3600, "d": 86400}
_SIZE = re.compile(r"^\s*(\d+(?:\.\d+)?)\s*(B|kB|KB|MB|GB|TB|KiB|MiB|GiB|TiB)?\s*$")
_BYTES = {
    "B": 1, "kB": 10**3, "KB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12,
    "KiB": 2**10, "MiB": 2**20, "GiB": 2**30, "TiB": 2**40,
}  # fmt: skip


def parse_duration(value: object) -> timedelta:
    """A duration from `30s`, `5m`, `2h`, `1h30m`, a number of seconds, or a timedelta."""
    if isinstance(value, timedelta):
        return value
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return timedelta(seconds=value)
    if isinstance(value, str):
        pieces = _DURATION.findall(value)
        if pieces and not _DURATION.sub("", value).strip():
            return timedelta(seconds=sum(float(number) * _SECONDS[unit.lower()] for number, unit in pieces))
    raise ValueError("not a duration: write it like 30s, 5m, 2h or 1h30m")


def format_duration(value: timedelta) -> str:
    """The shortest text that `parse_duration` reads back to the same value."""
    left = value.total_seconds()
    text = ""
    for unit, size in (("d", 86400), ("h", 3600), ("m", 60)):
        count, left = divmod(left, size)
        text += f"{int(count)}{unit}" if count else ""
    return text + (f"{left:g}s" if left or not text else "")


def parse_size(value: object) -> int:
    """A number of bytes from `64MB` (10^6), `64MiB` (2^20), or a whole number."""
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    if isinstance(value, str) and (match := _SIZE.match(value)):
        return int(float(match[1]) * _BYTES[match[2] or "B"])
    raise ValueError("not a size: write it like 64MB or 64MiB")


@dataclass(frozen=True)
class TemplateMark:
    """Marks a field whose text is rendered in the runner before it is validated as `inner`."""

    inner: Any


def is_template(value: object) -> bool:
    """Whether a value is a text that holds a template."""
    return isinstance(value, str) and ("{{" in value or "{%" in value)


if TYPE_CHECKING:
    Duration: TypeAlias = timedelta
    ByteSize: TypeAlias = int
    Templated: TypeAlias = T | str
else:
    Duration = Annotated[
        timedelta,
        BeforeValidator(parse_duration),
        PlainSerializer(format_duration, return_type=str),
        WithJsonSchema({"type": ["string", "number"], "description": "A duration such as 30s, 5m or 2h."}),
    ]
    ByteSize = Annotated[
        int,
        BeforeValidator(parse_size),
        WithJsonSchema({"type": ["string", "integer"], "description": "A size such as 64MB or 64MiB."}),
    ]

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
