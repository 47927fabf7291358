"""The columns of a CSV file: names from its header, types from a sample of its rows.

A column is `int64`, `float64`, `bool`, `date` or `timestamp` when every value of the sample is, written
so that nothing is lost by it: `007`, `+49 30` and `12345678901234567890` stay text.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from orchestrator.errors import OperatorError, nearest

if TYPE_CHECKING:
    import pyarrow as pa

_WHOLE = r"^-?(?:0|[1-9][0-9]*)$"
_NUMBER = r"^-?(?:0|[1-9][0-9]*)?(?:\.[0-9]*)?(?:[eE][+-]?[0-9]+)?$|^(?:NaN|nan|-?inf)$"
_BOOLEAN = r"^(?:true|false|True|False|TRUE|FALSE)$"
_DAY = r"^[0-9]{4}-[0-9]{2}-[0-9]{2}$"
_MOMENT = _DAY[:-1] + r"[T ][0-9]{2}:[0-9]{2}(?::[0-9]{2}(?:\.[0-9]{1,6})?)?"
_ZONE = r"(?:Z|[+-][0-9]{2}:?[0-9]{2})$"
_PATTERNS = {
    "int64": _WHOLE, "float64": _NUMBER, "bool": _BOOLEAN, "date": _DAY,
    "timestamp": _MOMENT + "$", "timestamp[us, UTC]": _MOMENT + _ZONE,
}  # fmt: skip
_INEXACT = r"^-?[0-9]{16,}$"  # beyond 2^53 a float64 holds no whole number exactly


def column_names(fields: Sequence[str]) -> list[str]:
    """Unique names from a header: a blank one is `column_3` by its place, a second `a` is `a_2`."""
    names: list[str] = []
    taken = {name for name in fields if name}
    for place, name in enumerate(fields, 1):
        unique, number = name or f"column_{place}", 2
        while unique in names or (unique != name and unique in taken):
            unique, number = f"{name or f'column_{place}'}_{number}", number + 1
        names.append(unique)
    return names


def choose_types(
    path: str, names: Sequence[str], given: Mapping[str, str], has_header: bool
) -> dict[str, str | None]:
    """The type of each column as it was given, None where it must be inferred.

    With a header, `given` may name some columns, in any order; without, it names all, in order.
    """
    if has_header:
        for name in given:
            if name not in names:
                raise OperatorError(f"{path} has no column {name!r}", hint=nearest(name, names), retry=False)
        return {name: given.get(name) for name in names}
    if given and len(given) != len(names):
        raise OperatorError(
            f"{path} has {len(names)} columns in its first line, `columns` names {len(given)}",
            hint="name every column, in the order of the file",
            retry=False,
        )
    return dict(given) if given else dict.fromkeys(names)


def inferred_type(values: pa.ChunkedArray[Any]) -> str:
    """The type of a column from a sample of its texts; `string` where nothing narrower holds them all.

    A file without rows says nothing of its types: `null`, which every expression takes.
    """
    import polars as pl

    if not len(values):
        return "null"
    texts = pl.Series(values).drop_nulls()
    texts = texts.filter(texts != "")
    if not len(texts):
        return "string"
    for name, pattern in _PATTERNS.items():
        if re.match(pattern, texts[0]) and texts.str.contains(pattern).all():
            return name if _holds(name, texts) else "string"
    return "string"


def _holds(name: str, texts: Any) -> bool:
    """Whether a type holds values that look like it, exactly."""
    import polars as pl
    import pyarrow as pa

    from orchestrator.sdk.types import parse_type

    if name == "int64":
        return bool(texts.cast(pl.Int64, strict=False).null_count() == 0)
    if name == "float64":
        return bool(texts.str.contains("[0-9]").any()) and not texts.str.contains(_INEXACT).any()
    if name == "bool":
        return True
    try:
        texts.to_arrow(compat_level=pl.CompatLevel.oldest()).cast(parse_type(name))
    except pa.ArrowInvalid:
        return False
    return True
