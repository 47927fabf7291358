"""What an expression means: polars' own tree of it, typed against a schema and rewritten.

polars parses the text; its tree is walked from the leaves up. Each step is typed, so that text
compared with a number is refused before the run, and rewritten where polars and the `sql` operator's
engine differ in silence (rounding, overflow, casts, NaN). The tests compare both on each.
"""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Mapping
from typing import Any

import polars as pl

from operators.transforms.vocabulary import USE_SQL
from orchestrator.errors import nearest
from orchestrator.sdk.operator import SchemaProblem

Node = Any  # a node of polars' tree as JSON: a string, or a dict with one key

COMPARISONS = {
    "Eq": "=", "NotEq": "<>", "Lt": "<", "LtEq": "<=", "Gt": ">", "GtEq": ">=",
    "EqValidity": "is not distinct from", "NotEqValidity": "is distinct from",
}  # fmt: skip
ARITHMETIC = {"Plus": "+", "Minus": "-", "Multiply": "*"}
CASTS = {
    ("number", "number"), ("number", "text"), ("number", "boolean"), ("boolean", "number"),
    ("boolean", "text"), ("date", "date"), ("date", "text"), ("text", "number"), ("text", "date"),
}  # fmt: skip
SPACES = " \u00a0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u202f\u205f\u3000"
LARGE = 2.0**50  # from here on a float has no decimals left to round


def parse(text: str) -> pl.Expr:
    """The expression as polars reads it; `SchemaProblem` where its grammar does not hold."""
    try:
        return pl.sql_expr(text)
    except pl.exceptions.PolarsError as error:
        raise SchemaProblem(f"the expression cannot be read: {_first_line(error)}") from None


def columns_of(expression: pl.Expr) -> list[str]:
    """The columns that an expression uses, in order, each once."""
    return list(dict.fromkeys(expression.meta.root_names()))


def _first_line(error: Exception) -> str:
    return str(error).splitlines()[0]


def _tree(expression: pl.Expr) -> Node:
    return json.loads(expression.meta.serialize(format="json"))


def _expression(node: Node) -> pl.Expr:
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


class Typing:
    """Types and rewrites the tree of one expression against one schema."""

    def __init__(self, frame: pl.DataFrame, type_names: Mapping[str, str]) -> None:
        self._frame, self._type_names = frame, type_names

    def rewritten(self, expression: pl.Expr) -> pl.Expr:
        """The expression that means what the `sql` operator's engine means; `SchemaProblem` if none does."""
        return _expression(self._walk(_tree(expression)))

    def type_of(self, node: Node) -> pl.DataType:
        """The type of a subtree."""
        try:
            schema = self._frame.lazy().select(_expression(node).alias("it")).collect_schema()
        except pl.exceptions.PolarsError as error:
            raise SchemaProblem(f"the expression does not fit: {_first_line(error)}") from None
        return schema["it"]

    def _walk(self, node: Node) -> Node:
        kind = next(iter(node)) if isinstance(node, dict) else node
        step = _STEPS.get(kind)
        if step is None:
            raise SchemaProblem("expressions know no aggregates, windows or queries", hint=USE_SQL)
        return step(self, node[kind])

    def _column(self, name: str) -> Node:
        if name not in self._type_names:
            raise SchemaProblem(f"there is no column {name!r}", hint=nearest(name, self._type_names))
        return {"Column": name}

    def _literal(self, value: Node) -> Node:
        return {"Literal": value}

    def _binary(self, parts: Mapping[str, Node]) -> Node:
        left, right, op = self._walk(parts["left"]), self._walk(parts["right"]), parts["op"]
        node = {"BinaryExpr": {"left": left, "op": op, "right": right}}
        if op in ("And", "Or"):
            for side in (left, right):
                self.expect(side, "boolean", f"{op.lower()} joins conditions")
        elif op in COMPARISONS:
            self._comparable(left, right, COMPARISONS[op])
        elif op in ARITHMETIC and not (op == "Plus" and _is_text_cast(left) and _is_text_cast(right)):
            return self.arithmetic(node, ARITHMETIC[op], left, right)
        elif op not in ARITHMETIC:
            raise SchemaProblem(f"expressions do not know {op}", hint=USE_SQL)
        return node

    def _ternary(self, parts: Mapping[str, Node]) -> Node:
        made = {name: self._walk(part) for name, part in parts.items()}
        self.expect(made["predicate"], "boolean", "`when` takes a condition")
        self.one_family([made["truthy"], made["falsy"]], "the branches of case, if or nullif")
        return {"Ternary": made}

    def _cast(self, parts: Mapping[str, Node]) -> Node:
        inner = self._walk(parts["expr"])
        source = self.type_of(inner)
        made = {"Cast": {**parts, "expr": inner}}
        return _cast(self, inner, source, self.type_of(made), made)

    def _function(self, parts: Mapping[str, Node]) -> Node:
        inputs = [self._walk(part) for part in parts["input"]]
        name, detail = _function_name(parts["function"])
        node = {"Function": {**parts, "input": inputs}}
        rewrite = _REWRITES.get(name)
        return rewrite(self, inputs, node, detail) if rewrite else node

    # What must agree

    def expect(self, node: Node, wanted: str, why: str) -> None:
        """Refuse an operand of another family; null fits all."""
        found = family(self.type_of(node))
        if found not in (wanted, "null"):
            hint = "compare it: active = 'yes', count > 0" if wanted == "boolean" else ""
            raise SchemaProblem(f"{why}, and {self.name_of(node)} is {found}", hint=hint)

    def one_family(self, nodes: list[Node], what: str) -> None:
        """Refuse operands of several families."""
        found = {family(self.type_of(node)) for node in nodes} - {"null"}
        if len(found) > 1:
            raise SchemaProblem(f"{what} give {' and '.join(sorted(found))}", hint="cast one of them")

    def _comparable(self, left: Node, right: Node, sign: str) -> None:
        kinds = family(self.type_of(left)), family(self.type_of(right))
        if "null" in kinds or kinds[0] == kinds[1]:
            return
        message = f"{self.name_of(left)} is compared with {self.name_of(right)}: {kinds[0]} with {kinds[1]}"
        raise SchemaProblem(message, hint=_remedy(left, right, kinds, sign))

    def name_of(self, node: Node) -> str:
        """A subtree in words, with its type."""
        if isinstance(node, dict) and "Column" in node:
            return f"column {node['Column']!r} ({self._type_names[node['Column']]})"
        return f"{_text(node)} ({family(self.type_of(node))})"

    def arithmetic(self, node: Node, sign: str, left: Node, right: Node) -> Node:
        """The node, of two numbers; of whole ones checked for overflow."""
        for side in (left, right):
            self.expect(side, "number", f"{sign} takes numbers")
        if self.type_of(left).is_integer() and self.type_of(right).is_integer():
            op = next(op for op, known in ARITHMETIC.items() if known == sign)
            return _checked({"BinaryExpr": {"left": _wide(left), "op": op, "right": _wide(right)}})
        return node


