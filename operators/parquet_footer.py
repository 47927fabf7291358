"""The footer of Parquet files, read and written just far enough to join files without encoding anew.

A footer is one struct of Thrift's compact protocol (Apache Thrift, thrift-compact-protocol.md; the fields
are those of parquet-format's parquet.thrift). It is read generically, so that fields which this module
does not know are kept; only offsets into the file are changed.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Any

MAGIC = b"PAR1"
_STOP, _TRUE, _FALSE, _BYTE, _I16, _I32, _I64, _DOUBLE, _BINARY, _LIST, _SET, _MAP, _STRUCT = range(13)

Struct = dict[int, "Value"]


@dataclass
class Value:
    """A value with its compact type. A list is (element type, values), a map (key, value types, pairs)."""

    kind: int
    value: Any


class Reader:
    """Reads compact values from bytes; ValueError where they end early or make no sense."""

    def __init__(self, data: bytes) -> None:
        self._data, self._at = data, 0

    def struct(self) -> Struct:
        """One struct: values by field id."""
        fields: Struct = {}
        last = 0
        while (head := self._byte()) != _STOP:
            kind, delta = head & 15, head >> 4
            last = last + delta if delta else self._zigzag()
            fields[last] = Value(kind, self._value(kind, in_field=True))
        return fields

    def _value(self, kind: int, *, in_field: bool = False) -> Any:
        match kind:
            case 1 | 2:
                # In a field the type is the value; in a list each element has a byte.
                return kind == _TRUE if in_field else self._byte() == _TRUE
            case 3:
                return self._byte()
            case 4 | 5 | 6:
                return self._zigzag()
            case 7:
                return struct.unpack("<d", self._take(8))[0]
            case 8:
                return self._take(self._varint())
            case 9 | 10:
                return self._list()
            case 11:
                return self._map()
            case 12:
                return self.struct()
        raise ValueError(f"no compact type {kind}")

    def _list(self) -> tuple[int, list[Any]]:
        head = self._byte()
        kind, size = head & 15, head >> 4
        size = self._varint() if size == 15 else size
        return kind, [self._value(kind) for _ in range(size)]

    def _map(self) -> tuple[int, int, list[tuple[Any, Any]]]:
        size = self._varint()
        if not size:
            return 0, 0, []
        kinds = self._byte()
        keys, values = kinds >> 4, kinds & 15
        return keys, values, [(self._value(keys), self._value(values)) for _ in range(size)]

    def _byte(self) -> int:
        return self._take(1)[0]

    def _take(self, size: int) -> bytes:
        piece = self._data[self._at : self._at + size]
        if len(piece) < size:
            raise ValueError("the footer ends early")
        self._at += size
        return piece

    def _varint(self) -> int:
        result = shift = 0
        while True:
            byte = self._byte()
            result |= (byte & 127) << shift
            if byte < 128:
                return result
            shift += 7

    def _zigzag(self) -> int:
        number = self._varint()
        return (number >> 1) ^ -(number & 1)


class Writer:
    """Writes what `Reader` reads."""

    def __init__(self) -> None:
        self._pieces = bytearray()

    def struct(self, fields: Struct) -> bytes:
        """Append one struct; all bytes so far come back."""
        last = 0
        for number, entry in sorted(fields.items()):
            kind = entry.kind
            if kind in (_TRUE, _FALSE):
                kind = _TRUE if entry.value else _FALSE
            delta = number - last
            if 0 < delta < 16:
                self._pieces.append(delta << 4 | kind)
            else:
                self._pieces.append(kind)
                self._zigzag(number)
            if kind not in (_TRUE, _FALSE):
                self._value(kind, entry.value)
            last = number
        self._pieces.append(_STOP)
        return bytes(self._pieces)

    def _value(self, kind: int, value: Any) -> None:
        match kind:
            case 1 | 2:
                self._pieces.append(_TRUE if value else _FALSE)
            case 3:
                self._pieces.append(value)
            case 4 | 5 | 6:
                self._zigzag(value)
            case 7:
                self._pieces += struct.pack("<d", value)
            case 8:
                self._varint(len(value))
                self._pieces += value
            case 9 | 10:
                self._list(*value)
            case 11:
                self._map(*value)
            case 12:
                self.struct(value)

    def _list(self, kind: int, values: list[Any]) -> None:
        if len(values) < 15:
            self._pieces.append(len(values) << 4 | kind)
        else:
            self._pieces.append(15 << 4 | kind)
            self._varint(len(values))
        for value in values:
            self._value(kind, value)

    def _map(self, keys: int, values: int, pairs: list[tuple[Any, Any]]) -> None:
        self._varint(len(pairs))
        if pairs:
            self._pieces.append(keys << 4 | values)
        for key, value in pairs:
            self._value(keys, key)
            self._value(values, value)

    def _varint(self, number: int) -> None:
        while number > 127:
            self._pieces.append(number & 127 | 128)
            number >>= 7
        self._pieces.append(number)

    def _zigzag(self, number: int) -> None:
        self._varint(number << 1 if number >= 0 else (-number << 1) - 1)


# Field numbers of parquet.thrift.
_SCHEMA, _ROWS, _GROUPS = 2, 3, 4  # FileMetaData
_COLUMNS, _GROUP_OFFSET, _ORDINAL = 1, 5, 7  # RowGroup
_CHUNK_OFFSET, _META, _PAGE_INDEXES = 2, 3, (4, 5, 6, 7)  # ColumnChunk
_DATA, _INDEX, _DICTIONARY, _BLOOM = 9, 10, 11, 14  # ColumnMetaData


def join_footers(footers: list[tuple[bytes, int]]) -> bytes:
    """One footer for files whose row groups were laid one after another.

    Each pair is a file's footer and by how many bytes its row groups have moved. Raises ValueError where
    the files have not the same columns.
    """
    read = [(Reader(footer).struct(), shift) for footer, shift in footers]
    whole = read[0][0]
    groups: list[Struct] = []
    for number, (footer, shift) in enumerate(read):
        if footer[_SCHEMA] != whole[_SCHEMA]:
            raise ValueError(f"part {number + 1} has other columns than the first")
        groups.extend(_moved(group, shift) for group in footer[_GROUPS].value[1])
    for ordinal, group in enumerate(groups):
        # The ordinal is 16 bits wide and optional; more row groups than that have none.
        group.pop(_ORDINAL, None)
        if len(groups) <= 32767:
            group[_ORDINAL] = Value(_I16, ordinal)
    whole[_GROUPS] = Value(_LIST, (_STRUCT, groups))
    whole[_ROWS] = Value(_I64, sum(footer[_ROWS].value for footer, _ in read))
    return Writer().struct(whole)


def _moved(group: Struct, shift: int) -> Struct:
    _add(group, _GROUP_OFFSET, shift)
    for chunk in group[_COLUMNS].value[1]:
        _add(chunk, _CHUNK_OFFSET, shift)
        for field in (_DATA, _INDEX, _DICTIONARY, _BLOOM):
            _add(chunk[_META].value, field, shift)
        for field in _PAGE_INDEXES:
            chunk.pop(field, None)  # page indexes lie outside the row groups and hold offsets of their own
    return group


def _add(fields: Struct, number: int, shift: int) -> None:
    if number in fields and fields[number].value:
        fields[number].value += shift
