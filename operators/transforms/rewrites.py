"""What is written anew, because polars and the `sql` operator's engine differ on it in silence.

`cast` serves every cast, `FUNCTIONS` the calls by the name that polars' tree gives them. The tests
compare both engines on each.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import polars as pl

from operators.transforms.tree import Node, cast_to, checked, expression_of, family, tree_of, wide
from operators.transforms.vocabulary import USE_SQL
from orchestrator.sdk.operator import SchemaProblem

if TYPE_CHECKING:
    from typing import Any

    from operators.transforms.semantics import Typing

CASTS = {
    ("number", "number"), ("number", "text"), ("number", "boolean"), ("boolean", "number"),
    ("boolean", "text"), ("date", "date"), ("date", "text"), ("text", "number"), ("text", "date"),
}  # fmt: skip
SPACES = " \u00a0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u202f\u205f\u3000"
LARGE = 2.0**50  # from here on a float has no decimals left to round


# Casts: polars truncates where SQL rounds, and reads texts differently


def cast(typing: Typing, inner: Node, source: pl.DataType, target: pl.DataType, made: Node) -> Node:
    """The cast of `inner`, as SQL rounds and reads; `SchemaProblem` where the engines differ for good."""
    kinds = family(source), family(target)
    strict = made["Cast"]["options"] == "Strict"
    refused = _refused_cast(source, target, kinds, strict)
    if refused:
        raise SchemaProblem(f"expressions cannot cast {typing.name_of(inner)} to {target}", hint=refused)
    if kinds == ("text", "date"):
        return tree_of(expression_of(inner).str.to_date("%Y-%m-%d", strict=True))
    if source.is_float() and target.is_integer():
        return _with_input(made, expression_of(inner).round(0, mode="half_to_even"))
    if source.is_decimal() and (target.is_integer() or target.is_decimal()):
        scale = target.scale if isinstance(target, pl.Decimal) else 0
        return _with_input(made, expression_of(inner).round(scale or 0, mode="half_away_from_zero"))
    return made


def _with_input(cast: Node, inner: pl.Expr) -> Node:
    return {"Cast": {**cast["Cast"], "expr": tree_of(inner)}}


def _refused_cast(source: pl.DataType, target: pl.DataType, kinds: tuple[str, str], strict: bool) -> str:
    """What to do instead of a cast that the two engines make differently; empty where they agree."""
    by_mapping = "use `types` of the mapping operator, or the `sql` operator"
    if kinds[0] == "null" or source == target:
        return ""
    if kinds[0] == "text" and not (
        strict and kinds[1] in ("number", "date") and not isinstance(target, pl.Datetime)
    ):
        return by_mapping
    if kinds[1] == "text" and (source.is_float() or isinstance(source, pl.Datetime)):
        return (
            "use strftime(...)"
            if isinstance(source, pl.Datetime)
            else "cast it to a decimal with `types` first"
        )
    if source.is_float() and target.is_decimal():
        return by_mapping
    return "" if kinds in CASTS else by_mapping


# Functions whose results differ are written anew


def function_name(function: Node) -> tuple[str, Node]:
    """`{"Sql": {"Round": {"decimals": 1}}}` is `Sql.Round` and its details."""
    if isinstance(function, str):
        return function, None
    [(group, inner)] = function.items()
    if isinstance(inner, str):
        return f"{group}.{inner}", None
    [(name, detail), *_] = inner.items() if isinstance(inner, dict) else [("", inner)]
    return f"{group}.{name}", detail


Rewrite = Callable[["Typing", list[Node], Node, Node], Node]
"""Gives the node to use from the call's arguments, the call as polars reads it, and its details."""


def _round(typing: Typing, inputs: list[Node], node: Node, detail: Node) -> Node:
    """SQL rounds halves away from zero, and means the exact value of the float."""
    typing.expect(inputs[0], "number", "round takes a number")
    digits = int(detail["decimals"])
    made = expression_of(inputs[0])
    if typing.type_of(inputs[0]).is_float():
        return tree_of(exact_round(made.cast(pl.Float64), digits))
    return tree_of(made.round(digits, mode="half_away_from_zero"))


def exact_round(x: pl.Expr, digits: int) -> pl.Expr:
    """A float rounded to decimals, halves away from zero, by its exact value.

    `x * 10**digits` may fall on a half that `x` itself misses; the error of that product, which tells,
    is Dekker's (T. J. Dekker, "A floating-point technique for extending the available precision", 1971).
    Values with no decimals left are returned as they are.
    """
    if digits == 0:
        return x.round(0, mode="half_away_from_zero")
    scale, split = 10.0**digits, 2.0**27 + 1
    product = x * scale
    high = x * split - (x * split - x)
    scale_high = scale * split - (scale * split - scale)
    low, scale_low = x - high, scale - scale_high
    error = ((high * scale_high - product) + high * scale_low + low * scale_high) + low * scale_low
    whole = product.abs().floor()
    fraction = product.abs() - whole
    up = (fraction > 0.5) | ((fraction == 0.5) & (error * product.sign() >= 0))
    # The last rounding divides exactly: polars multiplies by 0.1 where one divides by 10.
    rounded = ((whole + up.cast(pl.Float64)) / scale).round(digits, mode="half_away_from_zero")
    return pl.when(product.abs() < LARGE).then(pl.when(x < 0).then(-rounded).otherwise(rounded)).otherwise(x)


