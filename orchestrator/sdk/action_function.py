"""Python functions as actions: `@action`, `@branch` and `@short_circuit`.

@action
def tell(context: Context, *, channel: str) -> dict[str, object]:
    rows = context.results["load"]["rows"]
    ...

@branch
def choose(context: Context) -> str:
    return "full" if context.params["full"] else "daily"

@short_circuit
def on_weekdays(context: Context) -> bool:
    return context.logical_date.weekday() < 5

load >> tell("tell", channel="#data")        # or just: load >> choose >> [full, daily]
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar, overload

from orchestrator.sdk.action import Branching
from orchestrator.sdk.decorated import DecoratedFunction, F, refuse, refuse_inner
from orchestrator.sdk.properties import Kind
from orchestrator.sdk.signature import action_signature_problem, arguments_model

if TYPE_CHECKING:
    from pydantic import BaseModel

    from orchestrator.sdk.python import PythonAction


@dataclass(frozen=True, eq=False)
class ActionFunction(DecoratedFunction[F]):
    """A decorated function that runs once; calling it makes a node."""

    kind: ClassVar[Kind] = Kind.ACTION

    branching: Branching | None = None

    @cached_property
    def written_arguments(self) -> type[BaseModel]:
        return arguments_model(self.function, templated=True)

    def __call__(self, id: str = "", /, **fields: Any) -> PythonAction:  # noqa: A002
        """A node that runs the function: its id first, then the function's and the node's arguments."""
        return self.make(id, fields)

    def make(self, node_id: str, fields: Mapping[str, Any]) -> PythonAction:
        from orchestrator.sdk.python import PythonAction

        return PythonAction(**self.given(node_id, fields))


@overload
def action(function: F, /) -> ActionFunction[F]: ...


@overload
def action(*, connections: Sequence[str] = ()) -> Callable[[F], ActionFunction[F]]: ...


def action(
    function: F | None = None, /, *, connections: Sequence[str] = ()
) -> ActionFunction[F] | Callable[[F], ActionFunction[F]]:
    """Make a module-level function an action.

    It takes keyword parameters, which become the node's arguments, and may take a leading `context`. What it
    returns is the node's result, JSON of at most 64 KiB; `sdk.action` says what else it may return.
    `connections`: the names that `context.connection` may ask for. Raises `UsageError` with the line where
    the function cannot be one.
    """
    return _decorated(function, None, connections)


@overload
def branch(function: F, /) -> ActionFunction[F]: ...


@overload
def branch(*, connections: Sequence[str] = ()) -> Callable[[F], ActionFunction[F]]: ...


def branch(
    function: F | None = None, /, *, connections: Sequence[str] = ()
) -> ActionFunction[F] | Callable[[F], ActionFunction[F]]:
    """Make a module-level function a branch: it returns which of the nodes that directly follow it go on.

    A node, an id, several of either, or None for none of them; the others are skipped. See `action`.
    """
    return _decorated(function, "branch", connections)


@overload
def short_circuit(function: F, /) -> ActionFunction[F]: ...


@overload
def short_circuit(
    *, ignore_downstream_trigger_rules: bool = True, connections: Sequence[str] = ()
) -> Callable[[F], ActionFunction[F]]: ...


def short_circuit(
    function: F | None = None,
    /,
    *,
    ignore_downstream_trigger_rules: bool = True,
    connections: Sequence[str] = (),
) -> ActionFunction[F] | Callable[[F], ActionFunction[F]]:
    """Make a module-level function a short-circuit: what follows goes on only where it returns truth.

    Otherwise all that comes after is skipped; with `ignore_downstream_trigger_rules=False` only what follows
    directly, and the trigger rules of the rest decide. See `action`.
    """
    all_below = ignore_downstream_trigger_rules
    return _decorated(function, "short_circuit" if all_below else "short_circuit_direct", connections)


def _decorated(
    function: F | None, branching: Branching | None, connections: Sequence[str]
) -> ActionFunction[F] | Callable[[F], ActionFunction[F]]:
    def decorate(function: F) -> ActionFunction[F]:
        _check(function)
        return ActionFunction(function, tuple(connections), branching=branching)

    return decorate(function) if function is not None else decorate


def _check(function: Any) -> None:
    """Refuse, with the line, what could not be found or called again."""
    name = getattr(function, "__name__", repr(function))
    if not inspect.isfunction(function):
        refuse(
            f"{name} is no function",
            "an action is a function; a class with `run` is an operator (sdk.action)",
        )
    refuse_inner(function)
    if inspect.iscoroutinefunction(function) or inspect.isasyncgenfunction(function):
        refuse(
            f"{name} is async, and an action runs in a thread of its own process",
            "call asyncio.run(...) in it",
        )
    if inspect.isgeneratorfunction(function):
        refuse(f"{name} yields, and an action runs once", "return its result")
    refuse(*action_signature_problem(function))
