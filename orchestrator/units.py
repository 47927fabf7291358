"""Durations and sizes as people write them: `30s 5m 2h 1h30m`; `64MB` is 10^6 bytes, `64MiB` 2^20.

What people write ends in dates, columns and timers, so all of it is bounded here.
"""

from __future__ import annotations

import re
from datetime import timedelta
from typing import TYPE_CHECKING, Annotated, TypeAlias

from pydantic import BeforeValidator, PlainSerializer, WithJsonSchema

MOST = 2**31 - 1
"""The largest number of a count: every database and library takes it."""
LONGEST = timedelta(days=36_500)
"""The longest duration, 100 years: any date takes it."""
MOST_BYTES = 2**60
_DURATION = re.compile(r"\s*(?:(\d+(?:\.\d+)?)\s*(ms|s|m|h|d))", re.IGNORECASE)
_SECONDS = {"ms": 0.001, "s": 1, "m": 60, "h": 3600, "d": 86400}
_NUMBER = re.compile(r"\s*\d+(\.\d+)?\s*")
_SIZE = re.compile(r"\s*(\d+(?:\.\d+)?)\s*(B|kB|KB|MB|GB|TB|KiB|MiB|GiB|TiB)?\s*")
_BYTES = {
    "B": 1, "kB": 10**3, "KB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12,
    "KiB": 2**10, "MiB": 2**20, "GiB": 2**30, "TiB": 2**40,
}  # fmt: skip


class TooLong(ValueError):
    """A duration above `LONGEST`."""


def parse_duration(value: object) -> timedelta:
    """A duration from `30s`, `5m`, `2h`, `1h30m`, a number of seconds, or a timedelta.

    Raises ValueError for anything else, a negative one included; TooLong above `LONGEST`.
    """
    if isinstance(value, str):
        value = _seconds(value)
    if isinstance(value, (int, float)) and not isinstance(value, bool) and value >= 0:
        value = timedelta(seconds=value) if value <= LONGEST.total_seconds() else timedelta.max
    if not isinstance(value, timedelta) or value < timedelta(0):
        raise ValueError("not a duration: write it like 30s, 5m, 2h or 1h30m")
    if value > LONGEST:
        raise TooLong(f"longer than 100 years: write at most {format_duration(LONGEST)}")
    return value


def _seconds(text: str) -> float | None:
    pieces = _DURATION.findall(text)
    if pieces and not _DURATION.sub("", text).strip():
        return sum(float(number) * _SECONDS[unit.lower()] for number, unit in pieces)
    return float(text) if _NUMBER.fullmatch(text) else None


def format_duration(value: timedelta) -> str:
    """The shortest text that `parse_duration` reads back to the same value."""
    left = value.total_seconds()
    text = ""
    for unit, size in (("d", 86400), ("h", 3600), ("m", 60)):
        count, left = divmod(left, size)
        text += f"{int(count)}{unit}" if count else ""
    return text + (f"{round(left, 6):.12g}s" if left or not text else "")


def parse_size(value: object) -> int:
    """A number of bytes from `64MB` (10^6), `64MiB` (2^20), or a whole number.

    Raises ValueError for anything else, a negative one and one above `MOST_BYTES` included.
    """
    if isinstance(value, str) and (match := _SIZE.fullmatch(value)):
        value = int(min(float(match[1]) * _BYTES[match[2] or "B"], 2.0 * MOST_BYTES))
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise ValueError("not a size: write it like 64MB or 64MiB")
    if value > MOST_BYTES:
        raise ValueError(f"larger than any disk: write at most {format_size(MOST_BYTES)}")
    return value


def format_size(value: int) -> str:
    """The shortest text with a unit of 1024 that `parse_size` reads back to the same value."""
    for unit in ("TiB", "GiB", "MiB", "KiB"):
        if value and value % _BYTES[unit] == 0:
            return f"{value // _BYTES[unit]}{unit}"
    return f"{value}B"


if TYPE_CHECKING:
    Duration: TypeAlias = timedelta
    ByteSize: TypeAlias = int
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
