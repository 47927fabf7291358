"""Column types as people write them: `int64`, `string`, `date`, `timestamp[us, UTC]`, `decimal(10, 2)`.

One vocabulary for every operator: `parse_type` reads a name, `type_name` writes one that it reads back.
Edges carry canonical types (`string`, never `large_string` or `string_view`; dictionaries decoded), which
`canonical_batch` makes of whatever a library gave.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import lru_cache
from typing import TYPE_CHECKING, Annotated, Any, TypeAlias

from pydantic import AfterValidator, WithJsonSchema

from orchestrator.errors import nearest

if TYPE_CHECKING:
    import pyarrow as pa

_PLAIN = (
    "bool", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64", "float32", "float64",
    "string", "binary", "date", "time", "timestamp", "null",
)  # fmt: skip
_ALIASES = {
    "boolean": "bool", "int": "int64", "integer": "int64", "bigint": "int64", "smallint": "int16",
    "float": "float64", "double": "float64", "real": "float32", "str": "string", "text": "string",
    "varchar": "string", "utf8": "string", "bytes": "binary", "blob": "binary", "date32": "date",
    "datetime": "timestamp", "timestamptz": "timestamp[us, UTC]",
}  # fmt: skip
_DECIMAL = re.compile(r"(?:decimal|numeric|decimal128)\s*\(\s*(\d+)\s*(?:,\s*(\d+)\s*)?\)", re.IGNORECASE)
_TIMESTAMP = re.compile(
    r"timestamp\s*\[\s*(s|ms|us|ns)?\s*,?\s*(?:tz=)?([A-Za-z0-9_+:/-]*)\s*\]", re.IGNORECASE
)
_LIST = re.compile(r"list\s*<\s*(?:\w+:\s*)?(.+?)\s*>", re.IGNORECASE)


def normal_type(text: str) -> str:
    """The one spelling of a type's name; ValueError with the nearest name where there is no such type.

    Imports no Arrow, so that a DAG file is checked without it.
    """
    word = text.strip()
    plain = _ALIASES.get(word.lower(), word.lower())
    if plain in _PLAIN or plain in _ALIASES.values():
        return plain
    if match := _DECIMAL.fullmatch(word):
        return _normal_decimal(int(match[1]), int(match[2] or 0))
    if match := _TIMESTAMP.fullmatch(word):
        return _normal_timestamp((match[1] or "us").lower(), match[2])
    if match := _LIST.fullmatch(word):
        return f"list<{normal_type(match[1])}>"
    if plain in ("decimal", "numeric"):
        raise ValueError(f"{plain} needs its precision and scale: write it like decimal(10, 2)")
    known = (*_PLAIN, *_ALIASES, "decimal(p, s)", "timestamp[us, UTC]", "list<...>")
    raise ValueError(f"no type {text!r}; {nearest(plain, known)}")


def _normal_decimal(precision: int, scale: int) -> str:
    if not (1 <= precision <= 76 and scale <= precision):
        raise ValueError(f"decimal({precision}, {scale}): precision is 1 to 76, scale at most precision")
    return f"decimal({precision}, {scale})"


def _normal_timestamp(unit: str, zone: str) -> str:
    if not zone:
        return "timestamp" if unit == "us" else f"timestamp[{unit}]"
    from zoneinfo import ZoneInfo

    zone = "UTC" if zone.upper() in ("UTC", "Z") else zone
    try:
        if not re.fullmatch(r"[+-]\d\d:\d\d", zone):
            ZoneInfo(zone)
    except (KeyError, ValueError, OSError):
        raise ValueError(f"no time zone {zone!r}: write one like UTC, Europe/Berlin or +02:00") from None
    return f"timestamp[{unit}, {zone}]"


def parse_type(text: str) -> pa.DataType:
    """The Arrow type that a name means; ValueError with the nearest name where there is no such type.

    `timestamp` has microseconds and no zone; `date` is days, `time` microseconds.
    """
    import pyarrow as pa

    name = normal_type(text)
    if match := _DECIMAL.fullmatch(name):
        make = pa.decimal128 if int(match[1]) <= 38 else pa.decimal256
        return make(int(match[1]), int(match[2]))
    if name == "timestamp":
        return pa.timestamp("us")
    if match := _TIMESTAMP.fullmatch(name):
        unit: Any = match[1]
        zone: Any = match[2] or None
        return pa.timestamp(unit, zone)
    if match := _LIST.fullmatch(name):
        return pa.list_(parse_type(match[1]))
    plain: dict[str, pa.DataType] = {"bool": pa.bool_(), "date": pa.date32(), "time": pa.time64("us")}
    alias: Any = name
    return plain.get(name) or pa.type_for_alias(alias)


def type_name(data_type: pa.DataType) -> str:
    """The name that `parse_type` reads back; Arrow's own words for what has none (structs, maps)."""
    import pyarrow as pa

    data_type = canonical_type(data_type)
    if pa.types.is_decimal(data_type):
        return f"decimal({data_type.precision}, {data_type.scale})"
    if pa.types.is_timestamp(data_type):
        return _normal_timestamp(data_type.unit, data_type.tz or "")
    if pa.types.is_list(data_type):
        return f"list<{type_name(data_type.value_type)}>"
    special = {pa.date32(): "date", pa.time64("us"): "time", pa.float64(): "float64", pa.float32(): "float32"}
    return special.get(data_type, str(data_type))


