"""Cron text, read as cron reads it: five fields, Sunday is 0 and 7, day of month OR weekday.

The rules are those of crontab(5) (Vixie cron): lists, ranges, steps, names of months and weekdays,
and, where neither day field starts with `*`, a day that matches either of them. Beyond it, as in
Airflow: `5/15` is `5-59/15`. Refused although some cron accepts it: what never fires, and a step
longer than its field, which silently becomes a single value.
"""

from __future__ import annotations

import re
from calendar import month_name
from dataclasses import dataclass

from orchestrator.dag.timetable.problem import ScheduleProblem
from orchestrator.errors import nearest

PRESETS = {
    "@hourly": "0 * * * *",
    "@daily": "0 0 * * *",
    "@weekly": "0 0 * * 0",
    "@monthly": "0 0 1 * *",
    "@quarterly": "0 0 1 */3 *",
    "@yearly": "0 0 1 1 *",
}
_ALIASES = {"@midnight": "@daily", "@annually": "@yearly"}
SPECIAL = ("@once", "@continuous")  # presets that are no cron

_WEEKDAYS = ("SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT")
_MONTHS = ("JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC")
_LONGEST_MONTH = (0, 31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)

_ITEM = re.compile(r"(?P<first>\*|[0-9A-Z]+)(?:-(?P<last>[0-9A-Z]+))?(?:/(?P<step>[0-9A-Z]+))?")
_NUMBER = re.compile(r"[0-9]{1,9}")
_OTHER_DIALECTS = (
    (re.compile(r"\?"), "write * instead of ?"),
    (
        re.compile(r"L|LW|[0-9]+W|L-[0-9]+"),
        "last and working days are not supported: write days",
    ),
    (
        re.compile(r"([0-7]|[A-Z]{3})(L|#[0-9]+)"),
        "the n-th weekday of a month is not supported",
    ),
    (re.compile(r"H(\(.*\))?"), "H picks a time at random: write the time"),
)


@dataclass(frozen=True)
class Cron:
    """The wall-clock minutes that a cron text names. `weekdays` counts from Sunday, 0.

    `either_day`: a day fires when its date OR its weekday is named; otherwise both must be.
    `text` is the canonical text: single blanks, names in capitals, a preset as it was written.
    """

    text: str
    minutes: frozenset[int]
    hours: frozenset[int]
    days: frozenset[int]
    months: frozenset[int]
    weekdays: frozenset[int]
    either_day: bool

    @property
    def every_hour(self) -> bool:
        """Whether the hour field holds back nothing, so that each real hour fires."""
        return len(self.hours) == 24


@dataclass(frozen=True)
class _Field:
    name: str
    low: int
    high: int
    names: tuple[str, ...] = ()

    @property
    def span(self) -> str:
        named = f", or {self.names[0]}-{self.names[-1]}" if self.names else ""
        return f"{self.low}-{self.high}{named}"


_FIELDS = (
    _Field("minute", 0, 59),
    _Field("hour", 0, 23),
    _Field("day of month", 1, 31),
    _Field("month", 1, 12, _MONTHS),
    _Field("weekday", 0, 6, _WEEKDAYS),
)


def parse_cron(text: str) -> Cron:
    """The minutes that a cron text of five fields, or one of `PRESETS`, names.

    Raises ScheduleProblem naming the field and what to write, also for what never fires.
    """
    canonical = _preset(text) if text.strip().startswith("@") else " ".join(text.upper().split())
    parts = PRESETS.get(canonical, canonical).split()
    if len(parts) != len(_FIELDS):
        raise _wrong_count(text, parts)
    minutes, hours, days, months, weekdays = (
        _read_field(field, part, text) for field, part in zip(_FIELDS, parts, strict=True)
    )
    either_day = not parts[2].startswith("*") and not parts[4].startswith("*")
    cron = Cron(canonical, minutes, hours, days, months, frozenset(day % 7 for day in weekdays), either_day)
    _refuse_never(cron, text)
    return cron


def _preset(text: str) -> str:
    word = text.strip().lower()
    name = _ALIASES.get(word, word)
    if name in SPECIAL:
        raise ScheduleProblem(f"schedule {name} is no cron and stands alone", "write it as the schedule")
    if name not in PRESETS:
        known = (*PRESETS, *_ALIASES, *SPECIAL)
        raise ScheduleProblem(f"schedule: there is no preset {text.strip()!r}", nearest(word, known))
    return name


