"""Templates in `Templated` fields: Jinja, sandboxed and strict.

The names a text uses are read from its syntax tree when the DAG is checked, so that an order to a
runner carries exactly those values; it is rendered in the runner. `params.x`, `conn.x`, `var.x`,
`results.x` and `env.X` must name their member literally.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from functools import cache
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


@cache
def environment() -> SandboxedEnvironment:
    """The one Jinja environment: sandboxed, undefined names are errors."""
    from jinja2 import StrictUndefined
    from jinja2.sandbox import SandboxedEnvironment

    made = SandboxedEnvironment(undefined=StrictUndefined, autoescape=False, keep_trailing_newline=True)
    made.filters.update(add_days=add_days, add_hours=add_hours, strftime=strftime)
    made.globals.clear()
    return made


def uses(text: str) -> list[Use]:
    """The names that a text uses, sorted; `TemplateProblem` where it cannot be read or a name is unknown."""
    from jinja2 import TemplateSyntaxError, meta, nodes

    try:
        tree = environment().parse(text)
        _check_filters(tree)
        free = meta.find_undeclared_variables(tree)
    except TemplateSyntaxError as error:
        raise TemplateProblem(
            f"the template cannot be read: {error.message}", hint="write it like {{ ds }}"
        ) from None
    for name in sorted(free - set(NAMES)):
        raise TemplateProblem(f"unknown template name {name!r}", hint=nearest(name, NAMES))
    found = {Use(name) for name in free if name in PLAIN_NAMES}
    literal: set[int] = set()
    for node in tree.find_all((nodes.Getattr, nodes.Getitem)):
        owner: Any = getattr(node, "node")  # noqa: B009  # both kinds have it, their common base does not
        if isinstance(owner, nodes.Name) and owner.name in MEMBER_NAMES:
            found.add(Use(owner.name, _member(owner.name, node)))
            literal.add(id(owner))
    for used in tree.find_all(nodes.Name):
        if used.name in MEMBER_NAMES and used.name in free and id(used) not in literal:
            raise TemplateProblem(
                f"{used.name!r} is used without a member", hint=f"write {used.name}.something"
            )
    return sorted(found)


def _check_filters(tree: Any) -> None:
    from jinja2 import nodes

    known = environment().filters
    for node in tree.find_all(nodes.Filter):
        if node.name not in known:
            raise TemplateProblem(f"unknown template filter {node.name!r}", hint=nearest(node.name, known))


def _member(name: str, node: Any) -> str:
    from jinja2 import nodes

    if isinstance(node, nodes.Getattr):
        return node.attr
    if isinstance(node.arg, nodes.Const) and isinstance(node.arg.value, str):
        return node.arg.value
    raise TemplateProblem(f"the member of {name!r} is computed", hint=f"name it literally: {name}.something")


def render(text: str, names: Mapping[str, Any]) -> str:
    """The text with its names filled in; `TemplateProblem` says which is missing."""
    from jinja2 import TemplateError

    try:
        return environment().from_string(text).render(names)
    except (TemplateError, TypeError, ValueError, KeyError, ZeroDivisionError, OverflowError) as error:
        raise TemplateProblem(f"the template {text!r} does not render: {error}") from None


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
