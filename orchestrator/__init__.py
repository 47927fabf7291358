"""What DAG files import: `from orchestrator import DAG, TaskGroup, action, branch, chain, processor`.

The names are loaded when they are asked for, so that importing the package costs nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from orchestrator.dag.builder import DAG as DAG
    from orchestrator.dag.builder import TaskGroup as TaskGroup
    from orchestrator.dag.params import Param as Param
    from orchestrator.dag.timetable import CronDataIntervalTimetable as CronDataIntervalTimetable
    from orchestrator.dag.timetable import CronTriggerTimetable as CronTriggerTimetable
    from orchestrator.dag.timetable import DeltaDataIntervalTimetable as DeltaDataIntervalTimetable
    from orchestrator.dag.timetable import DeltaTriggerTimetable as DeltaTriggerTimetable
    from orchestrator.dag.timetable import MultipleCronTriggerTimetable as MultipleCronTriggerTimetable
    from orchestrator.sdk.action import Result as Result
    from orchestrator.sdk.action import SetVariable as SetVariable
    from orchestrator.sdk.action import Snooze as Snooze
    from orchestrator.sdk.action import TriggerRun as TriggerRun
    from orchestrator.sdk.action_function import action as action
    from orchestrator.sdk.action_function import branch as branch
    from orchestrator.sdk.action_function import short_circuit as short_circuit
    from orchestrator.sdk.context import Context as Context
    from orchestrator.sdk.function import processor as processor
    from orchestrator.sdk.operator import ErrorLimit as ErrorLimit
    from orchestrator.sdk.operator import RateLimit as RateLimit
    from orchestrator.sdk.ports import chain as chain

_HOMES = {
    "DAG": "orchestrator.dag.builder",
    "TaskGroup": "orchestrator.dag.builder",
    "Param": "orchestrator.dag.params",
    "CronDataIntervalTimetable": "orchestrator.dag.timetable",
    "CronTriggerTimetable": "orchestrator.dag.timetable",
    "DeltaDataIntervalTimetable": "orchestrator.dag.timetable",
    "DeltaTriggerTimetable": "orchestrator.dag.timetable",
    "MultipleCronTriggerTimetable": "orchestrator.dag.timetable",
    "Context": "orchestrator.sdk.context",
    "Result": "orchestrator.sdk.action",
    "SetVariable": "orchestrator.sdk.action",
    "Snooze": "orchestrator.sdk.action",
    "TriggerRun": "orchestrator.sdk.action",
    "action": "orchestrator.sdk.action_function",
    "branch": "orchestrator.sdk.action_function",
    "processor": "orchestrator.sdk.function",
    "short_circuit": "orchestrator.sdk.action_function",
    "ErrorLimit": "orchestrator.sdk.operator",
    "RateLimit": "orchestrator.sdk.operator",
    "chain": "orchestrator.sdk.ports",
}


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        from importlib import import_module

        globals()[name] = found = getattr(import_module(_HOMES[name]), name)
        return found
    if not name.startswith("_"):
        from orchestrator.dag.later import NAMES, refusal

        if name in NAMES:
            raise ImportError(refusal(f"{name!r} of orchestrator", NAMES[name]))
    raise AttributeError(f"module 'orchestrator' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOMES})
