"""Places of the arguments of a call in a Python file, from its syntax tree."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path

from orchestrator.dag.marks import Path as MarkPath
from orchestrator.sdk.ports import Place


def argument_places(place: Place) -> dict[MarkPath, Place]:
    """The place of each argument of the call at a place, and of what literal dicts and lists hold.

    The first positional argument is the `id`. Empty where the source cannot be read, or shows no such call.
    """
    try:
        status = Path(place.file).stat()
        calls = _calls(place.file, status.st_mtime_ns, status.st_size)
    except (OSError, SyntaxError, ValueError, RecursionError):
        return {}
    call = calls.get((place.line, place.column))
    return dict(_arguments(call, place.file)) if call is not None else {}


@lru_cache(maxsize=16)
def _calls(file: str, _modified: int, _size: int) -> dict[tuple[int, int], ast.Call]:
    """The calls of a file by line and column; of those that begin together the innermost."""
    found: dict[tuple[int, int], ast.Call] = {}
    for node in ast.walk(ast.parse(Path(file).read_bytes())):
        if isinstance(node, ast.Call):
            found[node.lineno, node.col_offset + 1] = node
    return found


def _arguments(call: ast.Call, file: str) -> Iterator[tuple[MarkPath, Place]]:
    if call.args:
        yield ("id",), _place(call.args[0], file)
    for keyword in call.keywords:
        if keyword.arg is not None:
            yield from _within((keyword.arg,), keyword.value, file)


def _within(path: MarkPath, value: ast.expr, file: str) -> Iterator[tuple[MarkPath, Place]]:
    yield path, _place(value, file)
    if isinstance(value, ast.Dict):
        for key, entry in zip(value.keys, value.values, strict=True):
            if isinstance(key, ast.Constant) and isinstance(key.value, str):
                yield from _within((*path, key.value), entry, file)
    elif isinstance(value, (ast.List, ast.Tuple)):
        for index, entry in enumerate(value.elts):
            yield from _within((*path, index), entry, file)


def _place(node: ast.expr, file: str) -> Place:
    return Place(file, node.lineno, node.col_offset + 1)
