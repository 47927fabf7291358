"""What is known by name and does not work yet, and what other schedulers call by another name.

Refused rather than ignored, since ignoring it would change data or what the author sees.
"""

from __future__ import annotations

from collections.abc import Mapping

from orchestrator.sdk import ports

_CALLBACKS = ("on_failure_callback", "on_success_callback", "on_retry_callback", "on_execute_callback",
              "on_skipped_callback", "sla_miss_callback")  # fmt: skip
_MAIL = ("email", "email_on_failure", "email_on_retry")

FEATURES: Mapping[str, str] = {
    **dict.fromkeys(_CALLBACKS, "callbacks"),
    **dict.fromkeys(_MAIL, "mail"),
    "sla": "deadlines",
    "deadline": "deadlines",
    **ports.LATER,
    "splits": "splits",
    "materialise": "materialised edges",
    "map_over": "mapping over a list",
    "depends_on_past": "runs that wait for the one before",
    "wait_for_downstream": "runs that wait for the one before",
    "inlets": "assets",
    "outlets": "assets",
    "max_active_tis_per_dag": "limits of one node over all runs",
    "max_active_tis_per_dagrun": "limits of one node over a run",
    "user_defined_macros": "macros",
    "user_defined_filters": "macros",
    "fail_fast": "runs that end at the first failure",
    "is_paused_upon_creation": "DAGs that begin paused",
    "max_consecutive_failed_dag_runs": "DAGs that pause themselves",
}
"""Arguments of a DAG or node that come in a later release, and what each belongs to."""

RENAMED: Mapping[str, str] = {
    "schedule_interval": "schedule",
    "timetable": "schedule",
    "concurrency": "max_active_tasks",
    "dag_id": "id",
    "task_id": "id",
    "tasks": "nodes",
    "operator": "type",
    "depends_on": "after",
    "upstream": "from",
    "inputs": "from",
    "needs": "after",
    "timeout": "execution_timeout",
}
"""Arguments under the names of other schedulers and earlier releases of them, and ours."""

TYPES: Mapping[str, str] = {
    **dict.fromkeys(("http", "email", "sensor", "file_sensor"), "this action"),
    **dict.fromkeys(("join", "aggregate", "sort", "deduplicate", "limit", "union"), "this processor"),
    **dict.fromkeys(("jsonl", "arrow", "postgres", "mysql", "kafka"), "this system"),
}
"""Operator types that come in a later release, and what each belongs to."""

NAMES: Mapping[str, str] = {
    "dag": "the decorator form of a DAG",
    "Asset": "assets",
    "Dataset": "assets",
    "Variable": "variables from Python",
    "Client": "the client from Python",
}
"""Names that authors would import and that come in a later release."""


def refusal(what: str, feature: str) -> str:
    """The sentence that refuses something by name."""
    return f"{what} does not work yet: {feature} will come in a later release"


def argument_fault(name: str) -> tuple[str, str] | None:
    """Message and hint for an argument that is known by name only; None where it is unknown."""
    if name in FEATURES:
        return refusal(repr(name), FEATURES[name]), "remove it"
    if name in RENAMED:
        return f"unknown argument {name!r}", f"write {RENAMED[name]!r}"
    return None
