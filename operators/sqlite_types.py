"""How Arrow's types lie in SQLite, and back.

SQLite keeps integers, reals, texts and blobs. Booleans are 0 and 1; dates, times and timestamps ISO texts
(zoned ones in UTC with `+00:00`), which its date functions read; decimals are texts, exact, in columns
declared `DECIMAL_TEXT(p, s)`. It has no NaN: one is stored as null.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

Array = Any  # pa.Array of any type
Failure = (pa.ArrowInvalid, pa.ArrowTypeError, OverflowError, ValueError)
"""What `array_of` raises where a value does not fit."""

_DECIMAL = re.compile(r"DECIMAL_TEXT\s*\(\s*(\d+)\s*,\s*(\d+)\s*\)", re.IGNORECASE)


def column_declaration(data_type: pa.DataType) -> str:
    """The declared type of a new column; ValueError where SQLite cannot hold such values."""
    is_ = pa.types
    if is_.is_decimal(data_type):
        return f"DECIMAL_TEXT({data_type.precision}, {data_type.scale})"
    if is_.is_timestamp(data_type):
        return "TIMESTAMPTZ" if data_type.tz else "TIMESTAMP"
    plain = (
        (is_.is_boolean, "BOOLEAN"), (is_.is_integer, "INTEGER"), (is_.is_floating, "REAL"),
        (is_.is_string, "TEXT"), (is_.is_binary, "BLOB"), (is_.is_date, "DATE"), (is_.is_time, "TIME"),
        (is_.is_null, "TEXT"),
    )  # fmt: skip
    for fits, name in plain:
        if fits(data_type):
            return name
    raise ValueError(f"SQLite has no place for {data_type}: turn it into text or leave it out by `mapping`")


def type_for_text(declaration: str) -> str:
    """The type to turn texts into for a column that is declared a number; empty where it keeps texts.

    By the rules of SQLite's affinities (sqlite.org/datatype3.html, 3.1), but a column of numeric affinity
    counts by its name: one declared `DATE` or `JSON` has that affinity too, and is there to hold texts.
    """
    text = declaration.upper()
    if "INT" in text:
        return "int64"
    if any(word in text for word in ("CHAR", "CLOB", "TEXT", "BLOB")):
        return ""
    named = ((("REAL", "FLOA", "DOUB"), "float64"), (("BOOL",), "bool"), (("NUM", "DEC", "MONEY"), "float64"))
    return next((found for words, found in named if any(word in text for word in words)), "")


def stored_values(array: Array) -> list[Any]:
    """The values of a column as the driver takes them."""
    data_type = array.type
    if pa.types.is_timestamp(data_type) and data_type.tz:
        text = pc.cast(pc.cast(array, pa.timestamp(data_type.unit)), pa.string())
        array = pc.binary_join_element_wise(text, "+00:00", "")
    elif pa.types.is_temporal(data_type) or pa.types.is_decimal(data_type):
        array = pc.cast(array, pa.string())
    values: list[Any] = array.to_pylist()
    return values


def column_type(declaration: str, sample: Iterable[Any]) -> pa.DataType:
    """The type of a column from its declaration, where the sampled values keep to it, else from those."""
    values = [value for value in sample if value is not None]
    declared = _declared_type(declaration)
    if declared is not None:
        try:
            array_of(values, declared)
        except Failure:
            pass
        else:
            return declared
    kinds = {type(value) for value in values}
    if kinds == {int}:
        return pa.int64()
    if kinds in ({float}, {int, float}):
        return pa.float64()
    return pa.binary() if kinds == {bytes} else pa.string()


def _declared_type(declaration: str) -> pa.DataType | None:
    """By the rules of SQLite's affinities, and the names that people give to dates and booleans."""
    text = declaration.upper()
    if match := _DECIMAL.search(text):
        make = pa.decimal128 if int(match[1]) <= 38 else pa.decimal256
        return make(int(match[1]), int(match[2]))
    named: tuple[tuple[tuple[str, ...], pa.DataType], ...] = (
        (("BOOL",), pa.bool_()),
        (("INT",), pa.int64()),
        (("CHAR", "CLOB", "TEXT"), pa.string()),
        (("BLOB",), pa.binary()),
        (("REAL", "FLOA", "DOUB"), pa.float64()),
        (("TIMESTAMPTZ",), pa.timestamp("us", "UTC")),
        (("TIMESTAMP", "DATETIME"), pa.timestamp("us")),
        (("DATE",), pa.date32()),
        (("TIME",), pa.time64("us")),
    )
    return next((found for words, found in named if any(word in text for word in words)), None)


def array_of(values: Sequence[Any], wanted: pa.DataType) -> Array:
    """The values of a column as an array; one of `Failure` where one does not fit, never a null for it."""
    is_ = pa.types
    if is_.is_boolean(wanted):
        return _booleans(values)
    if is_.is_string(wanted):
        return _texts(values)
    if is_.is_decimal(wanted):
        texts = [value if value is None or isinstance(value, str) else str(value) for value in values]
        return pc.cast(pa.array(texts, pa.string()), wanted)
    if is_.is_time(wanted):
        clock: Any = pa.array(values, pa.string())
        moments = pc.binary_join_element_wise("1970-01-01", clock, " ")
        return pc.cast(pc.cast(moments, pa.timestamp("ns" if wanted.unit == "ns" else "us")), wanted)
    if is_.is_temporal(wanted):
        return pc.cast(pa.array(values, pa.string()), wanted)
    return pa.array(values, wanted)


def _texts(values: Sequence[Any]) -> Array:
    """Numbers among texts become texts; blobs do not."""
    try:
        return pa.array(values, pa.string())
    except pa.ArrowTypeError:
        return pa.array([str(v) if isinstance(v, (int, float)) else v for v in values], pa.string())


def _booleans(values: Sequence[Any]) -> Array:
    numbers = pa.array(values, pa.int64())
    bounds: Any = pc.min_max(numbers).as_py()
    if bounds["min"] is not None and not (bounds["min"] >= 0 and bounds["max"] <= 1):
        raise ValueError("a boolean is 0 or 1")
    return pc.cast(numbers, pa.bool_())
