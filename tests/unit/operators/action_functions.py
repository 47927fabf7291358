"""Functions at module level, for the tests of actions."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Any

from pydantic import Field

from orchestrator import Context, Result, SetVariable, Snooze, TriggerRun, action, branch, short_circuit


@action
def told(context: Context, *, channel: str, times: Annotated[int, Field(ge=1)] = 1) -> Any:
    return {
        "to": channel,
        "times": times,
        "rows": context.results["load"]["rows"],
        "day": context.params["day"],
    }


@action(connections=["crm"])
def connected(context: Context) -> Any:
    return context.connection("crm").host


@action
def nothing() -> None:
    """Does nothing."""


@action
def returning(*, what: str) -> Any:
    return {
        "tuple": (1, 2),
        "effects": Result(
            {"rows": 3}, SetVariable("last", "2026-01-31"), TriggerRun("report", {"n": 1}, run_id="mine")
        ),
        "alone": SetVariable("last", None),
        "dated": TriggerRun("report", logical_date="2026-01-31T00:00:00+00:00"),
        "no date": TriggerRun("report", logical_date="Monday"),
        "naive": TriggerRun("report", logical_date="2026-01-31"),
        "object": object(),
        "nan": float("nan"),
        "large": "x" * 70_000,
        "no effect": Result(1, "effect"),  # type: ignore[arg-type]
        "snooze": Snooze(seconds=90),
        "until": Snooze(until=datetime(2026, 2, 1, tzinfo=UTC)),
    }[what]


@action
def looking_back() -> Any:
    return Snooze(seconds=-5)


@action
def failing(context: Context) -> Any:
    return _inner(context.params)


def _inner(params: Any) -> Any:
    raise ValueError(f"no rows on {params['day']}")


@action
def said(context: Context) -> None:
    context.result({"said": 1})


@branch
def chosen(*, what: Any) -> Any:
    return nothing if what == "function" else nothing("full") if what == "node" else what


@branch
def asleep() -> Any:
    return Snooze(seconds=1)


@short_circuit
def goes_on(*, value: Any) -> Any:
    return value


@short_circuit(ignore_downstream_trigger_rules=False)
def only_next() -> bool:
    return False