def _is_text_cast(node: Node) -> bool:
    """`a || b` is the only sum whose sides polars casts to text."""
    inner = node.get("Cast", {}) if isinstance(node, dict) else {}
    return bool(inner.get("dtype") == {"Literal": "String"})


def _to(node: Node, dtype: str, strict: bool = True) -> Node:
    return {
        "Cast": {"expr": node, "dtype": {"Literal": dtype}, "options": "Strict" if strict else "NonStrict"}
    }


def _wide(node: Node) -> Node:
    return _to(node, "Int128")


def _checked(node: Node) -> Node:
    """64-bit arithmetic that fails on overflow instead of wrapping around."""
    return _to(node, "Int64")


def _text(node: Node) -> str:
    """A literal as it was written, or a word for anything longer."""
    if not (isinstance(node, dict) and "Literal" in node):
        return "an expression"
    value = pl.select(_expression(node)).item()
    if isinstance(value, str):
        return "'" + value.replace("'", "''") + "'"
    return f"date '{value}'" if hasattr(value, "isoformat") else str(value)


def _remedy(left: Node, right: Node, kinds: tuple[str, str], sign: str) -> str:
    """What to write instead of a comparison of two families."""
    text, other = (left, right) if kinds[0] == "text" else (right, left)
    if "text" not in kinds:
        return "cast one side to the other's type"
    name = text["Column"] if isinstance(text, dict) and "Column" in text else ""
    literal = isinstance(other, dict) and "Literal" in other
    if set(kinds) == {"text", "number"} and name and literal:
        number = _text(other)
        wanted = "bigint" if number.lstrip("-").isdigit() else "double"
        return f"write {name} {sign} '{number}', or cast({name} as {wanted}) {sign} {number}"
    if set(kinds) == {"text", "date"} and not name:
        return f"write date {_text(text)}" if "Literal" in text else "write date '2026-01-31'"
    return "write cast(... as ...) around one side"


# Casts: polars truncates where SQL rounds, and reads texts differently


