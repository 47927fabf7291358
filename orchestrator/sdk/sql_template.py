"""Templates inside SQL: each `{{ ... }}` becomes one SQL literal, so that no value is read as SQL.

A value can leave its literal only where the text around it is inside quotes or a comment. So each piece
of text between two tags must close its own; this holds whichever branches of `{% if %}` are taken. The
literals have spaces around them: a prefix (`e'...'`), a sign or another literal never touches one.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, date, datetime
from decimal import Decimal
from functools import cache
from itertools import product
from typing import TYPE_CHECKING, Any

from orchestrator.sdk.template import DATES, Identifier, TemplateProblem, rendered, sandbox, unlike_null

if TYPE_CHECKING:
    from jinja2.sandbox import SandboxedEnvironment

_CLOSED = re.compile(
    r"""(?: '(?:[^']|'')*' | "(?:[^"]|"")*" | `[^`]*` | \[[^\]]*\] | --[^\n]*\n | /\*.*?\*/
          | -(?!-) | /(?!\*) | [^'"`\[/-] )*""",
    re.VERBOSE | re.DOTALL,
)
_ANY = (" null ", " '2026-01-01' ", " 1 ", " 'x' ")
_MOMENT = " timestamp '2026-01-01 00:00:00' "
_KNOWN = {
    "ds": " '2026-01-01' ", "ds_nodash": " '20260101' ", "ts": " '2026-01-01T00:00:00+00:00' ",
    "ts_nodash": " '20260101T000000' ", "run_id": " 'manual' ", **dict.fromkeys(DATES, _MOMENT),
}  # fmt: skip
"""Stand-ins for the names whose type is known; any value may stand for the others."""

_MOST_TRIALS = 3


def render_sql(text: str, names: Mapping[str, Any], dialect: str) -> str:
    """The text, each `{{ ... }}` as an SQL literal; `TemplateProblem` where one cannot be.

    `dialect` is `sql`, whose dates are typed literals, or `sqlite`, which keeps them as ISO texts.
    """
    check_sql(text)
    return rendered(_environment(dialect), text, names)


def check_sql(text: str) -> None:
    """`TemplateProblem` where a template stands inside quotes or in a comment."""
    from jinja2 import TemplateSyntaxError

    try:
        pieces = list(_pieces(text))
    except TemplateSyntaxError:
        return  # `uses` says what is wrong with it
    for piece, last in pieces:
        rest = "" if last else piece[_closed_until(piece) :]
        if rest:
            comment = rest.startswith(("--", "/*"))
            raise TemplateProblem(
                f"a template stands in {'a comment' if comment else f'quotes, after {_shown(rest)}'}",
                hint="take it out of the comment"
                if comment
                else "drop the quotes: {{ ... }} is quoted as its value asks, "
                "and a part of a text is joined in it: {{ params.x ~ '%' }}",
            )


def trials(text: str) -> Iterator[str]:
    """The text with stand-ins for its values, to be tried until one fits; none where it has `{% ... %}`."""
    if "{%" in text or "{#" in text:
        return
    pieces = re.split(r"\{\{-?(.*?)-?\}\}", text, flags=re.DOTALL)
    choices = [(_KNOWN[name],) if (name := inner.strip()) in _KNOWN else _ANY for inner in pieces[1::2]]
    if sum(len(choice) > 1 for choice in choices) > _MOST_TRIALS:
        return
    for values in product(*choices):
        yield "".join(piece + value for piece, value in zip(pieces[::2], (*values, ""), strict=True))


def _pieces(text: str) -> Iterator[tuple[str, bool]]:
    """The texts between the tags, and whether it is the end of the whole."""
    tokens = [(kind, value) for _, kind, value in _environment("sql").lex(text)]
    for index, (kind, value) in enumerate(tokens):
        if kind == "data":
            yield value, index == len(tokens) - 1


def _closed_until(piece: str) -> int:
    found = _CLOSED.match(piece)
    return found.end() if found else 0


def _shown(rest: str) -> str:
    return rest if len(rest) <= 20 else f"{rest[:17]}..."


@cache
def _environment(dialect: str) -> SandboxedEnvironment:
    return sandbox(_LITERALS[dialect])


def _literal(value: Any) -> str:
    return f" {', '.join(_one(entry, _moment) for entry in _entries(value))} "


def _sqlite_literal(value: Any) -> str:
    return f" {', '.join(_one(entry, _sqlite_moment) for entry in _entries(value))} "


def _entries(value: Any) -> list[Any]:
    if not isinstance(value, (list, tuple)):
        return [value]
    if not value:
        raise TemplateProblem("an empty list is no SQL value", hint="give it at least one entry")
    return list(value)


def _one(value: Any, moment: Callable[[date], str]) -> str:
    value = unlike_null(value)
    if isinstance(value, Identifier):
        return '"' + value.replace('"', '""') + '"'
    if isinstance(value, str):
        if "\0" in value:
            raise TemplateProblem("a text with a zero byte is no SQL value")
        return _quoted(value)
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (int, Decimal)) or (isinstance(value, float) and math.isfinite(value)):
        return str(value)
    if isinstance(value, date):
        return moment(value)
    raise TemplateProblem(f"{value!r} is no SQL value", hint="use a text, a number, a date or a list of them")


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def _moment(value: date) -> str:
    """A timestamp by the clock of its zone, as `ds` is a date of that zone."""
    if isinstance(value, datetime):
        return f"timestamp '{value.replace(tzinfo=None).isoformat(sep=' ')}'"
    return f"date '{value.isoformat()}'"


def _sqlite_moment(value: date) -> str:
    """As the output writes it: zoned timestamps in UTC."""
    if not isinstance(value, datetime):
        return _quoted(value.isoformat())
    shown = value.astimezone(UTC) if value.tzinfo else value
    return _quoted(shown.isoformat(sep=" ", timespec="microseconds"))


_LITERALS: dict[str, Callable[[Any], str]] = {"sql": _literal, "sqlite": _sqlite_literal}