@lru_cache(maxsize=4096)
def canonical_type(data_type: pa.DataType) -> pa.DataType:
    """The type that edges carry for a type that a library gave."""
    import pyarrow as pa

    is_ = pa.types
    if is_.is_large_string(data_type) or is_.is_string_view(data_type):
        return pa.string()
    if is_.is_large_binary(data_type) or is_.is_binary_view(data_type):
        return pa.binary()
    if is_.is_dictionary(data_type):
        return canonical_type(data_type.value_type)
    if is_.is_run_end_encoded(data_type):
        return canonical_type(data_type.value_type)
    if is_.is_decimal32(data_type) or is_.is_decimal64(data_type):
        return pa.decimal128(data_type.precision, data_type.scale)
    if is_.is_date64(data_type):
        return pa.date32()
    if is_.is_large_list(data_type) or is_.is_list(data_type) or is_.is_list_view(data_type):
        return pa.list_(canonical_type(data_type.value_type))
    if is_.is_struct(data_type):
        return pa.struct([_canonical_field(data_type.field(i)) for i in range(data_type.num_fields)])
    return data_type


def _canonical_field(field: pa.Field[Any]) -> pa.Field[Any]:
    wanted = canonical_type(field.type)
    return field if field.type == wanted else field.with_type(wanted)


def canonical_schema(schema: pa.Schema) -> pa.Schema:
    """The schema with canonical types, without metadata and without "not null" (no edge promises that)."""
    import pyarrow as pa

    return pa.schema([pa.field(field.name, canonical_type(field.type)) for field in schema])


def canonical_array(array: pa.Array[Any]) -> pa.Array[Any]:
    """The array in its canonical type; itself where it already is."""
    wanted = canonical_type(array.type)
    if array.type == wanted:
        return array
    import pyarrow.compute as pc

    return pc.cast(array, wanted)


def lacks_types(schemas: Iterable[pa.Schema | None]) -> bool:
    """Whether a column's type is unknown (`null`), as in a file without rows: then no check can say no."""
    import pyarrow as pa

    return any(pa.types.is_null(column.type) for schema in schemas if schema is not None for column in schema)


def canonical_batch(batch: pa.RecordBatch) -> pa.RecordBatch:
    """The batch with canonical types; columns that have them already are not copied."""
    schema = canonical_schema(batch.schema)
    if batch.schema.equals(schema, check_metadata=True):
        return batch
    import pyarrow as pa

    return pa.RecordBatch.from_arrays([canonical_array(column) for column in batch.columns], schema=schema)


if TYPE_CHECKING:
    TypeName: TypeAlias = str
else:
    TypeName = Annotated[
        str,
        AfterValidator(normal_type),
        WithJsonSchema(
            {
                "type": "string",
                "description": "A column type: int64, float64, bool, string, binary, date, time, timestamp, "
                "timestamp[us, UTC], decimal(10, 2), ...",
            }
        ),
    ]