def _multiply_or_divide(typing: Typing, inputs: list[Node], node: Node, detail: Node) -> Node:
    """`/` always gives a float; polars divides decimals as decimals, and by a constant inexactly."""
    if detail == "Mul":
        return typing.arithmetic(node, "*", *inputs)
    for side in inputs:
        typing.expect(side, "number", "/ and % take numbers")
    if detail != "Div":
        return node
    left, right = (expression_of(side).cast(pl.Float64) for side in inputs)
    if left.meta.root_names() and not right.meta.root_names():
        right = left.is_null().cast(pl.Float64) * 0.0 + right
    return tree_of(left / right)


def _sign(typing: Typing, inputs: list[Node], node: Node, detail: Node) -> Node:
    typing.expect(inputs[0], "number", "sign takes a number")
    return tree_of(expression_of(node).fill_nan(0)) if typing.type_of(inputs[0]).is_float() else node


def _power(typing: Typing, inputs: list[Node], node: Node, detail: Node) -> Node:
    base, exponent = (expression_of(side).cast(pl.Float64) for side in inputs)
    return tree_of(base.pow(exponent))


def _absolute(typing: Typing, inputs: list[Node], node: Node, detail: Node) -> Node:
    typing.expect(inputs[0], "number", "abs takes a number")
    if typing.type_of(inputs[0]).is_integer():
        return checked({"Function": {**node["Function"], "input": [wide(inputs[0])]}})
    return node


def _extreme(typing: Typing, inputs: list[Node], node: Node, detail: Node) -> Node:
    """Of floats, NaN is the largest; polars passes over it."""
    typing.one_family(inputs, "the arguments of greatest or least")
    if not any(typing.type_of(side).is_float() for side in inputs):
        return node
    first, *rest = [expression_of(side).cast(pl.Float64) for side in inputs]
    for other in rest:
        keep = first >= other if node["Function"]["function"] == "MaxHorizontal" else first <= other
        first = pl.when(other.is_null() | keep).then(first).otherwise(other)
    return tree_of(first)


def _coalesce(typing: Typing, inputs: list[Node], node: Node, detail: Node) -> Node:
    typing.one_family(inputs, "the arguments of coalesce")
    return node


def _is_in(typing: Typing, inputs: list[Node], node: Node, detail: Node) -> Node:
    elements = pl.select(expression_of(inputs[1]).alias("it"))["it"].dtype
    inner: Any = elements.inner if isinstance(elements, pl.List) else elements
    kinds = family(typing.type_of(inputs[0])), family(inner)
    if "null" not in kinds and kinds[0] != kinds[1]:
        message = f"{typing.name_of(inputs[0])} is looked up in a list of {kinds[1]}"
        raise SchemaProblem(message, hint=f"write the list's values as {kinds[0]}")
    return node


def _strip(typing: Typing, inputs: list[Node], node: Node, detail: Node) -> Node:
    """SQL's trim takes spaces, not every white space."""
    characters = {"Literal": {"Scalar": {"String": SPACES}}}
    return {"Function": {**node["Function"], "input": [inputs[0], characters]}}


def _as_bigint(typing: Typing, inputs: list[Node], node: Node, detail: Node) -> Node:
    return cast_to(node, "Int64")


def _part(typing: Typing, inputs: list[Node], node: Node, detail: Node) -> Node:
    found = family(typing.type_of(inputs[0]))
    if found not in ("date", "time", "null"):
        hint = "use the `sql` operator, which is told the zone" if found == "zoned timestamp" else ""
        raise SchemaProblem(
            f"parts of dates are taken of dates, and {typing.name_of(inputs[0])} is {found}", hint=hint
        )
    return node if "ToString" in str(node["Function"]["function"]) else cast_to(node, "Int64")


def _concat(typing: Typing, inputs: list[Node], node: Node, detail: Node) -> Node:
    for side in inputs:
        dtype = typing.type_of(side)
        if family(dtype) not in ("text", "null", "boolean") and not (
            dtype.is_integer() or dtype.is_decimal()
        ):
            raise SchemaProblem(
                f"concat takes texts and whole numbers, and {typing.name_of(side)} is neither", hint=USE_SQL
            )
    return node


_PARTS = (
    "Year",
    "Month",
    "Day",
    "Quarter",
    "Week",
    "WeekDay",
    "OrdinalDay",
    "Hour",
    "Minute",
    "Second",
    "IsoYear",
)
FUNCTIONS: dict[str, Rewrite] = {
    "Sql.Round": _round,
    "Sql.Binary": _multiply_or_divide,
    "Sign": _sign,
    "Pow.Generic": _power,
    "Abs": _absolute,
    "MaxHorizontal": _extreme,
    "MinHorizontal": _extreme,
    "Coalesce": _coalesce,
    "Sql.IsIn": _is_in,
    "StringExpr.StripChars": _strip,
    "StringExpr.StripCharsStart": _strip,
    "StringExpr.StripCharsEnd": _strip,
    "StringExpr.LenChars": _as_bigint,
    "StringExpr.ConcatHorizontal": _concat,
    "TemporalExpr.ToString": _part,
    **{f"TemporalExpr.{part}": _part for part in _PARTS},
}
