"""Actions: nodes without data ports, which do one thing and may say what it gave.

    @operator("ping")
    class Ping(Action):
        '''Ask a service whether it is there.'''
        url: Templated[str] = Field(description="The address.")

        def run(self, context: Context) -> object:
            return {"status": status_of(self.url)}

What `run` returns is the node's result, JSON of at most 64 KiB. Effects change the store together with
the success of the action, or not at all: `return Result(rows, SetVariable("last_day", day))`; one may
stand alone, without a result. A sensor that does not see yet what it waits for returns `Snooze(seconds=60)`.
"""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, ClassVar, Literal, TypeAlias

from orchestrator.errors import OperatorError
from orchestrator.kept import MAX_RESULT, VARIABLE_KEY, instant, unkeepable
from orchestrator.sdk.operator import Operator
from orchestrator.sdk.properties import Kind

if TYPE_CHECKING:
    from orchestrator.sdk.context import Context

Json: TypeAlias = Any
Branching: TypeAlias = Literal["branch", "short_circuit", "short_circuit_direct"]


@dataclass(frozen=True)
class TriggerRun:
    """Start a run of another DAG: `return TriggerRun("report", params={"day": "2026-01-31"})`.

    It is made once a triggering run and node (or once a `run_id`), whatever is tried again, and is not
    waited for. `logical_date` needs a zone.
    """

    dag_id: str
    params: Mapping[str, Json] = field(default_factory=dict)
    logical_date: datetime | str | None = None
    run_id: str | None = None

    def to_json(self) -> dict[str, Json]:
        """As a report carries it; ValueError where its date is none."""
        return {
            "effect": "trigger_run",
            "dag_id": self.dag_id,
            "params": dict(self.params),
            "logical_date": None if self.logical_date is None else _instant(self.logical_date).isoformat(),
            "run_id": self.run_id,
        }


@dataclass(frozen=True)
class SetVariable:
    """Set the variable that templates read as `var.KEY`; a key is at most 250 letters, digits, `_ . -`."""

    key: str
    value: Json

    def to_json(self) -> dict[str, Json]:
        """As a report carries it; ValueError where its key is none."""
        if not VARIABLE_KEY.fullmatch(str(self.key)):
            raise ValueError(f"{self.key!r} is no key: letters, digits and _ . -, at most 250")
        return {"effect": "set_variable", "key": self.key, "value": self.value}


Effect: TypeAlias = TriggerRun | SetVariable


class Result:
    """A result and what is to be done with it: `Result({"rows": 3}, SetVariable("rows", 3))`."""

    def __init__(self, value: Json = None, *effects: Effect) -> None:
        self.value, self.effects = value, effects


@dataclass(frozen=True)
class Snooze:
    """Not yet: look again at `until`, or after `seconds`; a second passes in any case. It costs no try, and
    no slot meanwhile.
    """

    until: datetime | None = None
    seconds: float | None = None

    def __post_init__(self) -> None:
        if (self.until is None) == (self.seconds is None):
            raise ValueError("say one of them: Snooze(seconds=60) or Snooze(until=moment)")
        if self.until is not None and self.until.tzinfo is None:
            raise ValueError(f"Snooze(until={self.until}) has no time zone: write datetime.now(UTC) + ...")
        if self.until is not None:
            instant(self.until)
        if self.seconds is not None and not 0 <= self.seconds < 10**9:
            raise ValueError(f"Snooze(seconds={self.seconds}) is no time to wait")

    def due(self, now: datetime) -> datetime:
        """When to look again."""
        return self.until if self.until is not None else now + timedelta(seconds=self.seconds or 0)


class ActionRuntime(ABC):
    """An action at work."""

    @abstractmethod
    def run(self, context: Context) -> Any:
        """Do it. JSON, an effect, a `Result` with both, a `Snooze`, or None."""

    def close(self) -> None:
        """Let go of everything; called once, whatever happened."""


class Action(Operator):
    """Does one thing, between stages that move data. A stage of its own; it follows others and is followed.

    `branching`: its return chooses among the nodes that follow it. An operator that needs more than one
    method at run time builds its runtime object in `open`. `wants_results`: `run` reads `context.results`.
    """

    kind: ClassVar[Kind] = Kind.ACTION
    branching: ClassVar[Branching | None] = None
    wants_results: ClassVar[bool] = False

    def run(self, context: Context) -> Any:
        """The verb; see `ActionRuntime.run`."""
        raise NotImplementedError(f"{type(self).__name__} defines neither run nor open")

    def open(self, context: Context) -> ActionRuntime:
        """The runtime object; the default serves operators that define `run` themselves."""
        return _Plain(self)


class _Plain(ActionRuntime):
    """Serves an operator that defines `run` itself."""

    def __init__(self, action: Action) -> None:
        self.run = action.run  # type: ignore[method-assign]

    def run(self, context: Context) -> Any:  # pragma: no cover  # each object has the action's own
        raise NotImplementedError


def split_returned(returned: Any) -> tuple[Json, tuple[Json, ...]]:
    """Result and effects, as JSON, of what an action returned; `OperatorError` says what cannot be."""
    if isinstance(returned, (TriggerRun, SetVariable)):
        returned = Result(None, returned)
    result, effects = (returned.value, returned.effects) if isinstance(returned, Result) else (returned, ())
    return as_json(result, "result"), tuple(_effect_json(effect) for effect in effects)


def _effect_json(effect: Any) -> Json:
    if not isinstance(effect, (TriggerRun, SetVariable)):
        raise _refused(
            f"it returned {type(effect).__name__} as an effect", "TriggerRun or SetVariable are effects"
        )
    try:
        return as_json(effect.to_json(), type(effect).__name__)
    except ValueError as error:
        raise _refused(f"its {type(effect).__name__} cannot be: {error}", "") from None


def as_json(value: Json, what: str) -> Json:
    """The value as it reads back from JSON; `OperatorError` where it is none, or too large to be kept."""
    if value is None or value is True or value is False:
        return value
    try:
        text = json.dumps(value, allow_nan=False)
    except (TypeError, ValueError, RecursionError) as error:
        hint = "return texts, numbers, booleans, lists and dicts of them"
        raise _refused(f"its {what} is no JSON: {error}", hint) from None
    if (size := len(text.encode())) > MAX_RESULT:
        hint = "write it to a file and return its path"
        raise _refused(f"its {what} has {size:,} bytes; at most {MAX_RESULT:,} are kept", hint)
    if broken := unkeepable(read := json.loads(text)):
        hint = "texts of UTF-8 without NUL are kept; bytes go there as base64 or hex"
        raise _refused(f"its {what} holds {broken}, which no database keeps", hint)
    return read


def _refused(what: str, hint: str) -> OperatorError:
    return OperatorError(what, hint=hint, retry=False)


def _instant(value: datetime | str) -> datetime:
    moment = datetime.fromisoformat(value) if isinstance(value, str) else value
    instant(moment)
    return moment
