"""What an author's function returned, as batches of one schema a port.

A function may return or yield RecordBatches, Tables, polars frames, None, and, where it has several
ports, pairs of port and any of these. The schema of a port is the declared one; else the input's where
the columns are the same; else that of the first batch.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from orchestrator.errors import OperatorError, nearest
from orchestrator.sdk.types import canonical_batch, canonical_schema, type_name


class Shaper:
    """Gives the batches of one node's ports their schema; refuses what does not fit."""

    def __init__(self, function: str, ports: Sequence[str], declared: Mapping[str, pa.Schema]) -> None:
        self._function, self._ports = function, tuple(ports)
        self._schemas: dict[str, pa.Schema] = dict(declared)

    def batches(self, returned: Any, source: pa.Schema) -> Iterator[tuple[str, pa.RecordBatch]]:
        """Pairs of port and batch from whatever a call returned; `source` is the schema that came in."""
        for port, value in self._values(returned):
            for batch in _as_batches(value):
                if batch.num_rows:
                    yield port, self._shape(port, canonical_batch(batch), source)

    def rows(
        self, rows: Mapping[str, Sequence[Mapping[str, Any]]], source: pa.Schema
    ) -> Iterator[tuple[str, pa.RecordBatch]]:
        """Batches from rows by port."""
        for port, records in rows.items():
            if records:
                yield port, self._from_rows(port, records, source)

    def port_of(self, port: Any) -> str:
        """The port, if the node has it."""
        if port not in self._ports:
            raise self._error(f"yields to port {port!r}", nearest(str(port), self._ports))
        return str(port)

    def only_port(self) -> str:
        """The port of what is returned without a name."""
        if self._ports != ("out",):
            raise self._error("has several outputs", f'yield pairs: ("{self._ports[0]}", batch)')
        return "out"

    def _error(self, what: str, hint: str) -> OperatorError:
        return OperatorError(f"{self._function} {what}", hint=hint, retry=False)

    def _values(self, returned: Any) -> Iterator[tuple[str, Any]]:
        if returned is None:
            return
        if isinstance(returned, tuple) and len(returned) == 2 and isinstance(returned[0], str):
            yield self.port_of(returned[0]), returned[1]
        elif _is_frame(returned):
            yield self.only_port(), returned
        elif isinstance(returned, Iterable) and not isinstance(returned, (str, bytes, Mapping)):
            for value in returned:
                yield from self._values(value)
        else:
            raise self._error(
                f"returned {type(returned).__name__}",
                "return a RecordBatch, a Table, a polars frame or None (rows=True maps rows as dicts)",
            )

    def _shape(self, port: str, batch: pa.RecordBatch, source: pa.Schema) -> pa.RecordBatch:
        schema = self._schemas.get(port)
        if schema is None:
            schema = self._schemas[port] = self._first_schema(batch.schema, source)
        return batch if batch.schema.equals(schema) else self._fit(batch, schema)

    def _first_schema(self, found: pa.Schema, source: pa.Schema) -> pa.Schema:
        """The input's types for its columns, the found ones for the others."""
        known = {field.name: field.type for field in canonical_schema(source)}
        types: list[Any] = [
            (field.name, known.get(field.name, field.type) if pa.types.is_null(field.type) else field.type)
            for field in found
        ]
        for name, data_type in types:
            if pa.types.is_null(data_type):
                raise self._error(
                    f"returned a column {name!r} that is all null at first",
                    f"declare the types: @processor(schema={{{name!r}: 'string', ...}})",
                )
        return source if found.names == source.names and _fits(found, source) else pa.schema(types)

    def _fit(self, batch: pa.RecordBatch, schema: pa.Schema) -> pa.RecordBatch:
        if sorted(batch.schema.names) != sorted(schema.names):
            raise self._error(
                f"returned columns {', '.join(batch.schema.names)}", f"expected: {', '.join(schema.names)}"
            )
        arrays = [self._cast(batch.column(field.name), field) for field in schema]
        return pa.RecordBatch.from_arrays(arrays, schema=schema)

    def _cast(self, array: pa.Array[Any], field: pa.Field[Any]) -> pa.Array[Any]:
        try:
            made: pa.Array[Any] = pc.cast(array, field.type)
            return made
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
            found, wanted = type_name(array.type), type_name(field.type)
            raise self._error(
                f"returned {found} in column {field.name!r}, which is {wanted}", f"{error}"
            ) from None

    def _from_rows(
        self, port: str, records: Sequence[Mapping[str, Any]], source: pa.Schema
    ) -> pa.RecordBatch:
        schema = self._schemas.get(port)
        known = schema if schema is not None else canonical_schema(source)
        names: dict[str, None] = dict.fromkeys(known.names if schema is not None else ())
        for record in records:
            if record.keys() != names.keys():
                names |= dict.fromkeys(record)
        if schema is not None and len(names) > len(schema.names):
            extra = next(name for name in names if name not in schema.names)
            raise self._error(f"returned a column {extra!r}", f"expected: {', '.join(schema.names)}")
        types = {field.name: field.type for field in known}
        arrays = [self._column(name, records, types.get(name)) for name in names]
        return self._shape(port, pa.RecordBatch.from_arrays(arrays, names=list(names)), source)

    def _column(
        self, name: str, records: Sequence[Mapping[str, Any]], wanted: pa.DataType | None
    ) -> pa.Array[Any]:
        values = [record.get(name) for record in records]
        try:
            made: pa.Array[Any] = pa.array(values, wanted)
            return made
        except (pa.ArrowInvalid, pa.ArrowTypeError, OverflowError) as error:
            if wanted is None or name not in self._declared_names():
                return self._guess(name, values, error)
            raise self._error(f"returned in column {name!r}: {error}", f"it is {type_name(wanted)}") from None

    def _declared_names(self) -> set[str]:
        return {name for schema in self._schemas.values() for name in schema.names}

    def _guess(self, name: str, values: list[Any], error: Exception) -> pa.Array[Any]:
        try:
            guessed: pa.Array[Any] = pa.array(values)
            return guessed
        except (pa.ArrowInvalid, pa.ArrowTypeError, OverflowError):
            raise self._error(f"returned in column {name!r}: {error}", "values of one type") from None


def _fits(found: pa.Schema, source: pa.Schema) -> bool:
    return all(
        pa.types.is_null(mine.type) or mine.type == theirs.type
        for mine, theirs in zip(found, canonical_schema(source), strict=True)
    )


def _is_frame(value: Any) -> bool:
    return isinstance(value, (pa.RecordBatch, pa.Table)) or type(value).__module__.startswith("polars.")


def _as_batches(value: Any) -> Iterable[pa.RecordBatch]:
    if value is None:
        return ()
    if isinstance(value, pa.RecordBatch):
        return (value,)
    if isinstance(value, pa.Table):
        return value.combine_chunks().to_batches()
    if type(value).__module__.startswith("polars."):
        frame = value.collect() if hasattr(value, "collect") else value
        return _as_batches(frame.to_arrow())
    raise OperatorError(
        f"{type(value).__name__} is neither a RecordBatch, a Table nor a polars frame", retry=False
    )
