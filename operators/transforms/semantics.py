"""What an expression means: polars' own tree of it, typed against a schema and rewritten.

polars parses the text; its tree is walked from the leaves up. Each step is typed, so that text
compared with a number is refused before the run, and rewritten where polars and the `sql` operator's
engine differ in silence (rounding, overflow, casts, NaN). The tests compare both on each.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import polars as pl

from operators.transforms import rewrites
from operators.transforms.tree import (
    Node,
    checked,
    expression_of,
    family,
    first_line,
    is_text_cast,
    literal_text,
    tree_of,
    wide,
)
from operators.transforms.vocabulary import USE_SQL
from orchestrator.errors import nearest
from orchestrator.sdk.operator import SchemaProblem

COMPARISONS = {
    "Eq": "=", "NotEq": "<>", "Lt": "<", "LtEq": "<=", "Gt": ">", "GtEq": ">=",
    "EqValidity": "is not distinct from", "NotEqValidity": "is distinct from",
}  # fmt: skip
ARITHMETIC = {"Plus": "+", "Minus": "-", "Multiply": "*"}


def parse(text: str) -> pl.Expr:
    """The expression as polars reads it; `SchemaProblem` where its grammar does not hold."""
    try:
        return pl.sql_expr(text)
    except pl.exceptions.PolarsError as error:
        raise SchemaProblem(f"the expression cannot be read: {first_line(error)}") from None


class Typing:
    """Types and rewrites the tree of one expression against one schema."""

    def __init__(self, frame: pl.DataFrame, type_names: Mapping[str, str]) -> None:
        self._frame, self._type_names = frame, type_names

    def rewritten(self, expression: pl.Expr) -> pl.Expr:
        """The expression that means what the `sql` operator's engine means; `SchemaProblem` if none does."""
        return expression_of(self._walk(tree_of(expression)))

    def type_of(self, node: Node) -> pl.DataType:
        """The type of a subtree."""
        try:
            schema = self._frame.lazy().select(expression_of(node).alias("it")).collect_schema()
        except pl.exceptions.PolarsError as error:
            raise SchemaProblem(f"the expression does not fit: {first_line(error)}") from None
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
        elif op in ARITHMETIC and not (op == "Plus" and is_text_cast(left) and is_text_cast(right)):
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
        return rewrites.cast(self, inner, source, self.type_of(made), made)

    def _function(self, parts: Mapping[str, Node]) -> Node:
        inputs = [self._walk(part) for part in parts["input"]]
        name, detail = rewrites.function_name(parts["function"])
        node = {"Function": {**parts, "input": inputs}}
        rewrite = rewrites.FUNCTIONS.get(name)
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
        return f"{literal_text(node)} ({family(self.type_of(node))})"

    def arithmetic(self, node: Node, sign: str, left: Node, right: Node) -> Node:
        """The node, of two numbers; of whole ones checked for overflow."""
        for side in (left, right):
            self.expect(side, "number", f"{sign} takes numbers")
        if self.type_of(left).is_integer() and self.type_of(right).is_integer():
            op = next(op for op, known in ARITHMETIC.items() if known == sign)
            return checked({"BinaryExpr": {"left": wide(left), "op": op, "right": wide(right)}})
        return node


def _remedy(left: Node, right: Node, kinds: tuple[str, str], sign: str) -> str:
    """What to write instead of a comparison of two families."""
    text, other = (left, right) if kinds[0] == "text" else (right, left)
    if "text" not in kinds:
        return "cast one side to the other's type"
    name = text["Column"] if isinstance(text, dict) and "Column" in text else ""
    literal = isinstance(other, dict) and "Literal" in other
    if set(kinds) == {"text", "number"} and name and literal:
        number = literal_text(other)
        wanted = "bigint" if number.lstrip("-").isdigit() else "double"
        return f"write {name} {sign} '{number}', or cast({name} as {wanted}) {sign} {number}"
    if set(kinds) == {"text", "date"} and not name:
        return f"write date {literal_text(text)}" if "Literal" in text else "write date '2026-01-31'"
    return "write cast(... as ...) around one side"


_STEPS: dict[str, Callable[[Typing, Any], Node]] = {
    "Column": Typing._column,
    "Literal": Typing._literal,
    "BinaryExpr": Typing._binary,
    "Ternary": Typing._ternary,
    "Cast": Typing._cast,
    "Function": Typing._function,
}
