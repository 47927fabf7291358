"""CSV files: text with delimiters, in UTF-8."""

from __future__ import annotations

from collections.abc import Sequence
from typing import IO, TYPE_CHECKING, Annotated, Any, ClassVar, Self

from pydantic import AfterValidator, Field, field_validator, model_validator

from orchestrator.errors import OperatorError
from orchestrator.sdk.fields import Templated
from orchestrator.sdk.input import Input, Reader
from orchestrator.sdk.operator import SchemaProblem, Schemas, operator
from orchestrator.sdk.output import Encoder, FileOutput
from orchestrator.sdk.types import TypeName, parse_type, type_name

if TYPE_CHECKING:
    import pyarrow as pa

    from operators.csv_records import Dialect
    from orchestrator.sdk.context import Context


def _one_character(value: str) -> str:
    if len(value.encode()) != 1 or value in "\r\n\0":
        raise ValueError("must be one ASCII character, not a line end")
    return value


def _quote(value: str) -> str:
    return _one_character(value) if value else value


def _distinct(delimiter: str, quote: str) -> None:
    if delimiter == quote:
        raise ValueError(f"delimiter and quote are both {quote!r}: choose two characters")


Delimiter = Annotated[str, AfterValidator(_one_character)]
Quote = Annotated[str, AfterValidator(_quote)]


@operator("csv")
class CsvInput(Input):
    """Reads one CSV file.

    Lines end in LF or CRLF; a field between quotes may hold delimiters, line ends and doubled quotes. An
    empty field is null, a quoted empty one is an empty text. What does not fit is rejected with its line.
    """

    path: Templated[str] = Field(description="The file.", min_length=1)
    delimiter: Delimiter = Field(default=",", description="The character between fields.")
    quote: Quote = Field(default='"', description="The character around fields; empty: none is quoted.")
    has_header: bool = Field(
        default=True,
        description="Whether the first line holds names; without, they are column_1, column_2, ...",
    )
    columns: dict[str, TypeName] = Field(
        default_factory=dict,
        description="Types by column name; with a header the others are inferred, without one all are "
        "named, in order.",
    )
    infer_rows: int = Field(
        default=10_000, ge=1, description="Rows from which types are inferred; later misfits are rejects."
    )
    null_values: Sequence[str] = Field(
        default=(), description="Texts that mean null, besides the empty field, such as NA."
    )
    encoding: str = Field(default="utf-8", pattern="^utf-?8$", description="The encoding; only utf-8.")

    @field_validator("columns")
    @classmethod
    def _held_by_text(cls, columns: dict[str, str]) -> dict[str, str]:
        for name, text in columns.items():
            if text in ("binary", "null") or text.startswith("list"):
                raise ValueError(f"column {name!r}: a CSV file holds no {text}; read it as string")
        return columns

    @model_validator(mode="after")
    def _readable(self) -> Self:
        _distinct(self.delimiter, self.quote)
        for text in self.null_values:
            if any(mark and mark in text for mark in (self.delimiter, self.quote, "\n", "\r")):
                raise ValueError(f"null value {text!r} holds a delimiter, a quote or a line end")
        return self

    def output_schemas(self, inputs: Schemas) -> Schemas:
        import pyarrow as pa

        if self.has_header or not self.columns:
            return {"out": None}
        return {"out": pa.schema([(name, parse_type(text)) for name, text in self.columns.items()])}

    def discover(self, context: Context) -> pa.Schema | None:
        from operators.csv_reading import discover

        if not context.resolve(self.path).exists():
            return None
        [split] = self.plan(context)
        return discover(split, self._dialect(), self.columns, self.has_header, self.infer_rows)

    def plan(self, context: Context) -> Sequence[Any]:
        from operators.local_file import plan_file

        return [plan_file(context, self.path)]

    def open(self, context: Context, split: Any, position: Any | None) -> Reader:
        from operators.csv_reading import CsvFile, CsvReader, find_layout

        file = CsvFile(split, self._dialect())
        try:
            layout = find_layout(file, self.columns, self.has_header, self.infer_rows)
            return CsvReader(context, file, layout, self.path, position)
        except BaseException:
            file.close()
            raise

    def _dialect(self) -> Dialect:
        from operators.csv_records import Dialect

        return Dialect(self.delimiter.encode(), self.quote.encode(), tuple(self.null_values))


@operator("csv")
class CsvOutput(FileOutput):
    """Writes CSV files.

    Texts are quoted where they need it. A null is an empty field, an empty text a quoted one; in a file of
    one column a null is thus an empty line. Times are ISO 8601.
    """

    suffix: ClassVar[str] = ".csv"
    grows: ClassVar[bool] = True

    delimiter: Delimiter = Field(default=",", description="The character between fields.")
    quote: Annotated[str, AfterValidator(_one_character)] = Field(
        default='"', description="The character around fields that need it."
    )
    has_header: bool = Field(default=True, description="Whether the first line holds the names.")

    @model_validator(mode="after")
    def _writable(self) -> Self:
        _distinct(self.delimiter, self.quote)
        return self

    def output_schemas(self, inputs: Schemas) -> Schemas:
        schema = inputs.get("in")
        problem = unwritable(schema) if schema is not None else None
        if problem:
            raise SchemaProblem(problem[0], hint=problem[1])
        return {}

    def encoder(self, file: IO[bytes], schema: pa.Schema, *, beginning: bool) -> Encoder:
        problem = unwritable(schema)
        if problem:
            raise OperatorError(problem[0], hint=problem[1], retry=False)
        return CsvEncoder(self, file, schema, with_header=beginning and self.has_header)


def unwritable(schema: pa.Schema) -> tuple[str, str] | None:
    """What is wrong with the first column that a CSV file cannot hold, and what to do; None where all fit."""
    import pyarrow as pa

    for column in schema:
        if pa.types.is_nested(column.type) or pa.types.is_binary(column.type):
            return (
                f"column {column.name!r} is {type_name(column.type)}, which a CSV file cannot hold",
                "turn it into text before, or write parquet",
            )
    return None


class CsvEncoder(Encoder):
    """Writes batches as CSV text."""

    def __init__(self, output: CsvOutput, file: IO[bytes], schema: pa.Schema, *, with_header: bool) -> None:
        import pyarrow as pa

        self._file = file
        self._form: dict[str, Any] = {
            "separator": output.delimiter,
            "quote_char": output.quote,
            "time_format": "%H:%M:%S%.f",
            "batch_size": 8192,  # rows that polars writes at once: its default is slower by a tenth
        }
        zoned = [column for column in schema if pa.types.is_timestamp(column.type) and column.type.tz]
        self._digits = {column.name: _DIGITS[column.type.unit] for column in zoned}
        if with_header:
            self._write(schema.empty_table(), include_header=True)

    def write(self, batch: pa.RecordBatch) -> None:
        if batch.num_rows:
            self._write(batch, include_header=False)

    def _write(self, rows: pa.RecordBatch | pa.Table, *, include_header: bool) -> None:
        import polars as pl

        frame: Any = pl.from_arrow(rows)
        frame.columns = rows.schema.names  # polars makes up a name for an empty one
        if self._digits:
            # polars writes no offset of its own that others read, and takes one format for all columns
            frame = frame.with_columns(
                pl.col(name).dt.to_string(f"%Y-%m-%dT%H:%M:%S{digits}%:z")
                for name, digits in self._digits.items()
            )
        frame.write_csv(self._file, include_header=include_header, **self._form)


_DIGITS = {"s": "", "ms": "%.3f", "us": "%.6f", "ns": "%.9f"}
"""The fraction of a second by a timestamp's unit."""
