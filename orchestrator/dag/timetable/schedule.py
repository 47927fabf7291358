"""What an author may write as `schedule`, in Python, YAML or JSON, and the JSON stored of it.

Bare forms (`None`, cron text, a preset, a duration, a list of crons) and Airflow's timetables by
name. `read_schedule` takes each of them and its own JSON, so whatever is stored can be read again.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import Enum
from typing import Any, ClassVar, TypeAlias
from zoneinfo import ZoneInfo

from orchestrator.dag.timetable.cron import SPECIAL, Cron, parse_cron
from orchestrator.dag.timetable.problem import ScheduleProblem
from orchestrator.dag.timetable.rhythm import (
    Continuous,
    CronRhythm,
    DeltaRhythm,
    Never,
    Once,
    Rhythm,
    SeveralRhythms,
)
from orchestrator.dag.timetable.zone import instant_of, zone_of
from orchestrator.errors import nearest
from orchestrator.units import TooLong, format_duration, parse_duration

_NONE = timedelta(0)
_SECOND = timedelta(seconds=1)
_NUMBER = re.compile(r"[0-9]+(\.[0-9]+)?")
_HOW = 'write a cron such as "0 2 * * *", a preset such as "@daily", a duration such as 30m, or null for none'


class Covers(Enum):
    """Which data interval a run gets, and which of its ends is the logical date."""

    SINCE_LAST = "since_last"
    """From the previous fire time to this one; the logical date is the fire time."""
    INTERVAL = "interval"
    """From the previous fire time to this one; the logical date is its start."""
    FIXED = "fixed"
    """A fixed stretch that ends at the fire time; the logical date is its start."""


@dataclass(frozen=True)
class Schedule:
    """When a DAG fires, apart from its zone, start and end. Made by `read_schedule` or a subclass.

    `crons` or `delta` or `special` (`@once`, `@continuous`) is given; none of them: run by hand.
    `timezone` is the DAG's where None.
    """

    crons: tuple[Cron, ...] = ()
    delta: timedelta | None = None
    special: str = ""
    covers: Covers = Covers.SINCE_LAST
    interval: timedelta = field(default=_NONE)
    timezone: str | None = None

    type: ClassVar[str] = ""

    @property
    def fires(self) -> bool:
        """Whether it fires at all: False for `None`."""
        return bool(self.crons or self.delta or self.special)

    def document(self) -> Any:
        """Canonical JSON: null, a text, a list of texts, or an object with a `type` for a named one."""
        if not self.type:
            return self._bare_document()
        document: dict[str, Any] = {"type": self.type}
        if self.delta is not None:
            document["delta"] = format_duration(self.delta)
        elif self.type.startswith("multiple"):
            document["crons"] = [cron.text for cron in self.crons]
        else:
            document["cron"] = self.crons[0].text
        if self.timezone is not None:
            document["timezone"] = self.timezone
        if self.interval:
            document["interval"] = format_duration(self.interval)
        return document

    def _bare_document(self) -> Any:
        if self.delta is not None:
            return format_duration(self.delta)
        if len(self.crons) > 1:
            return [cron.text for cron in self.crons]
        return self.crons[0].text if self.crons else self.special or None

    def rhythm(self, zone: ZoneInfo, start: datetime | None) -> Rhythm:
        """The instants at which it fires in a zone; a duration counts from `start`, else from 1970.

        `@once` without `start` has none of its own: when it fires depends on who asks (`first_from`).
        """
        if self.special == "@once":
            return Once(start) if start else Never()
        if self.special:
            return Continuous()
        if self.delta is not None:
            return DeltaRhythm(start or instant_of(datetime(1970, 1, 1), zone), self.delta)  # noqa: DTZ001
        rhythms = tuple(CronRhythm(cron, zone) for cron in self.crons)
        return rhythms[0] if len(rhythms) == 1 else SeveralRhythms(rhythms) if rhythms else Never()


class CronTriggerTimetable(Schedule):
    """Fires when the cron does; each run covers `interval` up to its fire time (default: nothing)."""

    type = "cron_trigger"

    def __init__(
        self, cron: str, *, timezone: str | ZoneInfo | None = None, interval: timedelta | str = _NONE
    ) -> None:
        super().__init__(
            crons=_crons([cron]),
            covers=Covers.FIXED,
            interval=_interval(interval),
            timezone=_timezone(timezone),
        )


class MultipleCronTriggerTimetable(Schedule):
    """Fires when any of the crons does, once where several do; else as `CronTriggerTimetable`."""

    type = "multiple_cron_trigger"

    def __init__(
        self, *crons: str, timezone: str | ZoneInfo | None = None, interval: timedelta | str = _NONE
    ) -> None:
        super().__init__(
            crons=_crons(crons),
            covers=Covers.FIXED,
            interval=_interval(interval),
            timezone=_timezone(timezone),
        )


class CronDataIntervalTimetable(Schedule):
    """Each stretch between two times of the cron is a run, fired at its end, dated by its start."""

    type = "cron_data_interval"

    def __init__(self, cron: str, *, timezone: str | ZoneInfo | None = None) -> None:
        super().__init__(crons=_crons([cron]), covers=Covers.INTERVAL, timezone=_timezone(timezone))


class DeltaTriggerTimetable(Schedule):
    """Fires every `delta` from `start_date` on; each run covers `interval` up to its fire time."""

    type = "delta_trigger"

    def __init__(self, delta: timedelta | str, *, interval: timedelta | str = _NONE) -> None:
        super().__init__(delta=_delta(delta), covers=Covers.FIXED, interval=_interval(interval))


class DeltaDataIntervalTimetable(Schedule):
    """Each stretch of `delta` from `start_date` on is a run, fired at its end, dated by its start."""

    type = "delta_data_interval"

    def __init__(self, delta: timedelta | str) -> None:
        super().__init__(delta=_delta(delta), covers=Covers.INTERVAL)


ScheduleLike: TypeAlias = str | timedelta | list[str] | tuple[str, ...] | Mapping[str, Any] | Schedule | None

# What the object of each named type holds besides `type`; the first is required.
_NAMED: dict[str, tuple[type[Schedule], tuple[str, ...]]] = {
    "cron_trigger": (CronTriggerTimetable, ("cron", "timezone", "interval")),
    "multiple_cron_trigger": (MultipleCronTriggerTimetable, ("crons", "timezone", "interval")),
    "cron_data_interval": (CronDataIntervalTimetable, ("cron", "timezone")),
    "delta_trigger": (DeltaTriggerTimetable, ("delta", "interval")),
    "delta_data_interval": (DeltaDataIntervalTimetable, ("delta",)),
}
_DESCRIBED = {
    "cron": "Five fields: minute hour day-of-month month weekday; or a preset such as @daily.",
    "crons": "Several crons; it fires when any of them does.",
    "delta": "A duration such as 30m, counted from start_date.",
    "timezone": "An IANA name such as Europe/Paris; the DAG's where it is left out.",
    "interval": "The stretch, ending at the fire time, that a run covers.",
}


def read_schedule(value: object) -> Schedule:
    """The schedule that an author wrote, or that `Schedule.document` stored.

    Raises ScheduleProblem saying what is wrong, in which field, and what to write.
    """
    if value is None:
        return Schedule(covers=Covers.FIXED)
    if isinstance(value, Schedule):
        return value
    if isinstance(value, str):
        return _from_text(value)
    if isinstance(value, timedelta):
        return Schedule(delta=_delta(value))
    if isinstance(value, (list, tuple)):
        return Schedule(crons=_crons(value))
    if isinstance(value, Mapping):
        return _from_object(value)
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        raise ScheduleProblem(f"schedule {value!r} is a number without a unit", f"write {value}m or {value}s")
    raise ScheduleProblem(f"schedule {value!r} is a {type(value).__name__}, which is no schedule", _HOW)


def json_schema() -> dict[str, Any]:
    """The JSON Schema of a schedule in YAML and JSON; what a cron may say is checked by `read_schedule`."""
    text = {"type": "string", "minLength": 1}
    several = {"type": "array", "items": text, "minItems": 1}
    named = [
        {
            "type": "object",
            "description": (schedule.__doc__ or "").strip(),
            "properties": {
                "type": {"const": name},
                **{
                    key: {**(several if key == "crons" else text), "description": _DESCRIBED[key]}
                    for key in keys
                },
            },
            "required": ["type", keys[0]],
            "additionalProperties": False,
        }
        for name, (schedule, keys) in _NAMED.items()
    ]
    return {
        "description": "When the DAG fires: a cron, preset or duration, several crons, or a named timetable.",
        "anyOf": [{"type": "null"}, text, several, *named],
    }


def _from_text(text: str) -> Schedule:
    word = text.strip()
    if word.lower() in SPECIAL:
        return Schedule(special=word.lower(), covers=Covers.FIXED)
    if word.lower() in ("", "none", "null", "~"):
        hint = "write null, or None in Python, for a DAG that runs by hand"
        raise ScheduleProblem(f"schedule {text!r} is a text that names no time", hint)
    if _NUMBER.fullmatch(word):
        raise ScheduleProblem(f"schedule {text!r} is a number without a unit", f"write {word}m or {word}s")
    try:
        delta = parse_duration(word)
    except TooLong as error:
        raise _too_long(f"schedule {text!r}", error) from None
    except ValueError:
        return Schedule(crons=_crons([_looks_like_cron(text)]))
    return Schedule(delta=_delta(delta))


def _looks_like_cron(text: str) -> str:
    if text.strip().startswith("@") or len(text.split()) > 1:
        return text
    raise ScheduleProblem(f"schedule {text!r} is neither a cron, a preset nor a duration", _HOW)


def _from_object(value: Mapping[Any, Any]) -> Schedule:
    name = value.get("type")
    if not isinstance(name, str) or name not in _NAMED:
        what = f"type {name!r} is unknown" if "type" in value else "there is no type"
        raise ScheduleProblem(f"schedule: {what}", nearest(str(name), _NAMED))
    make, keys = _NAMED[name]
    given = {key: entry for key, entry in value.items() if key != "type"}
    for key in given:
        if key not in keys:
            raise ScheduleProblem(
                f"schedule of type {name}: there is no field {key!r}", nearest(str(key), keys)
            )
    if keys[0] not in given:
        raise ScheduleProblem(f"schedule of type {name}: {keys[0]!r} is missing", _DESCRIBED[keys[0]])
    first = given.pop(keys[0])
    arguments = _texts(first) if keys[0] == "crons" else [first]
    return make(*arguments, **given)


def _texts(value: object) -> list[Any]:
    if isinstance(value, (list, tuple)):
        return list(value)
    raise ScheduleProblem(f"schedule: crons {value!r} is not a list", 'write ["0 6 * * *", "0 18 * * *"]')


def _crons(texts: Sequence[object]) -> tuple[Cron, ...]:
    """The crons of some texts, each once."""
    if not texts:
        raise ScheduleProblem("schedule: the list of crons is empty", _HOW)
    crons: dict[str, Cron] = {}
    for text in texts:
        if not isinstance(text, str):
            raise ScheduleProblem(f"schedule: {text!r} is not a cron text", 'write it as in "0 2 * * *"')
        cron = parse_cron(text)
        crons[cron.text] = cron
    return tuple(crons.values())


def _delta(value: object) -> timedelta:
    delta = _duration("delta", value)
    if delta < _SECOND:
        raise ScheduleProblem(
            f"schedule: every {format_duration(delta)} is more often than each second",
            'write 1s or more, or "@continuous" to start again as soon as a run has ended',
        )
    return delta


def _interval(value: object) -> timedelta:
    return _duration("interval", value)


def _duration(name: str, value: object) -> timedelta:
    if isinstance(value, (str, timedelta)):
        try:
            return parse_duration(value)
        except TooLong as error:
            raise _too_long(f"schedule: {name} {value!r}", error) from None
        except ValueError:
            pass
    raise ScheduleProblem(f"schedule: {name} {value!r} is not a duration", "write it as in 30s, 5m, 2h or 1d")


def _too_long(what: str, error: TooLong) -> ScheduleProblem:
    said, _, hint = str(error).partition(": ")
    return ScheduleProblem(f"{what} is {said}", hint)


def _timezone(value: str | ZoneInfo | None) -> str | None:
    return None if value is None else zone_of(value).key
