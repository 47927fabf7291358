"""Reading a CSV file piece by piece, so that the end of each piece is a place to go on from.

A piece is a few megabytes, cut behind the last line end outside quotes (an even number of quotes
before it). A piece that does not parse as a whole is read again in smaller ones, and what is left of it
record by record: one bad line costs its neighbourhood's speed, not the file's.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from operators.csv_parsing import BYTE_ORDER_MARK, Parser, Piece
from operators.csv_records import Dialect, records
from operators.csv_schema import choose_types, column_names, inferred_type
from operators.local_file import check_unchanged, open_planned
from orchestrator.errors import OperatorError
from orchestrator.sdk.input import EndOfInput, Reader
from orchestrator.sdk.types import parse_type

if TYPE_CHECKING:
    from concurrent.futures import Future, ThreadPoolExecutor

    import pyarrow as pa

    from orchestrator.sdk.context import Context

PIECE_BYTES = 6 << 20
LINE_END_WITHIN = 16 << 10
EXACT_BYTES = 16 << 10
LONGEST_RECORD = 64 << 20
_NO_CSV = {
    b"PAR1": "a Parquet file", b"ARROW1": "an Arrow file", b"\x1f\x8b": "compressed by gzip",
    b"PK\x03\x04": "a zip archive (or an Excel workbook)", b"\x28\xb5\x2f\xfd": "compressed by zstd",
    b"BZh": "compressed by bzip2", b"\xfd7zXZ": "compressed by xz", b"SQLite format 3": "an SQLite database",
    b"\xff\xfe": "UTF-16", b"\xfe\xff": "UTF-16", b"%PDF": "a PDF document",
}  # fmt: skip


@dataclass(frozen=True)
class Place:
    """Where a record begins: its byte, and its line counted from 1."""

    offset: int
    line: int = 1


class CsvFile:
    """An open CSV file, as it was planned."""

    def __init__(self, split: Mapping[str, Any], dialect: Dialect) -> None:
        self.path: str = split["path"]
        self.size: int = split["size"]
        self._split, self.dialect = split, dialect
        self._handle = open_planned(split)

    def close(self) -> None:
        os.close(self._handle)

    def check_unchanged(self) -> None:
        """Raise `InputChanged` where it was written to while it was read."""
        check_unchanged(self._handle, self._split)

    def read(self, offset: int, size: int) -> bytes:
        """Up to so many bytes of the planned ones; none at the end."""
        return os.pread(self._handle, min(size, self.size - offset), offset)

    def is_end(self, offset: int) -> bool:
        """Whether the planned file ends there."""
        return offset >= self.size

    @property
    def beginning(self) -> int:
        """The first byte, behind a byte order mark."""
        return len(BYTE_ORDER_MARK) if self.read(0, 3) == BYTE_ORDER_MARK else 0

    def first_record(self) -> tuple[list[str], Place]:
        """The fields of the first line that is not blank, and where it ends; none where there is no line.

        Raises `OperatorError` where this is no CSV file.
        """
        self._refuse_other_formats()
        start = self.beginning
        size = EXACT_BYTES
        while size <= LONGEST_RECORD:
            data = self.read(start, size)
            for record in records(data, self.dialect, final=self.is_end(start + len(data))):
                if record.blank:
                    continue
                if record.problem:
                    raise self._no_csv(f"line {record.line}: {record.problem}", "mend its first line")
                line = record.line + data.count(b"\n", record.start, record.end)
                if b"\r" in data and b"\n" not in data:
                    raise self._no_csv("its lines end in CR alone", "convert it with `tr '\\r' '\\n'`")
                return self._texts(record.fields), Place(start + record.end, line)
            if self.is_end(start + len(data)):
                return [], Place(self.size)
            size *= 4
        raise self._too_long(Place(start))

    def piece(self, parser: Parser, place: Place, size: int) -> Piece:
        """The rows of the records from a place on, of about `size` bytes and at least one record."""
        while size > EXACT_BYTES:
            data = self._to_a_line_end(place.offset, size)
            end = len(data) if self.is_end(place.offset + len(data)) else self._last_record_end(data)
            piece = parser.parse(data[:end]) if end else None
            if piece is not None:
                return piece
            size //= 6
        return self._exact_piece(parser, place)

    def _to_a_line_end(self, start: int, size: int) -> bytes:
        """Read up to where a line ends: what is cut so need not be copied to be cut."""
        if start + size < self.size and size > LINE_END_WITHIN:
            tail = self.read(start + size - LINE_END_WITHIN, LINE_END_WITHIN)
            size += (tail.rfind(b"\n") + 1 or len(tail)) - len(tail)
        return self.read(start, size)

    def _exact_piece(self, parser: Parser, place: Place) -> Piece:
        size = EXACT_BYTES
        while size <= LONGEST_RECORD:
            data = self.read(place.offset, size)
            final = self.is_end(place.offset + len(data))
            piece = parser.parse_exactly(data, place.line, final=final)
            if piece.size:
                return piece
            size *= 2
        raise self._too_long(place)

    def _last_record_end(self, data: bytes) -> int:
        """Behind the last line end that is outside quotes, as far as counting them tells; 0 where none is."""
        quote = self.dialect.quote
        end = data.rfind(b"\n") + 1
        if not end or quote not in data or self.dialect.quotes_no_field(data):
            return end
        odd = data.count(quote, 0, end) % 2
        for _ in range(1000):
            if not odd or not end:
                return end
            before = data.rfind(b"\n", 0, data.rfind(quote, 0, end)) + 1
            odd = (odd + data.count(quote, before, end)) % 2
            end = before
        return 0

    def _texts(self, fields: tuple[bytes, ...]) -> list[str]:
        try:
            return [value.decode() for value in fields]
        except UnicodeDecodeError:
            raise self._no_csv("its first line is not UTF-8", "convert it to UTF-8 with iconv") from None

    def _refuse_other_formats(self) -> None:
        head = self.read(0, 16)
        for magic, name in _NO_CSV.items():
            if head.startswith(magic):
                raise self._no_csv(f"it is {name}", "name a CSV file of UTF-8 text, not compressed")

    def _no_csv(self, reason: str, hint: str) -> OperatorError:
        return OperatorError(f"{self.path} cannot be read as CSV: {reason}", hint=hint, retry=False)

    def _too_long(self, place: Place) -> OperatorError:
        return OperatorError(
            f"{self.path}, line {place.line}: the record that begins here has no end "
            f"within {LONGEST_RECORD >> 20} MiB",
            hint="close the quote that it opens, or give the right `delimiter` and `quote`",
            retry=False,
        )


@dataclass(frozen=True)
class Layout:
    """The columns of a file, and where its rows begin."""

    schema: pa.Schema
    start: Place


def find_layout(file: CsvFile, given: Mapping[str, str], has_header: bool, infer_rows: int) -> Layout:
    """The columns by header, by what the author gave, and by a sample of `infer_rows` rows."""
    import pyarrow as pa

    fields, behind = file.first_record()
    if not fields and not given:
        raise OperatorError(
            f"{file.path} is empty: it has no columns",
            hint="name them in `columns` if an empty file is right",
            retry=False,
        )
    if has_header and any("\0" in name for name in fields):
        raise OperatorError(
            f"{file.path}: its first line holds NUL bytes", hint="name a text file", retry=False
        )
    names = column_names(fields if has_header else [""] * len(fields)) or list(given)
    types = choose_types(file.path, names, given, has_header)
    start = behind if has_header else Place(file.beginning)
    unknown = [name for name, text in types.items() if text is None]
    if unknown:
        found = _sample(file, list(types), unknown, start, infer_rows)
        types.update({name: inferred_type(found[name]) for name in unknown})
    return Layout(pa.schema([(name, parse_type(text or "string")) for name, text in types.items()]), start)


def _sample(file: CsvFile, names: list[str], wanted: list[str], place: Place, rows: int) -> pa.Table:
    """The texts of the first rows."""
    import pyarrow as pa

    parser = Parser(pa.schema([(name, pa.string()) for name in names]), file.dialect)
    parts: list[pa.RecordBatch] = []
    while not file.is_end(place.offset) and sum(part.num_rows for part in parts) < rows:
        piece = file.piece(parser, place, 16 * EXACT_BYTES)
        parts.append(piece.rows.select(wanted))
        place = Place(place.offset + piece.size, place.line + piece.lines)
    schema = pa.schema([(name, pa.string()) for name in wanted])
    return pa.Table.from_batches(parts, schema=schema).slice(0, rows)


class CsvReader(Reader):
    """Gives the rows of a file in batches.

    Its position is where the piece at hand begins, and how many of its rows and rejects were given.
    """

    def __init__(
        self, context: Context, file: CsvFile, layout: Layout, source: str, position: Mapping[str, Any] | None
    ) -> None:
        self.schema = layout.schema
        self._context, self._file = context, file
        self._parser = Parser(layout.schema, file.dialect, source)
        at = position or {"offset": layout.start.offset, "line": layout.start.line}
        self._place = Place(at["offset"], at["line"])
        self._skip_rows, self._skip_rejects = at.get("rows", 0), at.get("rejects", 0)
        self._piece: Piece | None = None
        self._given = 0
        self._size = PIECE_BYTES
        self._pool: ThreadPoolExecutor | None = None
        self._ahead: tuple[Place, Future[Piece]] | None = None

    def read(self) -> pa.RecordBatch:
        while self._piece is None or self._given >= self._piece.rows.num_rows:
            self._next_piece()
        batch = self._slice(self._piece.rows)
        self._given += batch.num_rows
        return batch

    @property
    def position(self) -> dict[str, int]:
        piece = self._piece
        if piece is None:
            at = {"offset": self._place.offset, "line": self._place.line}
            return at | self._counts(self._skip_rows, self._skip_rejects)
        if self._given >= piece.rows.num_rows:
            return {"offset": self._place.offset + piece.size, "line": self._place.line + piece.lines}
        at = {"offset": self._place.offset, "line": self._place.line}
        return at | self._counts(self._given, len(piece.rejects))

    def close(self) -> None:
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True)
        self._file.close()

    def _begin(self, place: Place) -> None:
        """Begin to parse the next piece while the stage works on this one; both let go of the interpreter."""
        if self._file.is_end(place.offset):
            return
        if self._pool is None:
            from concurrent.futures import ThreadPoolExecutor

            self._pool = ThreadPoolExecutor(1, "csv-ahead")
        self._ahead = (place, self._pool.submit(self._file.piece, self._parser, place, self._size))

    def _piece_at(self, place: Place) -> Piece:
        """The piece that begins there, parsed now or ahead."""
        ahead, self._ahead = self._ahead, None
        if ahead is not None and ahead[0] == place:
            return ahead[1].result()
        return self._file.piece(self._parser, place, self._size)

    def _counts(self, rows: int, rejects: int) -> dict[str, int]:
        return {name: count for name, count in (("rows", rows), ("rejects", rejects)) if count}

    def _next_piece(self) -> None:
        if self._piece is not None:
            self._place = Place(**{k: v for k, v in self.position.items() if k in ("offset", "line")})
            self._piece = None
        if self._file.is_end(self._place.offset):
            self._file.check_unchanged()
            raise EndOfInput
        piece = self._piece_at(self._place)
        self._size = min(PIECE_BYTES, max(2 * piece.size, 8 * EXACT_BYTES))
        self._begin(Place(self._place.offset + piece.size, self._place.line + piece.lines))
        for reject in piece.rejects[self._skip_rejects :]:
            self._context.reject(reject)
        self._skip_rejects = max(0, self._skip_rejects - len(piece.rejects))
        self._given = min(self._skip_rows, piece.rows.num_rows)
        self._skip_rows -= self._given
        self._piece = piece

    def _slice(self, rows: pa.RecordBatch) -> pa.RecordBatch:
        """The next rows, as many as a batch may hold."""
        size = self._context.batch_rows
        batch = rows.slice(self._given, size)
        while batch.nbytes > self._context.batch_bytes and batch.num_rows > 1:
            batch = batch.slice(0, (batch.num_rows + 1) // 2)
        return batch


def discover(
    split: Mapping[str, Any], dialect: Dialect, given: Mapping[str, str], has_header: bool, infer_rows: int
) -> pa.Schema:
    """The schema of a file as it is now."""
    with closing(CsvFile(split, dialect)) as file:
        return find_layout(file, given, has_header, infer_rows).schema
