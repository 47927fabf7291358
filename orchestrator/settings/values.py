"""The kinds of values that settings have beyond text: paths, lists, sizes, and what may be `none`.

In a variable or flag a list is text with commas; `none` says that there is no value.
"""

from __future__ import annotations

import os
import re
from datetime import timedelta
from pathlib import Path
from typing import Annotated, TypeAlias

from pydantic import AfterValidator, BeforeValidator, Field, PlainSerializer, WithJsonSchema

from orchestrator.units import format_duration, format_size, parse_duration, parse_size

NONE, CORES = "none", "cores"


def without_password(text: str) -> str:
    """The text with the password of every URL in it masked, or the token that stands alone in its place."""
    masked = re.sub(r"(://[^:/@]*:)[^/]*@", r"\1***@", text)
    return re.sub(r"(https?://)[^:/@\s]+@", r"\1***@", masked)


def as_written(value: object) -> str:
    """A dumped value as a person writes it, but for passwords."""
    if isinstance(value, list):
        value = ", ".join(str(one) for one in value)
    if isinstance(value, bool):
        value = str(value).lower()
    return without_password(NONE if value is None else str(value))


def upper(value: object) -> object:
    """Levels may be written in small letters."""
    return value.upper() if isinstance(value, str) else value


def lasting(least: str, why: str = "") -> AfterValidator:
    """What makes a duration one of at least so long, and at most 20 days."""
    return AfterValidator(lambda duration: bounded(duration, least, why))


def bounded(duration: timedelta, least: str, why: str = "") -> timedelta:
    """The duration; ValueError where it is shorter, or longer than 20 days: timers of some libraries end at
    24.
    """
    if duration < parse_duration(least):
        raise ValueError(f"must be at least {least}{why}")
    if duration > _LONGEST_WAIT:
        raise ValueError("must be at most 20d")
    return duration


_LONGEST_WAIT = timedelta(days=20)


def _cores(value: object) -> object:
    return len(os.sched_getaffinity(0)) if value == CORES else value


def _absolute(path: Path) -> Path:
    if not (path := path.expanduser()).is_absolute():
        raise ValueError("must be absolute, or start with {home} or ~")
    return path


def _from_here(path: Path) -> Path:
    try:
        return Path(os.path.normpath(path.expanduser().absolute()))
    except FileNotFoundError as error:
        raise ValueError("is relative to the current folder, which does not exist any more") from error


def _inside(path: Path) -> Path:
    if path.is_absolute() or ".." in path.parts:
        raise ValueError("must be a folder inside the bundle, written relative to it")
    return path


def _listed(value: object) -> object:
    if not isinstance(value, str):
        return value
    return [word for word in (part.strip() for part in value.split(",")) if word]


def _distinct(words: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(words))


def _none(value: object) -> object:
    return None if isinstance(value, str) and value.strip().lower() == NONE else value


def _size_or_none(value: object) -> int | None:
    value = _none(value)
    return None if value is None else parse_size(value)


def _duration_or_none(value: object) -> timedelta | None:
    value = _none(value)
    return None if value is None else parse_duration(value)


def _write_text(value: str | None) -> str:
    return NONE if value is None else value


def _write_duration(value: timedelta | None) -> str:
    return NONE if value is None else format_duration(value)


def _write_switch(value: bool | None) -> bool | str:
    return NONE if value is None else value


def _write_size(value: int | None) -> str:
    return NONE if value is None else format_size(value)


AbsolutePath: TypeAlias = Annotated[Path, AfterValidator(_absolute)]
PathFromHere: TypeAlias = Annotated[Path, AfterValidator(_from_here)]
PathInside: TypeAlias = Annotated[Path, AfterValidator(_inside)]
Cores: TypeAlias = Annotated[
    int, BeforeValidator(_cores), Field(ge=1, le=1024), WithJsonSchema({"type": ["integer", "string"]})
]
Words: TypeAlias = Annotated[
    tuple[str, ...],
    BeforeValidator(_listed),
    AfterValidator(_distinct),
    WithJsonSchema({"type": ["array", "string"], "items": {"type": "string"}}),
]
TextOrNone: TypeAlias = Annotated[
    str | None,
    BeforeValidator(_none),
    PlainSerializer(_write_text, return_type=str),
    WithJsonSchema({"type": "string"}),
]
Size: TypeAlias = Annotated[
    int,
    BeforeValidator(parse_size),
    PlainSerializer(format_size, return_type=str),
    WithJsonSchema({"type": ["string", "integer"]}),
]
SizeOrNone: TypeAlias = Annotated[
    int | None,
    BeforeValidator(_size_or_none),
    PlainSerializer(_write_size, return_type=str),
    WithJsonSchema({"type": ["string", "integer"]}),
]
DurationOrNone: TypeAlias = Annotated[
    timedelta | None,
    BeforeValidator(_duration_or_none),
    PlainSerializer(_write_duration, return_type=str),
    WithJsonSchema({"type": ["string", "number"]}),
]
SwitchOrNone: TypeAlias = Annotated[
    bool | None,
    BeforeValidator(_none),
    PlainSerializer(_write_switch, return_type=bool | str),
    WithJsonSchema({"type": ["boolean", "string"]}),
]