def _wrong_count(text: str, parts: list[str]) -> ScheduleProblem:
    fields = "minute hour day-of-month month weekday"
    if len(parts) in (6, 7):
        return ScheduleProblem(
            f"cron {text!r} has {len(parts)} fields, not 5: seconds and years are not supported",
            f"write {fields}; for less than a minute a duration such as 30s",
        )
    return ScheduleProblem(
        f"cron {text!r} has {len(parts)} field{'s' * (len(parts) != 1)}, not 5",
        f'write {fields}, as in "0 2 * * *" for 02:00 each day',
    )


def _read_field(field: _Field, part: str, text: str) -> frozenset[int]:
    try:
        return frozenset(value for item in part.split(",") for value in _read_item(field, item))
    except ScheduleProblem as problem:
        raise ScheduleProblem(
            f"cron {text!r}, {field.name} {part!r}: {problem.message}", problem.hint
        ) from None


def _read_item(field: _Field, item: str) -> range:
    match = _ITEM.fullmatch(item)
    if match is None or any(pattern.fullmatch(item) for pattern, _ in _OTHER_DIALECTS):
        raise _not_an_item(field, item)
    step = _read_step(field, match["step"])
    if match["first"] == "*":
        if match["last"]:
            raise ScheduleProblem(
                f"{item!r} is a range that starts with *", "write * or two values, as in 1-5"
            )
        return range(field.low, field.high + 1, step)
    first = _read_value(field, match["first"])
    if match["last"]:
        return range(first, _read_end(field, first, match["last"]) + 1, step)
    return range(first, max(first, field.high) + 1 if match["step"] else first + 1, step)


def _not_an_item(field: _Field, item: str) -> ScheduleProblem:
    if not item:
        return ScheduleProblem("an empty place in a list", "write values between the commas, as in 1,15")
    for pattern, hint in _OTHER_DIALECTS:
        if pattern.fullmatch(item):
            return ScheduleProblem(f"{item!r} is not part of cron", hint)
    return ScheduleProblem(
        f"{item!r} is not a value, range, step or list", f"write {field.span}, or as in *, 1-5, */2, 1,3"
    )


def _read_step(field: _Field, token: str | None) -> int:
    if token is None:
        return 1
    step = int(token) if _NUMBER.fullmatch(token) else 0
    if step < 1:
        raise ScheduleProblem(f"the step {token!r} is not a number from 1 up", "write it as in */2")
    if step > field.high - field.low:
        hint = f"write {field.low} for that one value"
        if field.name in ("minute", "hour"):
            hint += (
                f", or, for every {step} {field.name}s, the duration {step}{field.name[0]} as the schedule"
            )
        raise ScheduleProblem(f"the step {step} is longer than the field, {field.low}-{field.high}", hint)
    return step


def _read_end(field: _Field, first: int, token: str) -> int:
    last = _read_value(field, token)
    if last == 0 < first and field.names is _WEEKDAYS and not token.isdigit():
        last = 7  # FRI-SUN: cron counts Sunday as 7 too
    if last < first:
        up_to_the_end = f"{_range(first, field.high)}," if first <= field.high else ""
        hint = f"write {up_to_the_end}{_range(field.low, last)}"
        raise ScheduleProblem(f"the range ends ({token}) before it starts", hint)
    return last


def _range(first: int, last: int) -> str:
    return f"{first}-{last}" if first < last else str(first)


def _read_value(field: _Field, token: str) -> int:
    if _NUMBER.fullmatch(token):
        value = int(token)
        if field.low <= value <= field.high + (field.names is _WEEKDAYS):
            return value
        raise ScheduleProblem(f"{value} is out of range", f"write {field.span}")
    if token in field.names:
        return field.names.index(token) + field.low
    hint = nearest(token[:3] if token[:3] in field.names else token, field.names) or f"write {field.span}"
    raise ScheduleProblem(f"{token!r} is not a {field.name}", hint)


def _refuse_never(cron: Cron, text: str) -> None:
    """Every date that exists at all comes on every weekday in the end, so the date alone decides."""
    longest = max(_LONGEST_MONTH[month] for month in cron.months)
    if cron.either_day or min(cron.days) <= longest:
        return
    months = " or ".join(month_name[month] for month in sorted(cron.months))
    raise ScheduleProblem(
        f"cron {text!r} never fires: there is no day {min(cron.days)} in {months}",
        f"write a day of month from 1 to {28 if longest == 29 else longest}",
    )
