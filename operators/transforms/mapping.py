"""mapping: rename, compute, convert and leave out columns."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import Field, field_validator

from operators.rejects import failing, reject_row
from operators.transforms.expressions import (
    RowByRow,
    check_texts,
    column_types,
    missing_column,
)
from orchestrator.sdk.context import Context
from orchestrator.sdk.operator import SchemaProblem, Schemas, operator, refuse_misfits
from orchestrator.sdk.processor import Emitted, Processor, ProcessorRuntime
from orchestrator.sdk.types import TypeName, parse_type, type_name

if TYPE_CHECKING:
    import pyarrow as pa


@operator("mapping")
class Mapping(Processor):
    """Renames columns, adds computed ones, converts types, leaves columns out; all others pass in order.

    Expressions see the columns as they arrive. A value that cannot be converted rejects its row.
    """

    row_local: ClassVar[bool] = True

    mappings: dict[str, str] = Field(
        default_factory=dict, description="Columns to rename: the existing name and the new one."
    )
    columns: dict[str, str] = Field(
        default_factory=dict, description="Columns to add: the new name and the SQL expression that gives it."
    )
    types: dict[str, TypeName] = Field(
        default_factory=dict,
        description="Columns of the result to convert, by their new names, and the type.",
    )
    remove: list[str] = Field(
        default_factory=list, description="Columns to leave out, by the names with which they arrive."
    )

    @field_validator("columns")
    @classmethod
    def _known_words(cls, columns: dict[str, str]) -> dict[str, str]:
        return check_texts(columns)

    def output_schemas(self, inputs: Schemas) -> Schemas:
        schema = inputs.get("in")
        computed, problems = column_types(self.columns, schema, "columns")
        if schema is None:
            refuse_misfits(problems)
            return {"out": None}
        return {"out": _result_schema(self, schema, computed, problems)}

    def open(self, context: Context) -> ProcessorRuntime:
        return _Mapping(self, context)


def _result_schema(
    mapping: Mapping,
    schema: pa.Schema,
    computed: dict[str, pa.DataType],
    problems: Sequence[SchemaProblem] = (),
) -> pa.Schema:
    """The schema that leaves.

    Raises `problems`, those of the expressions, together with all missing sources, colliding names and
    impossible types.
    """
    import pyarrow as pa

    types = {
        mapping.mappings.get(column.name, column.name): column.type
        for column in schema
        if column.name not in mapping.remove
    } | computed
    found = [*problems, *_absences(mapping, schema), *_collisions(mapping, schema)]
    unsure = {*mapping.columns, *mapping.mappings.values()} - types.keys()
    for name, text in mapping.types.items():
        if name in types:
            try:
                types[name] = _convertible(name, types[name], parse_type(text))
            except SchemaProblem as problem:
                found.append(problem)
        elif name not in unsure:
            found.append(missing_column(name, pa.schema(list(types.items())), f"types.{name}"))
    refuse_misfits(found)
    return pa.schema(list(types.items()))


def _absences(mapping: Mapping, schema: pa.Schema) -> Iterator[SchemaProblem]:
    for name in mapping.mappings:
        if name not in schema.names:
            yield missing_column(name, schema, f"mappings.{name}")
    for index, name in enumerate(mapping.remove):
        if name not in schema.names:
            yield missing_column(name, schema, f"remove.{index}")


def _collisions(mapping: Mapping, schema: pa.Schema) -> Iterator[SchemaProblem]:
    kept = [mapping.mappings.get(name, name) for name in schema.names if name not in mapping.remove]
    for index, name in enumerate(mapping.remove):
        if name in mapping.mappings:
            yield SchemaProblem(f"column {name!r} is renamed and removed", field=f"remove.{index}")
    for name in dict.fromkeys(kept):
        if kept.count(name) > 1:
            source = next((old for old, new in mapping.mappings.items() if new == name), "")
            yield SchemaProblem(
                f"two columns would be named {name!r}",
                hint="rename or remove the other",
                field=f"mappings.{source}" if source else "mappings",
            )
        if name in mapping.columns:
            yield SchemaProblem(
                f"there is a column {name!r} already",
                hint=f"choose another name, or add `remove: [{name}]` to replace it",
                field=f"columns.{name}",
            )


def _convertible(name: str, source: pa.DataType, target: pa.DataType) -> pa.DataType:
    import pyarrow as pa
    import pyarrow.compute as pc

    nothing: Any = source
    try:
        pc.cast(pa.nulls(0, nothing), target)
    except (pa.ArrowNotImplementedError, pa.ArrowInvalid):
        raise SchemaProblem(
            f"column {name!r} ({type_name(source)}) cannot become {type_name(target)}", field=f"types.{name}"
        ) from None
    return target


class _Mapping(ProcessorRuntime):
    def __init__(self, mapping: Mapping, context: Context) -> None:
        self._mapping, self._context = mapping, context
        self._rows = RowByRow(mapping.columns, context)
        self._source: pa.Schema | None = None
        self._kept: list[str] = []
        self._target: pa.Schema | None = None

    def process(self, batch: pa.RecordBatch, port: str) -> Emitted:
        computed: dict[str, pa.Array[Any]] = {}
        if self._mapping.columns:
            batch, computed = self._rows.evaluate(batch)
        self._prepare(batch.schema, computed)
        arrays = [*(batch.column(name) for name in self._kept), *computed.values()]
        made = self._converted(batch, arrays)
        return (made,) if made.num_rows else ()

    def _prepare(self, schema: pa.Schema, computed: dict[str, pa.Array[Any]]) -> None:
        """Work out the result's schema once for each schema that arrives."""
        from orchestrator.errors import OperatorError

        if self._source is not None and self._source.equals(schema):
            return
        types = {name: array.type for name, array in computed.items()}
        try:
            self._target = _result_schema(self._mapping, schema, types)
        except SchemaProblem as problem:
            raise OperatorError(f"{problem.field}: {problem}", hint=problem.hint, retry=False) from None
        self._source = schema
        self._kept = [name for name in schema.names if name not in self._mapping.remove]

    def _converted(self, batch: pa.RecordBatch, arrays: list[pa.Array[Any]]) -> pa.RecordBatch:
        """The result; rows with a value that does not convert are rejected with what arrived."""
        import pyarrow as pa

        assert self._target is not None
        bad: dict[int, str] = {}
        for index, field in enumerate(self._target):
            if arrays[index].type != field.type:
                arrays[index] = _cast(arrays[index], field, bad)
        for row, reason in sorted(bad.items()):
            reject_row(self._context, batch, row, reason, "conversion")
        made = pa.RecordBatch.from_arrays(arrays, schema=self._target)
        return made.filter(pa.array([row not in bad for row in range(batch.num_rows)])) if bad else made


def _cast(array: pa.Array[Any], field: pa.Field[Any], bad: dict[int, str]) -> pa.Array[Any]:
    """The array in the field's type, null where a value does not convert; `bad` gets those rows."""
    import pyarrow as pa
    import pyarrow.compute as pc

    try:
        return pc.cast(array, field.type)
    except pa.ArrowInvalid:
        pass

    def fails(start: int, stop: int) -> str:
        try:
            pc.cast(array.slice(start, stop - start), field.type)
        except pa.ArrowInvalid:
            return f"column {field.name!r}: {array[start].as_py()!r} is no {type_name(field.type)}"
        return ""

    found = dict(failing(len(array), fails))
    for row, reason in found.items():
        bad.setdefault(row, reason)
    mask = pa.array([row not in found for row in range(len(array))])
    kept: Any = pc.if_else(mask, array, pa.scalar(None, array.type))
    made: pa.Array[Any] = pc.cast(kept, field.type)
    return made
