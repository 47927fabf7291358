"""Settings of a DAG that `fustgo run` has no use for: those of the services, and what nobody uses yet."""

from __future__ import annotations

from collections.abc import Iterator

from orchestrator.dag.model import Dag

_HEADER = (
    "schedule",
    "start_date",
    "end_date",
    "catchup",
    "max_active_runs",
    "max_active_tasks",
    "dagrun_timeout",
)
_QUEUE = "queue"
_ENGINE = ("mode", "chain", "buffer", "samples")
_ARGUMENTS = (_QUEUE, "rate_limit", "readers")


def unused_settings(dag: Dag) -> list[str]:
    """What the author wrote and the command does not use: `schedule`, `settings.mode`, `people.queue`."""
    return list(_found(dag))


def is_of_services(name: str) -> bool:
    """Whether the services heed what `unused_settings` has named."""
    return name in _HEADER or name.endswith(f".{_QUEUE}")


def _found(dag: Dag) -> Iterator[str]:
    document = dag.to_document()
    yield from (name for name in _HEADER if name in document)
    yield from (f"settings.{name}" for name in _ENGINE if name in document.get("settings", {}))
    yield from unused_arguments(dag)


def unused_arguments(dag: Dag) -> Iterator[str]:
    """Those of them that are arguments of nodes: a run here differs by them from one of the services."""
    yield from (f"default_args.{name}" for name in _ARGUMENTS if name in dag.default_args)
    for node in dag.nodes:
        yield from (f"{node.id}.{name}" for name in _ARGUMENTS if name in node.arguments)
