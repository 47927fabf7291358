"""The words that an expression may use, checked on its text before anything is evaluated.

Expressions are evaluated by polars and must mean what the `sql` operator's engine means by the same
text. So they may use what `docs/expressions.md` lists, where a test compares both engines; what
is not in these tables is refused. Only words, numbers, texts and signs are told apart here: the
grammar is polars' own.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from difflib import get_close_matches

from orchestrator.errors import nearest
from orchestrator.sdk.operator import SchemaProblem

USE_SQL = "use the `sql` operator"

FUNCTIONS: dict[str, str] = {
    "abs": "any", "ceil": "any", "ceiling": "any", "floor": "any", "trunc": "any", "sign": "any",
    "round": "any digits?", "sqrt": "any", "cbrt": "any", "exp": "any", "ln": "any", "log2": "any",
    "log10": "any", "power": "any any", "pow": "any any", "mod": "any any",
    "coalesce": "any any*", "ifnull": "any any", "nullif": "any any", "if": "any any any",
    "greatest": "any any*", "least": "any any*",
    "lower": "any", "upper": "any", "length": "any", "char_length": "any", "reverse": "any",
    "trim": "any", "ltrim": "any", "rtrim": "any", "left": "any count", "right": "any count",
    "substr": "any count count?", "substring": "any count count?", "replace": "any text literal",
    "lpad": "any count char", "rpad": "any count char", "split_part": "any text count",
    "starts_with": "any any", "ends_with": "any any", "concat": "any any*", "concat_ws": "literal any any*",
    "year": "any", "month": "any", "day": "any", "quarter": "any", "week": "any", "dayofweek": "any",
    "dayofyear": "any", "hour": "any", "minute": "any", "second": "any", "strftime": "any format",
    "extract": "extract", "cast": "cast", "try_cast": "cast",
}  # fmt: skip
"""Each function with the kinds of its arguments: `?` may be left out, `*` may be repeated."""

PARTS = (
    "year", "month", "day", "hour", "minute", "second", "dow", "isodow", "doy", "week", "quarter", "isoyear",
)  # fmt: skip
TYPES = (
    "bigint", "integer", "int", "smallint", "tinyint", "double", "varchar", "text", "string", "boolean",
    "bool", "date", "timestamp", "decimal", "numeric",
)  # fmt: skip
DIRECTIVES = "YmdHMSjyIpBbAa%"
KEYWORDS = (
    "and", "or", "not", "is", "null", "true", "false", "in", "between", "like", "case", "when", "then",
    "else", "end", "distinct", "from", "as", "date", "timestamp", "precision",
)  # fmt: skip

_TOKEN = re.compile(
    r"""(?P<space>\s+|--[^\n]*|/\*.*?\*/)
      | (?P<text>'(?:[^']|'')*')
      | (?P<quoted>"(?:[^"]|"")*")
      | (?P<number>\d+(?:\.\d*)?(?:[eE][+-]?\d+)?|\.\d+(?:[eE][+-]?\d+)?)
      | (?P<word>[^\W\d]\w*)
      | (?P<sign><=|>=|<>|!=|\|\||::|[-=<>+*/%(),])
      | (?P<other>.)""",
    re.VERBOSE | re.DOTALL,
)


@dataclass(frozen=True)
class Token:
    """A piece of an expression; `column` counts from 1."""

    kind: str
    text: str
    column: int

    def is_(self, *words: str) -> bool:
        """Whether this is one of these bare words or signs, whatever its case."""
        return self.kind in ("word", "sign") and self.text.lower() in words


END = Token("end", "", 0)


def check_words(text: str) -> list[Token]:
    """The bare words that can only be columns; `SchemaProblem` names what may not be used, and where."""
    tokens = list(_tokens(text))
    if not tokens:
        raise SchemaProblem("the expression is empty", hint="write one like age > 18")
    return [token for index, token in enumerate(tokens) if not _is_known(tokens, index)]


def _tokens(text: str) -> Iterator[Token]:
    for match in _TOKEN.finditer(text):
        kind = str(match.lastgroup)
        if kind == "other":
            raise _refused(f"{match[0]!r}", match.start() + 1)
        if kind != "space":
            yield Token(kind, match[0], match.start() + 1)


def _refused(what: str, column: int, hint: str = USE_SQL) -> SchemaProblem:
    return SchemaProblem(f"expressions do not know {what} (column {column})", hint=hint)


def _at(tokens: Sequence[Token], index: int) -> Token:
    return tokens[index] if 0 <= index < len(tokens) else END


def _is_known(tokens: Sequence[Token], index: int) -> bool:
    """Whether a token needs no further check; checks calls, types and `is` on the way."""
    token, before, after = tokens[index], _at(tokens, index - 1), _at(tokens, index + 1)
    if token.kind != "word":
        if token.is_("::"):
            _check_type(after)
        return True
    word = token.text.lower()
    if after.is_("(") and word not in KEYWORDS and not (before.is_("as", "::")):
        _check_call(tokens, index)
        return True
    if word == "is":
        _check_is(tokens, index)
    if word in ("date", "timestamp"):
        return after.kind == "text" or before.is_("as", "::")
    if before.is_("as", "::"):
        _check_type(token)
        return True
    return word in KEYWORDS or (after.is_("from") and word in PARTS)


def _check_type(token: Token) -> None:
    if token.text.lower() not in TYPES:
        raise _refused(f"type {token.text!r}", token.column, nearest(token.text.lower(), TYPES))


def _check_is(tokens: Sequence[Token], index: int) -> None:
    rest = [token for token in tokens[index + 1 : index + 3] if not token.is_("not")]
    if not (rest and rest[0].is_("null", "distinct")):
        raise _refused(
            "`is` but for null and `distinct from`",
            tokens[index].column,
            "write p = true, or coalesce(p, false)",
        )


def _check_call(tokens: Sequence[Token], index: int) -> None:
    name = tokens[index]
    signature = FUNCTIONS.get(name.text.lower())
    if signature is None:
        near = get_close_matches(name.text.lower(), FUNCTIONS, n=1, cutoff=0.75)
        hint = f"did you mean {near[0]!r}? Or {USE_SQL}" if near else USE_SQL
        raise _refused(f"function {name.text}", name.column, hint)
    arguments = _arguments(tokens, index + 1)
    if signature == "extract":
        _check_extract(name, arguments)
    elif signature == "cast":
        _check_cast(name, arguments)
    else:
        _check_arguments(name, signature.split(), arguments)


def _arguments(tokens: Sequence[Token], opening: int) -> list[list[Token]]:
    """The tokens of each argument of the call whose parenthesis opens there."""
    depth, arguments = 0, [[]]  # type: tuple[int, list[list[Token]]]
    for token in tokens[opening:]:
        depth += token.is_("(") - token.is_(")")
        if depth == 0:
            break
        if depth == 1 and token.is_(","):
            arguments.append([])
        elif depth > 1 or not token.is_("("):
            arguments[-1].append(token)
    return arguments if arguments[0] else []


def _check_extract(name: Token, arguments: Sequence[Sequence[Token]]) -> None:
    if len(arguments) != 1 or len(arguments[0]) < 3 or not arguments[0][1].is_("from"):
        raise SchemaProblem(f"extract (column {name.column}) is written like extract(year from day)")
    part = arguments[0][0]
    if part.text.lower() not in PARTS:
        raise _refused(f"extract({part.text} from ...)", part.column, f"known: {', '.join(PARTS)}")


def _check_cast(name: Token, arguments: Sequence[Sequence[Token]]) -> None:
    if not (arguments and any(token.is_("as") for token in arguments[0])):
        raise SchemaProblem(f"{name.text} (column {name.column}) is written like {name.text}(age as bigint)")


def _check_arguments(name: Token, kinds: Sequence[str], arguments: Sequence[Sequence[Token]]) -> None:
    least = sum(1 for kind in kinds if not kind.endswith(("?", "*")))
    most = 1000 if kinds[-1].endswith("*") else len(kinds)
    if not least <= len(arguments) <= most:
        wanted = str(least) if least == most else f"{least} or more" if most == 1000 else f"{least} to {most}"
        raise SchemaProblem(
            f"{name.text} (column {name.column}) takes {wanted} arguments, not {len(arguments)}"
        )
    for number, argument in enumerate(arguments):
        _check_literal(name, number + 1, kinds[min(number, len(kinds) - 1)].rstrip("?*"), argument)


def _check_literal(name: Token, number: int, kind: str, argument: Sequence[Token]) -> None:
    token = argument[0] if len(argument) == 1 else END
    whole = int(token.text) if token.kind == "number" and token.text.isdigit() else -1
    inside = token.text[1:-1].replace("''", "'") if token.kind == "text" else None
    wanted = {
        "any": (True, ""),
        "count": (whole >= 1, "a whole number from 1, written out"),
        "digits": (0 <= whole <= 15, "a whole number from 0 to 15, written out"),
        "literal": (inside is not None, "a text, written out"),
        "text": (bool(inside), "a text that is not empty, written out"),
        "char": (inside is not None and len(inside) == 1, "one character, written out"),
        "format": (
            inside is not None and set(re.findall(r"%(.?)", inside, re.DOTALL)) <= set(DIRECTIVES),
            f"a text with no directives but %{' %'.join(DIRECTIVES)}",
        ),
    }
    fits, what = wanted[kind]
    if not fits:
        raise SchemaProblem(
            f"argument {number} of {name.text} (column {name.column}) must be {what}", hint=USE_SQL
        )
