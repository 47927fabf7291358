"""Templates in `Templated` fields: Jinja, sandboxed and strict.

The names a text uses are read from its syntax tree when the DAG is checked, so that an order to a
runner carries exactly those values; it is rendered in the runner. `params.x`, `conn.x`, `var.x`,
`results.x` and `env.X` must name their member literally.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from functools import cache, lru_cache
from typing import TYPE_CHECKING, Any

from orchestrator.errors import FustgoError, nearest

if TYPE_CHECKING:
    from jinja2.sandbox import SandboxedEnvironment

PLAIN_NAMES = (
    "ds", "ds_nodash", "ts", "ts_nodash", "logical_date", "prev_logical_date",
    "data_interval_start", "data_interval_end", "run_id",
)  # fmt: skip
MEMBER_NAMES = ("params", "conn", "var", "results", "env")
NAMES = (*PLAIN_NAMES, *MEMBER_NAMES)
INTERVAL = ("data_interval_start", "data_interval_end")
DATES = ("logical_date", "prev_logical_date", "data_interval_start", "data_interval_end")


class TemplateProblem(FustgoError):
    """A template that cannot be read, uses an unknown name, or does not render."""


@dataclass(frozen=True, order=True)
class Use:
    """One name that a template uses: `ds`, or a member such as `params.day`."""

    name: str
    member: str = ""

    def __str__(self) -> str:
        return f"{self.name}.{self.member}" if self.member else self.name


def _moment(value: Any) -> datetime:
    if isinstance(value, datetime):
        return value
    if isinstance(value, date):
        return datetime(value.year, value.month, value.day)  # noqa: DTZ001  # a date has no zone
    return datetime.fromisoformat(value)


def _like(value: Any, moment: datetime) -> Any:
    """A text stays a text of the same form: a plain date, or an ISO timestamp."""
    if not isinstance(value, str):
        return moment
    return moment.strftime("%Y-%m-%d") if len(value) == 10 else moment.isoformat()


def add_days(value: Any, days: int) -> Any:
    """A date or ISO text, moved by days: `{{ ds | add_days(-1) }}`."""
    return _like(value, _moment(value) + timedelta(days=days))


def add_hours(value: Any, hours: float) -> Any:
    """A timestamp or ISO text, moved by hours."""
    return _like(value, _moment(value) + timedelta(hours=hours))


def strftime(value: Any, form: str) -> str:
    """A date or ISO text, formatted."""
    return _moment(value).strftime(form)


class Identifier(str):
    """A text that names something in SQL: `{{ params.table | identifier }}`; elsewhere it is the text."""

    __slots__ = ()


def sandbox(finalize: Callable[[Any], Any]) -> SandboxedEnvironment:
    """A Jinja environment: sandboxed, undefined names are errors. `finalize` makes the text of each value."""
    from jinja2 import StrictUndefined
    from jinja2.sandbox import SandboxedEnvironment

    made = SandboxedEnvironment(
        undefined=StrictUndefined, autoescape=False, keep_trailing_newline=True, finalize=finalize
    )
    made.filters.update(add_days=add_days, add_hours=add_hours, strftime=strftime, identifier=Identifier)
    made.globals.clear()
    return made


def unlike_null(value: Any) -> Any:
    """The value; `TemplateProblem` where it is null, which has no text."""
    if value is None:
        raise TemplateProblem("a value is null", hint="give it one, or another instead: {{ x or 'none' }}")
    return value


@cache
def environment() -> SandboxedEnvironment:
    """The environment of templates whose values become plain text."""
    return sandbox(unlike_null)


def uses(text: str) -> list[Use]:
    """The names that a text uses, sorted; `TemplateProblem`, the first of `faults`, where one is wrong."""
    found, problems = _read(text)
    if problems:
        raise problems[0]
    return sorted(found)


def faults(text: str) -> list[TemplateProblem]:
    """All that is wrong with a text: it cannot be read, names or filters are unknown, members computed."""
    return _read(text)[1]


def sound_uses(text: str) -> list[Use]:
    """The names that a text uses, sorted, without those that are wrong."""
    return sorted(_read(text)[0])


def _read(text: str) -> tuple[set[Use], list[TemplateProblem]]:
    from jinja2 import TemplateSyntaxError, meta, nodes

    try:
        tree = environment().parse(text)
        problems = list(_filter_faults(tree))
        free = meta.find_undeclared_variables(tree)
    except TemplateSyntaxError as error:
        message = f"the template cannot be read: {error.message}"
        return set(), [TemplateProblem(message, hint="write it like {{ ds }}")]
    found = {Use(name) for name in free if name in PLAIN_NAMES}
    literal: set[int] = set()
    computed: set[str] = set()
    for node in tree.find_all((nodes.Getattr, nodes.Getitem)):
        owner: Any = getattr(node, "node")  # noqa: B009  # both kinds have it, their common base does not
        if not (isinstance(owner, nodes.Name) and owner.name in MEMBER_NAMES):
            continue
        literal.add(id(owner))
        if member := _member(node):
            found.add(Use(owner.name, member))
        else:
            computed |= {name.name for name in node.find_all(nodes.Name)}
            hint = f"name it literally: {owner.name}.something"
            problems.append(TemplateProblem(f"the member of {owner.name!r} is computed", hint=hint))
    problems += [
        TemplateProblem(f"unknown template name {name!r}", hint=nearest(name, NAMES))
        for name in sorted(free - set(NAMES) - computed)
    ]
    bare = {
        used.name
        for used in tree.find_all(nodes.Name)
        if used.name in MEMBER_NAMES and used.name in free and id(used) not in literal
    }
    for name in sorted(bare):
        hint = f"write {name}.something"
        problems.append(TemplateProblem(f"{name!r} is used without a member", hint=hint))
    return found, problems


def _filter_faults(tree: Any) -> Iterator[TemplateProblem]:
    from jinja2 import nodes

    known = environment().filters
    for node in list(tree.find_all(nodes.Filter)):
        if node.name not in known:
            yield TemplateProblem(f"unknown template filter {node.name!r}", hint=nearest(node.name, known))
            node.name = "string"  # Jinja stops at an unknown one, and there may be more to say


def _member(node: Any) -> str:
    """The member that is named literally, else an empty text."""
    from jinja2 import nodes

    if isinstance(node, nodes.Getattr):
        return node.attr
    named = isinstance(node.arg, nodes.Const) and isinstance(node.arg.value, str)
    return node.arg.value if named else ""


def render(text: str, names: Mapping[str, Any]) -> str:
    """The text with its names filled in; `TemplateProblem` says which is missing or null."""
    return rendered(environment(), text, names)


def rendered(by: SandboxedEnvironment, text: str, names: Mapping[str, Any]) -> str:
    """The text, rendered in an environment of `sandbox`."""
    with _named(text, names):
        made: str = _compiled(by, text).render(names)
        return made


def native(text: str, names: Mapping[str, Any]) -> Any:
    """The value of a text that is nothing but one `{{ ... }}`; of any other its rendered text."""
    alone = _ALONE.fullmatch(text)
    if alone is None:
        return render(text, names)
    with _named(text, names):
        value = _expression(alone[1])(**names)
        if isinstance(value, _undefined()):
            str(value)  # raises what is missing: this Undefined is the strict one
        return value


_ALONE = re.compile(r"\s*\{\{-?((?:(?!\}\}|\{\{).)*?)-?\}\}\s*", re.DOTALL)


def _undefined() -> type:
    from jinja2 import Undefined

    return Undefined


@lru_cache(maxsize=1024)
def _compiled(by: SandboxedEnvironment, text: str) -> Any:
    return by.from_string(text)


@lru_cache(maxsize=1024)
def _expression(text: str) -> Any:
    return environment().compile_expression(text, undefined_to_none=False)


@contextmanager
def _named(text: str, names: Mapping[str, Any]) -> Iterator[None]:
    """Say which template does not render, and why."""
    from jinja2 import TemplateError

    try:
        yield
    except (
        TemplateProblem, TemplateError, TypeError, ValueError, KeyError, ZeroDivisionError, OverflowError,
    ) as error:  # fmt: skip
        reason, hint = (error.message, error.hint) if isinstance(error, FustgoError) else (str(error), "")
        if null := _null_uses(text, names):
            reason, hint = f"{null[0]} is null", _null_hint(null[0]) or hint
        raise TemplateProblem(f"the template {text!r} does not render: {reason}", hint=hint) from None


def _null_uses(text: str, names: Mapping[str, Any]) -> list[Use]:
    def value(use: Use) -> Any:
        found = names.get(use.name, "")
        return found.get(use.member, "") if use.member and isinstance(found, Mapping) else found

    return [use for use in sound_uses(text) if value(use) is None]


def _null_hint(use: Use) -> str:
    return "this DAG has no schedule" if use.name in INTERVAL else ""


def time_names(
    *,
    logical_date: datetime,
    prev_logical_date: datetime | None,
    interval: tuple[datetime, datetime] | None,
    run_id: str,
) -> dict[str, Any]:
    """The plain names of a run as JSON values; `logical_date` is in the DAG's zone."""
    start, end = interval or (None, None)
    return {
        "ds": logical_date.strftime("%Y-%m-%d"),
        "ds_nodash": logical_date.strftime("%Y%m%d"),
        "ts": logical_date.isoformat(),
        "ts_nodash": logical_date.strftime("%Y%m%dT%H%M%S"),
        "logical_date": logical_date.isoformat(),
        "prev_logical_date": prev_logical_date.isoformat() if prev_logical_date else None,
        "data_interval_start": start.isoformat() if start else None,
        "data_interval_end": end.isoformat() if end else None,
        "run_id": run_id,
    }


def revive(names: Mapping[str, Any]) -> dict[str, Any]:
    """The names as templates see them: dates are datetimes again after their journey as JSON."""
    return {
        name: datetime.fromisoformat(value) if name in DATES and isinstance(value, str) else value
        for name, value in names.items()
    }
