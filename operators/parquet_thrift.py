"""Thrift's compact protocol, as far as values that come back unchanged: structs by field number.

Parquet's footer is one such struct. It is read without its schema, so that fields this program does not
know are kept. Source: https://github.com/apache/thrift/blob/master/doc/specs/thrift-compact-protocol.md
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

TRUE, FALSE, BYTE, I16, I32, I64, DOUBLE, BINARY, LIST, SET, MAP, STRUCT, UUID = range(1, 14)
_INTEGERS = (I16, I32, I64)


class ThriftError(ValueError):
    """The bytes are no compact Thrift struct."""


@dataclass
class Struct:
    """Fields by number, in order; each a pair of its type and value."""

    fields: dict[int, tuple[int, Any]] = field(default_factory=dict)

    def get(self, number: int, default: Any = None) -> Any:
        """The value of a field, or the default where it is absent."""
        return self.fields[number][1] if number in self.fields else default

    def set(self, number: int, value: Any) -> None:
        """Change a field that is there; its type stays."""
        self.fields[number] = (self.fields[number][0], value)

    def drop(self, *numbers: int) -> None:
        """Remove fields, where they are there."""
        for number in numbers:
            self.fields.pop(number, None)


@dataclass
class Items:
    """A list or set: the type of its items, and the items."""

    kind: int
    items: list[Any]


@dataclass
class Pairs:
    """A map: the types of its keys and values, and the pairs."""

    kinds: tuple[int, int]
    pairs: list[tuple[Any, Any]]


def read_struct(data: bytes) -> Struct:
    """The struct that begins the data; `ThriftError` where there is none."""
    try:
        return _Reader(data).struct()
    except (IndexError, RecursionError):
        raise ThriftError("the data ends inside a value, or is nested too deep") from None


def write_struct(value: Struct) -> bytes:
    """The bytes of a struct."""
    out = bytearray()
    _write(out, STRUCT, value)
    return bytes(out)


class _Reader:
    def __init__(self, data: bytes) -> None:
        self._data, self._at = data, 0

    def struct(self) -> Struct:
        found = Struct()
        number = 0
        while head := self._byte():
            delta, kind = head >> 4, head & 0x0F
            number = number + delta if delta else self._integer()
            found.fields[number] = (kind, kind == TRUE if kind in (TRUE, FALSE) else self._value(kind))
        return found

    def _value(self, kind: int) -> Any:
        if kind in _INTEGERS:
            return self._integer()
        if kind == BINARY:
            return self._take(self._varint())
        if kind == STRUCT:
            return self.struct()
        if kind in (LIST, SET):
            head = self._byte()
            count, item = head >> 4, head & 0x0F
            count = self._varint() if count == 15 else count
            return Items(item, [self._value(item) for _ in range(count)])
        if kind == MAP:
            return self._map()
        sizes = {TRUE: 1, FALSE: 1, BYTE: 1, DOUBLE: 8, UUID: 16}
        if kind not in sizes:
            raise ThriftError(f"no type {kind}")
        return self._take(sizes[kind])

    def _map(self) -> Pairs:
        count = self._varint()
        kinds = self._byte() if count else 0
        key, value = kinds >> 4, kinds & 0x0F
        return Pairs((key, value), [(self._value(key), self._value(value)) for _ in range(count)])

    def _byte(self) -> int:
        value = self._data[self._at]
        self._at += 1
        return value

    def _take(self, size: int) -> bytes:
        taken = self._data[self._at : self._at + size]
        if len(taken) < size:
            raise IndexError
        self._at += size
        return taken

    def _varint(self) -> int:
        value = shift = 0
        while True:
            byte = self._byte()
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                return value
            shift += 7

    def _integer(self) -> int:
        zigzag = self._varint()
        return (zigzag >> 1) ^ -(zigzag & 1)


def _varint(value: int) -> Iterator[int]:
    while value >= 0x80:
        yield value & 0x7F | 0x80
        value >>= 7
    yield value


def _write_struct(out: bytearray, value: Struct) -> None:
    last = 0
    for number, (kind, content) in value.fields.items():
        if kind in (TRUE, FALSE):
            kind = TRUE if content else FALSE
        delta = number - last
        if 0 < delta < 16:
            out.append(delta << 4 | kind)
        else:
            out.append(kind)
            _write(out, I16, number)
        if kind not in (TRUE, FALSE):
            _write(out, kind, content)
        last = number
    out.append(0)


def _write(out: bytearray, kind: int, value: Any) -> None:
    if kind in _INTEGERS:
        out.extend(_varint(value << 1 ^ value >> 63))
    elif kind == BINARY:
        out.extend(_varint(len(value)))
        out.extend(value)
    elif kind == STRUCT:
        _write_struct(out, value)
    elif kind in (LIST, SET):
        count = len(value.items)
        out.append(min(count, 15) << 4 | value.kind)
        if count >= 15:
            out.extend(_varint(count))
        for item in value.items:
            _write(out, value.kind, item)
    elif kind == MAP:
        out.extend(_varint(len(value.pairs)))
        if value.pairs:
            out.append(value.kinds[0] << 4 | value.kinds[1])
        for key, content in value.pairs:
            _write(out, value.kinds[0], key)
            _write(out, value.kinds[1], content)
    else:
        out.extend(value)
