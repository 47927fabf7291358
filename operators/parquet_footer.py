"""Joining Parquet files without decoding them: their row groups' bytes, and one footer with moved offsets.

A Parquet file is `PAR1`, pages, a footer (the Thrift struct FileMetaData), its length in four bytes, and
`PAR1` again. Field numbers: https://github.com/apache/parquet-format/blob/master/src/main/thrift/parquet.thrift
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from operators.parquet_thrift import Items, Struct, ThriftError, read_struct, write_struct
from orchestrator.errors import OperatorError

MAGIC = b"PAR1"
_COPIED_AT_ONCE = 1 << 30
_LARGEST_ORDINAL = 2**15 - 1

FILE_SCHEMA, FILE_ROWS, FILE_GROUPS = 2, 3, 4
GROUP_COLUMNS, GROUP_OFFSET, GROUP_ORDINAL = 1, 5, 7
CHUNK_OFFSET, CHUNK_META = 2, 3
CHUNK_INDEXES = (4, 5, 6, 7)
META_OFFSETS = (9, 10, 11, 14)  # data page, index page, dictionary page, bloom filter


@dataclass(frozen=True)
class Footer:
    """The footer of one file; `start` is its first byte, so that pages lie between 4 and it."""

    path: Path
    start: int
    meta: Struct


def read_footer(path: Path) -> Footer:
    """The footer of a file; `OperatorError` where it is no complete Parquet file."""
    with path.open("rb") as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(max(0, size - 8))
        tail = file.read(8)
        length = int.from_bytes(tail[:4], "little")
        if size < 12 or tail[4:] != MAGIC or length > size - 12:
            raise _broken(path, "it does not end as one")
        file.seek(size - 8 - length)
        try:
            return Footer(path, size - 8 - length, read_struct(file.read(length)))
        except ThriftError as error:
            raise _broken(path, f"its footer cannot be read: {error}") from None


def join_files(parts: Sequence[Path], target: IO[bytes]) -> None:
    """Write one Parquet file that holds the row groups of the parts, in order.

    Statistics, dictionaries and bloom filters stay; page indexes, which hold offsets of their own, are left
    out (readers do without). At least one part is needed, and all must have the same schema.
    """
    footers = [read_footer(path) for path in parts]
    _check_same_schema(footers)
    target.write(MAGIC)
    groups: list[Struct] = []
    for footer in footers:
        shift = target.tell() - len(MAGIC)
        _copy(footer.path, len(MAGIC), footer.start - len(MAGIC), target)
        for group in _groups(footer):
            _move(group, shift, len(groups))
            groups.append(group)
    meta = footers[0].meta
    meta.set(FILE_ROWS, sum(footer.meta.get(FILE_ROWS) for footer in footers))
    meta.set(FILE_GROUPS, Items(meta.get(FILE_GROUPS).kind, groups))
    text = write_struct(meta)
    target.write(text + len(text).to_bytes(4, "little") + MAGIC)


def _groups(footer: Footer) -> list[Struct]:
    found: list[Struct] = footer.meta.get(FILE_GROUPS).items
    return found


def _move(group: Struct, shift: int, ordinal: int) -> None:
    """Add `shift` to every offset in a row group, and number it anew."""
    _shift(group, GROUP_OFFSET, shift)
    if ordinal <= _LARGEST_ORDINAL and GROUP_ORDINAL in group.fields:
        group.set(GROUP_ORDINAL, ordinal)
    else:
        group.drop(GROUP_ORDINAL)
    for chunk in group.get(GROUP_COLUMNS).items:
        _shift(chunk, CHUNK_OFFSET, shift)
        chunk.drop(*CHUNK_INDEXES)
        meta = chunk.get(CHUNK_META)
        for number in META_OFFSETS:
            _shift(meta, number, shift)


def _shift(holder: Struct, number: int, shift: int) -> None:
    offset = holder.get(number, 0)
    if offset > 0:  # absent or 0: not there
        holder.set(number, offset + shift)


def _check_same_schema(footers: Sequence[Footer]) -> None:
    first = footers[0]
    for footer in footers[1:]:
        if footer.meta.get(FILE_SCHEMA) != first.meta.get(FILE_SCHEMA):
            raise OperatorError(
                f"{footer.path} has another schema than {first.path}: they cannot be joined", retry=False
            )


def _copy(source: Path, start: int, size: int, target: IO[bytes]) -> None:
    """Append a range of a file to another, inside the kernel (which may share the blocks)."""
    target.flush()
    with source.open("rb") as origin:
        while size:
            moved = _copy_some(origin.fileno(), target.fileno(), min(size, _COPIED_AT_ONCE), start)
            if not moved:
                raise OperatorError(f"{source} ended {size} bytes early while it was joined")
            start, size = start + moved, size - moved
    target.seek(0, os.SEEK_END)


def _copy_some(source: int, target: int, size: int, start: int) -> int:
    try:
        return os.copy_file_range(source, target, size, start)
    except OSError:  # another file system, or one that cannot: sendfile says what is really wrong
        return os.sendfile(target, source, start, size)


def _broken(path: Path, reason: str) -> OperatorError:
    return OperatorError(f"{path} is no complete Parquet file: {reason}", retry=False)
