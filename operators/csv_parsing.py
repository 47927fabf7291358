"""CSV text to typed Arrow rows: polars parses a whole piece at once, and what it says is checked.

polars alone is not enough: it fills short rows with nulls, joins `"a"b"c"` into one text and tells of
the first misfit only. So a piece counts as parsed when its quotes are in order and its delimiters add
up; any other is read record by record (`parse_exactly`), which gives the good rows and a reject for
each bad one.

Dates, times, timestamps and decimals are cast by Arrow, which takes ISO 8601 and exact numbers only;
polars would guess the order of day and month from the first value and round decimals.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, cast

from operators.csv_records import Dialect, Record, records
from orchestrator.sdk.context import Reject

if TYPE_CHECKING:
    import polars as pl
    import pyarrow as pa

BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_BLANKS = " \t"


@dataclass(frozen=True)
class Piece:
    """What some bytes of a file hold: rows, and the records that are none.

    What follows begins `size` bytes and `lines` lines behind its beginning.
    """

    rows: pa.RecordBatch
    size: int
    lines: int
    rejects: Sequence[Reject] = ()


@dataclass(frozen=True)
class Parser:
    """Parses bytes that begin with a record into rows of a schema."""

    schema: pa.Schema
    dialect: Dialect
    source: str = ""
    _keys: list[str] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_keys", [str(n) for n in range(len(self.schema))])

    def parse(self, data: bytes) -> Piece | None:
        """The rows of complete records; None where a record among them may be bad or not what it seems."""
        import polars as pl
        import pyarrow as pa

        whole = _ended(data)
        quoted = self.dialect.quote in data and not self.dialect.quotes_no_field(data)
        if (quoted and not self._is_in_shape(whole)) or self._has_lone_returns(whole):
            return None
        try:
            frame = self._frame(whole, self._parsed_types, quoted=quoted)
            if self._has_short_rows(whole, frame, quoted=quoted):
                return None
            rows = self._batch(frame)
        except (pl.exceptions.PolarsError, pa.ArrowInvalid):
            return None
        return Piece(rows, len(data), data.count(b"\n") if quoted else frame.height)

    def parse_exactly(self, data: bytes, line: int, *, final: bool) -> Piece:
        """The complete records of `data` one by one; `size` is 0 where not even the first is complete."""
        data, length = _ended(data) if final else data, len(data)
        good: list[Record] = []
        rejects: list[Reject] = []
        size = lines = 0
        for record in records(data, self.dialect, line, final=final):
            size = min(record.end, length)
            lines = record.line - line + data.count(b"\n", record.start, record.end)
            if record.blank and len(self.schema) > 1:
                continue
            reject = self._misshapen(record, data)
            if reject:
                rejects.append(reject)
            else:
                good.append(record)
        fitting, misfits = self._sift(good, data)
        rows = self._batch(self._frame(_joined(fitting, data), self._parsed_types))
        return Piece(rows, size, lines, sorted([*rejects, *misfits], key=_line))

    # The fast way

    @cached_property
    def _parsed_types(self) -> list[pl.DataType]:
        """What polars parses itself; texts where Arrow casts."""
        import polars as pl

        plain: dict[str, Any] = {
            "bool": pl.Boolean(), "int8": pl.Int8(), "int16": pl.Int16(), "int32": pl.Int32(),
            "int64": pl.Int64(), "uint8": pl.UInt8(), "uint16": pl.UInt16(), "uint32": pl.UInt32(),
            "uint64": pl.UInt64(), "float": pl.Float32(), "double": pl.Float64(),
        }  # fmt: skip
        return [plain.get(str(column.type), pl.String()) for column in self.schema]

    def _frame(
        self, data: bytes, types: Sequence[pl.DataType], *, quoted: bool = True, lenient: bool = False
    ) -> pl.DataFrame:
        import polars as pl

        if not data:
            return pl.DataFrame(schema=dict(zip(self._keys, types, strict=True)))
        if data.startswith(BYTE_ORDER_MARK):
            data = BYTE_ORDER_MARK + data  # polars takes one away, wherever in the file it reads
        return pl.read_csv(
            data,
            has_header=False,
            schema=dict(zip(self._keys, types, strict=True)),
            separator=self.dialect.delimiter.decode(),
            quote_char=(quoted and self.dialect.quote.decode()) or None,
            null_values=list(self.dialect.null_values) or None,
            ignore_errors=lenient,
        )

    def _is_in_shape(self, data: bytes) -> bool:
        """Whether each quote opens or closes a field, is doubled in one, or is plain text."""
        import pyarrow as pa
        import pyarrow.compute as pc

        found = pc.match_substring_regex(pa.array([data], pa.binary()), self.dialect.shape)
        return bool(found[0].as_py())

    def _has_lone_returns(self, data: bytes) -> bool:
        """Whether a field may be a CR alone, of which polars makes a null."""
        return (
            b"\r" in data
            and data.count(b"\r") != data.count(b"\r\n")
            and bool(self.dialect.quote)
            and self.dialect.lone_return.search(data) is not None
        )

    def _has_short_rows(self, data: bytes, frame: pl.DataFrame, *, quoted: bool) -> bool:
        """Whether delimiters are missing: polars gives short rows nulls, and refuses long ones itself."""
        import polars as pl

        width = frame.width
        if width == 1 or not frame.to_series(width - 1).null_count():
            return False
        delimiter = self.dialect.delimiter
        inside = 0
        if quoted:
            texts = pl.col(pl.String).str.count_matches(delimiter.decode(), literal=True)
            inside = sum(frame.select(texts.sum()).row(0))
        return data.count(delimiter) - inside < frame.height * (width - 1)

    def _batch(self, frame: pl.DataFrame) -> pa.RecordBatch:
        """The canonical rows; ArrowInvalid where a text is not of its column's type."""
        import polars as pl
        import pyarrow as pa

        table = frame.to_arrow(compat_level=pl.CompatLevel.oldest())
        columns = [
            _whole(_cast(column, wanted.type))
            for column, wanted in zip(table.columns, self.schema, strict=True)
        ]
        return pa.RecordBatch.from_arrays(columns, schema=self.schema)

    # The exact way

    def _misshapen(self, record: Record, data: bytes) -> Reject | None:
        """Why a record cannot be split into as many fields as there are columns, or None."""
        raw = data[record.start : record.end]
        found, width = len(record.fields), len(self.schema)
        if record.problem:
            return self._reject("stray_quote", record.problem, record, {"text": _text(raw.rstrip(b"\r\n"))})
        if not _is_utf8(raw):
            return self._reject("not_utf8", "the line is not UTF-8", record, self._named(record))
        if found > width:
            reason = f"{found} fields where the file has {width} columns"
            return self._reject("extra_field", reason, record, self._named(record))
        if found < width:
            reason = f"only {found} of {width} fields: {self.schema.names[found]!r} is missing"
            return self._reject("short_row", reason, record, self._named(record))
        return None

    def _sift(self, good: list[Record], data: bytes) -> tuple[list[Record], list[Reject]]:
        """Well-formed records, apart: those whose every value is of its column's type, and rejects."""
        import polars as pl

        joined = _joined(good, data)
        texts = self._frame(joined, [pl.String()] * len(self.schema))
        parsed = self._frame(joined, self._parsed_types, lenient=True)
        bad: dict[int, int] = {}
        for index, wanted in enumerate(self.schema):
            values = texts.to_series(index)
            if parsed.schema.dtypes()[index] == pl.String():
                rows = _uncastable(values, wanted.type)
            else:
                blanks = "" if parsed.schema.dtypes()[index] == pl.Boolean() else _BLANKS
                missed = parsed.to_series(index).is_null() & (values.str.strip_chars(blanks) != "")
                rows = missed.arg_true().to_list()
            for row in rows:
                bad.setdefault(row, index)
        rejects = [self._misfit(good[row], index) for row, index in bad.items()]
        return [record for row, record in enumerate(good) if row not in bad], rejects

    def _misfit(self, record: Record, index: int) -> Reject:
        from orchestrator.sdk.types import type_name

        column = self.schema.field(index)
        value = _text(record.fields[index])
        shown = value if len(value) <= 80 else value[:77] + "..."
        reason = f"column {column.name!r}: {shown!r} is not {type_name(column.type)}"
        return self._reject("wrong_type", reason, record, self._named(record))

    def _named(self, record: Record) -> dict[str, str]:
        names = [
            *self.schema.names,
            *(f"column_{n + 1}" for n in range(len(self.schema), len(record.fields))),
        ]
        return {name: _text(value) for name, value in zip(names, record.fields, strict=False)}

    def _reject(self, code: str, reason: str, record: Record, shown: dict[str, str]) -> Reject:
        text = json.dumps(shown, ensure_ascii=False)
        return Reject(code, reason, self.source, {"line": record.line}, text)