def _cast(typing: Typing, inner: Node, source: pl.DataType, target: pl.DataType, made: Node) -> Node:
    kinds = family(source), family(target)
    strict = made["Cast"]["options"] == "Strict"
    refused = _refused_cast(source, target, kinds, strict)
    if refused:
        raise SchemaProblem(f"expressions cannot cast {typing.name_of(inner)} to {target}", hint=refused)
    if kinds == ("text", "date"):
        return _tree(_expression(inner).str.to_date("%Y-%m-%d", strict=True))
    if source.is_float() and target.is_integer():
        return _with_input(made, _expression(inner).round(0, mode="half_to_even"))
    if source.is_decimal() and (target.is_integer() or target.is_decimal()):
        scale = target.scale if isinstance(target, pl.Decimal) else 0
        return _with_input(made, _expression(inner).round(scale or 0, mode="half_away_from_zero"))
    return made


def _with_input(cast: Node, inner: pl.Expr) -> Node:
    return {"Cast": {**cast["Cast"], "expr": _tree(inner)}}


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


def _function_name(function: Node) -> tuple[str, Node]:
    """`{"Sql": {"Round": {"decimals": 1}}}` is `Sql.Round` and its details."""
    if isinstance(function, str):
        return function, None
    [(group, inner)] = function.items()
    if isinstance(inner, str):
        return f"{group}.{inner}", None
    [(name, detail), *_] = inner.items() if isinstance(inner, dict) else [("", inner)]
    return f"{group}.{name}", detail


Rewrite = Callable[[Typing, list[Node], Node, Node], Node]


def _round(typing: Typing, inputs: list[Node], node: Node, detail: Node) -> Node:
    """SQL rounds halves away from zero, and means the exact value of the float."""
    typing.expect(inputs[0], "number", "round takes a number")
    digits = int(detail["decimals"])
    made = _expression(inputs[0])
    if typing.type_of(inputs[0]).is_float():
        return _tree(exact_round(made.cast(pl.Float64), digits))
    return _tree(made.round(digits, mode="half_away_from_zero"))


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
    left, right = (_expression(side).cast(pl.Float64) for side in inputs)
    if left.meta.root_names() and not right.meta.root_names():
        right = left.is_null().cast(pl.Float64) * 0.0 + right
    return _tree(left / right)


def _sign(typing: Typing, inputs: list[Node], node: Node, detail: Node) -> Node:
    typing.expect(inputs[0], "number", "sign takes a number")
    return _tree(_expression(node).fill_nan(0)) if typing.type_of(inputs[0]).is_float() else node


def _power(typing: Typing, inputs: list[Node], node: Node, detail: Node) -> Node:
    base, exponent = (_expression(side).cast(pl.Float64) for side in inputs)
    return _tree(base.pow(exponent))


def _absolute(typing: Typing, inputs: list[Node], node: Node, detail: Node) -> Node:
    typing.expect(inputs[0], "number", "abs takes a number")
    if typing.type_of(inputs[0]).is_integer():
        return _checked({"Function": {**node["Function"], "input": [_wide(inputs[0])]}})
    return node


def _extreme(typing: Typing, inputs: list[Node], node: Node, detail: Node) -> Node:
    """Of floats, NaN is the largest; polars passes over it."""
    typing.one_family(inputs, "the arguments of greatest or least")
    if not any(typing.type_of(side).is_float() for side in inputs):
        return node
    first, *rest = [_expression(side).cast(pl.Float64) for side in inputs]
    for other in rest:
        keep = first >= other if node["Function"]["function"] == "MaxHorizontal" else first <= other
        first = pl.when(other.is_null() | keep).then(first).otherwise(other)
    return _tree(first)


def _coalesce(typing: Typing, inputs: list[Node], node: Node, detail: Node) -> Node:
    typing.one_family(inputs, "the arguments of coalesce")
    return node


def _is_in(typing: Typing, inputs: list[Node], node: Node, detail: Node) -> Node:
    elements = pl.select(_expression(inputs[1]).alias("it"))["it"].dtype
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
    return _to(node, "Int64")


def _part(typing: Typing, inputs: list[Node], node: Node, detail: Node) -> Node:
    found = family(typing.type_of(inputs[0]))
    if found not in ("date", "time", "null"):
        hint = "use the `sql` operator, which is told the zone" if found == "zoned timestamp" else ""
        raise SchemaProblem(
            f"parts of dates are taken of dates, and {typing.name_of(inputs[0])} is {found}", hint=hint
        )
    return node if "ToString" in str(node["Function"]["function"]) else _to(node, "Int64")


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
_REWRITES: dict[str, Rewrite] = {
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
_STEPS: dict[str, Callable[[Typing, Any], Node]] = {
    "Column": Typing._column,
    "Literal": Typing._literal,
    "BinaryExpr": Typing._binary,
    "Ternary": Typing._ternary,
    "Cast": Typing._cast,
    "Function": Typing._function,
}
