"""polars' own tree of an expression as JSON, and the few pieces that are put into it."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from typing import Any

import polars as pl

Node = Any
"""A node of the tree: a string, or a dict with one key."""


def first_line(error: Exception) -> str:
    """What polars says before it shows the query."""
    return str(error).splitlines()[0]


def tree_of(expression: pl.Expr) -> Node:
    """The tree of an expression."""
    return json.loads(expression.meta.serialize(format="json"))


def expression_of(node: Node) -> pl.Expr:
    """The expression of a tree or a part of one."""
    return pl.Expr.deserialize(io.StringIO(json.dumps(node)), format="json")


def family(dtype: pl.DataType) -> str:
    """What a type can be compared with: number, text, boolean, date, time, null, or the type itself."""
    if dtype.is_numeric():
        return "number"
    if dtype == pl.Date or (isinstance(dtype, pl.Datetime) and dtype.time_zone is None):
        return "date"
    if isinstance(dtype, pl.Datetime):
        return "zoned timestamp"
    plain: Mapping[Any, str] = {
        pl.String: "text", pl.Boolean: "boolean", pl.Time: "time", pl.Null: "null", pl.Binary: "binary",
    }  # fmt: skip
    return plain.get(dtype.base_type(), str(dtype))


def is_text_cast(node: Node) -> bool:
    """`a || b` is the only sum whose sides polars casts to text."""
    inner = node.get("Cast", {}) if isinstance(node, dict) else {}
    return bool(inner.get("dtype") == {"Literal": "String"})


def cast_to(node: Node, dtype: str) -> Node:
    """The node, cast; a value that does not fit is an error."""
    return {"Cast": {"expr": node, "dtype": {"Literal": dtype}, "options": "Strict"}}


def wide(node: Node) -> Node:
    """A whole number wide enough for any sum or product of two of 64 bits."""
    return cast_to(node, "Int128")


def checked(node: Node) -> Node:
    """64-bit arithmetic that fails on overflow instead of wrapping around."""
    return cast_to(node, "Int64")


def literal_text(node: Node) -> str:
    """A literal as it was written, or a word for anything longer."""
    if not (isinstance(node, dict) and "Literal" in node):
        return "an expression"
    value = pl.select(expression_of(node)).item()
    if isinstance(value, str):
        return "'" + value.replace("'", "''") + "'"
    return f"date '{value}'" if hasattr(value, "isoformat") else str(value)
