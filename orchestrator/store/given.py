"""What a stage is given by name: results of the stages before it, variables."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection, select

from orchestrator.dag.stages import Stage, StageGraph
from orchestrator.errors import OperatorError
from orchestrator.runs.states import StageState
from orchestrator.store.tables import StageRun, table_of

stage_runs = table_of(StageRun)


def given_to(connection: Connection, run: int, graph: StageGraph, stage: str) -> dict[str, Any]:
    """The results that a stage uses, by node: of stages that it follows, however far, and that succeeded.

    Templates name theirs; a use without a name is that of code, which may read all. Nothing is read where
    nothing is used. Raises OperatorError where a template names a node whose stage did not succeed.
    """
    named = {member for name, member in graph[stage].uses if name == "results"}
    if not named:
        return {}
    stages = graph.above(stage) if "" in named else {graph.stage_of(node).id for node in named}
    if not stages:
        return {}
    query = select(stage_runs.c.stage, stage_runs.c.state, stage_runs.c.result).where(
        stage_runs.c.run == run, stage_runs.c.stage.in_(stages), stage_runs.c.state != StageState.REMOVED
    )
    states: dict[str, StageState] = {}
    found: dict[str, Any] = {}
    for row in connection.execute(query):
        states[row.stage] = row.state
        found |= row.result or {}
    for node in sorted(named - {""}):
        _refuse_unless_ended_well(stage, node, states.get(graph.stage_of(node).id, StageState.REMOVED))
        found.setdefault(node, None)
    return found


def stored_variables(connection: Connection, stage: Stage) -> dict[str, Any]:
    """The variables of the store that a stage's templates use; the environment's come before them."""
    named = [member for name, member in stage.uses if name == "var"]
    if not named:
        return {}
    from orchestrator.store import variables  # a table that most runs do not load

    return variables.read(connection, named)


def _refuse_unless_ended_well(stage: str, node: str, state: StageState) -> None:
    if state != StageState.SUCCESS:
        raise OperatorError(
            f"node {stage!r} uses the result of {node!r}, which has none: its stage is {state}",
            hint="with its trigger rule it runs all the same; an action in Python can look whether "
            f"{node!r} is in context.results",
            retry=False,
        )