def _line(reject: Reject) -> int:
    return int(reject.position["line"])


def _text(value: bytes) -> str:
    return value.decode("utf-8", errors="backslashreplace")


def _is_utf8(raw: bytes) -> bool:
    try:
        raw.decode()
    except UnicodeDecodeError:
        return False
    return True


def _joined(kept: Iterable[Record], data: bytes) -> bytes:
    return b"".join(record.rewritten or data[record.start : record.end] for record in kept)


def _ended(data: bytes) -> bytes:
    """The bytes with a line end at their end, as a last line may lack."""
    return data if data.endswith(b"\n") else data + b"\n"


def _whole(column: pa.ChunkedArray[Any]) -> pa.Array[Any]:
    import pyarrow as pa

    if column.num_chunks == 1:
        only: Any = column.chunk(0)  # the stubs call it chunked
        return cast("pa.Array[Any]", only)
    return pa.concat_arrays(column.chunks) if column.num_chunks else pa.array([], column.type)


def _cast(column: pa.ChunkedArray[Any], wanted: pa.DataType) -> pa.ChunkedArray[Any]:
    """A parsed column in its canonical type; a text of blanks is a null, but in a text column."""
    import pyarrow as pa
    import pyarrow.compute as pc

    if column.type == wanted:
        return column
    if pa.types.is_string(wanted):
        return column.cast(wanted)
    if pa.types.is_null(wanted) and not len(column):
        return pa.chunked_array([], wanted)  # blank lines of a file without rows, whose types are unknown
    column = column.cast(pa.string())
    try:
        return _read_as(column, wanted)
    except pa.ArrowInvalid:
        blank = pc.equal(pc.utf8_trim(column, _BLANKS), pa.scalar(""))
        if not pc.any(blank).as_py():
            raise
        given: pa.ChunkedArray[Any] = pc.if_else(blank, pa.scalar(None, pa.string()), column)
        return _read_as(given, wanted)


def _read_as(texts: pa.ChunkedArray[Any], wanted: pa.DataType) -> pa.ChunkedArray[Any]:
    """Texts cast by Arrow, which reads a time only as part of a timestamp."""
    import pyarrow as pa
    import pyarrow.compute as pc

    if not pa.types.is_time(wanted):
        return texts.cast(wanted)
    join: Any = pc.binary_join_element_wise  # the stubs know no text among columns
    moments: pa.ChunkedArray[Any] = join("1970-01-01T", texts, "")
    return moments.cast(pa.timestamp("us")).cast(wanted)


def _uncastable(values: pl.Series, wanted: pa.DataType) -> list[int]:
    """The rows whose text is not of the type."""
    import pyarrow as pa

    def fits(texts: list[str | None]) -> bool:
        try:
            _cast(pa.chunked_array([texts], pa.string()), wanted)
        except pa.ArrowInvalid:
            return False
        return True

    distinct = values.unique().to_list()
    if pa.types.is_string(wanted) or fits(distinct):
        return []
    verdict = {value: fits([value]) for value in distinct}
    return [row for row, value in enumerate(values) if not verdict[value]]
