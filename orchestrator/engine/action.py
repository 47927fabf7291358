"""An attempt of an action: render, call, and say how it ended.

A warm runner executes thousands of these: nothing of rows is imported here, no definition is parsed, and an
operator without templates is built once.
"""

from __future__ import annotations

import json
import logging
import os
import traceback
from collections.abc import Callable, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

from orchestrator.clock import Clock
from orchestrator.engine.boundary import NodeFailed, end_of_a_fork, interrupts, words_of
from orchestrator.engine.signals import Signals
from orchestrator.errors import AttemptLost, FustgoError, OperatorError, nearest
from orchestrator.runs.order import Order
from orchestrator.runs.report import Report
from orchestrator.runs.states import Outcome
from orchestrator.sdk.action import Action, ActionRuntime, Snooze, split_returned
from orchestrator.sdk.connection import Connection
from orchestrator.sdk.context import Context
from orchestrator.sdk.decorated import functions_of
from orchestrator.sdk.operator import Operator
from orchestrator.sdk.properties import Kind
from orchestrator.sdk.registry import Registry
from orchestrator.sdk.rendering import build, template_texts
from orchestrator.sdk.template import revive

ASK_SECONDS = 0.2


def entry_of(order: Order) -> Mapping[str, Any] | None:
    """An order's action, as the document has it; None where the stage moves data."""
    if len(order.nodes) != 1:
        return None
    entry = next(entry for entry in order.document["nodes"] if entry["id"] == order.nodes[0])
    return entry if entry["kind"] == Kind.ACTION else None


def run_action(
    order: Order,
    entry: Mapping[str, Any],
    registry: Registry,
    clock: Clock,
    signals: Signals,
    ask: Callable[[], None],
) -> Report:
    """Run the one node of an order; `NodeFailed` carries what it raised.

    An attempt that may only apply, or give up, an epoch has nothing to do: an action has none. `ask` looks
    whether somebody wants the attempt to stop; it is called now and then while the action looks.
    """
    if order.only is not None:
        return Report(Outcome.SUCCESS)
    node = order.nodes[0]
    asking, pid = _Asking(clock, signals, ask), os.getpid()
    try:
        with functions_of(Path(order.tree) if order.tree else None):
            names = revive(order.names)
            action = _operator(order, entry, registry, names)
            said: list[Any] = []
            context = _context(order, node, names, action, asking, said.append)
            returned = _called(action, context)
            returned = said[-1] if returned is None and said else returned
            return _report(order, action, returned, clock)
    except AttemptLost:
        raise
    except BaseException as error:
        if interrupts(error):
            raise
        if signals.cancelled:
            return Report(Outcome.CANCELLED, "cancelled", exit_code=130)
        raise _failed(node, error) from error
    finally:
        end_of_a_fork(pid, node)


def _failed(node: str, error: BaseException) -> NodeFailed:
    if not isinstance(error, FustgoError):
        message = f"node {node!r}: {words_of(error)}"
        return NodeFailed(node, message, hint=user_traceback(error), retry=True)
    named = error.message if error.message.startswith(f"node {node!r}") else f"node {node!r}: {error.message}"
    return NodeFailed(node, named, hint=error.hint, retry=getattr(error, "retry", True))


class _Asking:
    """Whether the attempt shall stop: asks at most every so often."""

    def __init__(self, clock: Clock, signals: Signals, ask: Callable[[], None]) -> None:
        self._clock, self._signals, self._ask = clock, signals, ask
        self._asked_at = clock.monotonic()

    def __call__(self) -> bool:
        now = self._clock.monotonic()
        if not self._signals.cancelled and now - self._asked_at >= ASK_SECONDS:
            self._asked_at = now
            self._ask()
        return self._signals.cancelled


def _operator(order: Order, entry: Mapping[str, Any], registry: Registry, names: Mapping[str, Any]) -> Action:
    cls = registry.find(entry["type"], Kind.ACTION)
    config = entry.get("config", {})
    if next(template_texts(cls, config), None) is not None:
        made = build(cls, entry["id"], config, names)
    else:
        made = _built(cls, order.tree, entry["id"], json.dumps(config))
    assert isinstance(made, Action)
    return made


