"""From the nodes that people name to the stages that verbs act on."""

from __future__ import annotations

from collections.abc import Collection

from sqlalchemy import Connection

from orchestrator.dag.stages import StageGraph
from orchestrator.errors import RefusedError, UsageError, nearest
from orchestrator.runs.effects import Named
from orchestrator.runs.states import RunState
from orchestrator.store import stage_runs
from orchestrator.store.dags import graph_of
from orchestrator.store.tables import Run, StageRun


def stages_of(graph: StageGraph, run: Run, nodes: Collection[str]) -> dict[str, Named]:
    """The stages that hold these nodes, by their ids; raises UsageError for a node that is not there."""
    found = {}
    for node in nodes:
        try:
            stage = graph.stage_of(node)
        except KeyError:
            known = [name for other in graph for name in other.nodes]
            raise UsageError(f"run {run.number} has no node {node!r}", hint=nearest(node, known)) from None
        found[stage.id] = Named(node, stage.id, tuple(stage.nodes))
    return found


def above(graph: StageGraph, stages: Collection[str]) -> set[str]:
    """All stages that come before any of these, however far."""
    found: set[str] = set()
    waiting = list(stages)
    while waiting:
        fresh = set(graph[waiting.pop()].up) - found
        found |= fresh
        waiting += fresh
    return found


def stage_named(connection: Connection, run: Run, node: str) -> tuple[Named, StageRun]:
    """The stage run that holds a node; raises UsageError for a node that is not there."""
    (named,) = stages_of(graph_of(connection, run.version), run, [node]).values()
    return named, stage_runs.named(connection, run.number, named.stage)


def refuse_cancelling(run: Run, verb: str) -> None:
    """Raise RefusedError for a run that ends just now: nothing new may start in it (rule 8.9)."""
    if run.state == RunState.RUNNING and run.cancel_cause is not None:
        raise RefusedError(
            f"run {run.number} is being cancelled: nothing new starts in it",
            hint=f"{verb} it when its last attempt has ended",
        )