@lru_cache(maxsize=4096)
def _built(cls: type[Operator], tree: str, node: str, config: str) -> Operator:
    """An operator without templates, by the tree that its function is from."""
    return build(cls, node, json.loads(config), {})


def _context(
    order: Order,
    node: str,
    names: Mapping[str, Any],
    action: Action,
    is_cancelled: Callable[[], bool],
    on_result: Callable[[Any], None],
) -> Context:
    wanted = action.connection_names()
    return Context(
        node=node,
        project=Path(order.project),
        log=logging.getLogger(f"fustgo.node.{node}"),
        state_folder=Path(order.artifacts),
        tree=Path(order.tree) if order.tree else None,
        names=names,
        connections={name: Connection.model_validate(order.connections[name]) for name in wanted},
        on_result=on_result,
        is_cancelled=is_cancelled,
    )


def _called(action: Action, context: Context) -> Any:
    runtime: ActionRuntime | Action = action if type(action).open is Action.open else action.open(context)
    try:
        return runtime.run(context)
    finally:
        if isinstance(runtime, ActionRuntime):
            runtime.close()


def _report(order: Order, action: Action, returned: Any, clock: Clock) -> Report:
    node = order.nodes[0]
    if isinstance(returned, Snooze):
        if action.branching is not None:
            raise OperatorError(
                f"a {action.branching} cannot snooze",
                hint="snooze in an action before it",
                retry=False,
            )
        return Report(Outcome.SNOOZED, until=returned.due(clock.now()))
    if action.branching == "branch":
        return Report(Outcome.SUCCESS, results={node: chosen(order, returned)})
    if action.branching is not None:
        return Report(Outcome.SUCCESS, results={node: bool(returned)})
    result, effects = split_returned(returned)
    return Report(Outcome.SUCCESS, results={} if result is None else {node: result}, effects=effects)


def chosen(order: Order, returned: Any) -> list[str]:
    """The stages that a branch chose, as it returned them: nodes, ids, several of either, or None.

    In a group the last part of an id will do where it names one of them. `OperatorError` names the nodes
    that may be chosen.
    """
    several = returned if isinstance(returned, (list, tuple, set, frozenset)) else [returned]
    wanted = [entry for entry in several if entry is not None]
    stages = [_stage_of(order, entry) for entry in wanted]
    return [stage for index, stage in enumerate(stages) if stage not in stages[:index]]


def _stage_of(order: Order, entry: Any) -> str:
    name = entry if isinstance(entry, str) else getattr(entry, "id", None) or getattr(entry, "name", None)
    if isinstance(name, str) and name in order.branches:
        return order.branches[name]
    ending = {stage for node, stage in order.branches.items() if node.endswith(f"/{name}")}
    if isinstance(name, str) and len(ending) == 1:
        return ending.pop()
    what = repr(name) if isinstance(name, str) else f"{type(entry).__name__} {entry!r}"
    raise OperatorError(
        f"it chose {what}, which does not directly follow it",
        hint=nearest(str(name), order.branches)
        if len(order.branches) > 12
        else f"it may choose: {', '.join(order.branches)}",
        retry=False,
    )


def user_traceback(error: BaseException) -> str:
    """The traceback of an author's code: without our frames, and without a library's but the last.

    A frame of code that was made at run time (a dataclass's `__init__`) has no line that could be shown.
    """
    house = Path(__file__).parents[2]
    ours = (str(house / "orchestrator") + "/", str(house / "operators") + "/")
    frames = [
        frame
        for frame in traceback.extract_tb(error.__traceback__)
        if not frame.filename.startswith((*ours, "<string>"))
    ]
    theirs = [f for f in frames if "site-packages" not in f.filename and not f.filename.startswith("<")]
    shown = theirs + [frame for frame in frames[-1:] if frame not in theirs]
    lines = [f"{frame.filename}:{frame.lineno} in {frame.name}: {frame.line or ''}" for frame in shown]
    return "\n    ".join(["raised at", *lines]) if len(lines) > 1 else f"raised at {''.join(lines)}"
