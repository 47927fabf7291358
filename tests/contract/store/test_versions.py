"""A run that goes on, or starts over, with another version of its DAG."""

from __future__ import annotations

import pytest

from orchestrator.dag.stages import Stage, StageGraph
from orchestrator.errors import RefusedError
from orchestrator.runs.states import Outcome, RunState
from orchestrator.store import steps, views
from orchestrator.store.database import Database
from orchestrator.store.tables import Run
from tests.support.store import Command, clear, graph, resume, version_of

CHAIN = graph({"a": "", "b": "a", "c": "b"})


def test_a_run_goes_on_with_a_version_whose_nodes_fit(
    killed: Command, command: Command, database: Database
) -> None:
    run = killed.start(CHAIN)
    killed.run_to_end({"b": Outcome.FAILED})
    changed = version_of(database, CHAIN, b={"config": {"rows": 5}})
    assert resume(database, run, command, version=changed).version == changed.id
    rows = command.stages(run.number)
    assert rows["a"].version == run.version  # what it ran
    assert command.must_claim("b").version == changed.id


def test_a_run_does_not_go_on_with_a_version_that_does_not_fit_and_nothing_changes(
    killed: Command, command: Command, database: Database
) -> None:
    run = killed.start(CHAIN)
    killed.run_to_end({"b": Outcome.FAILED})
    before = command.states(run.number)
    changed = version_of(database, CHAIN, b={"state_version": 2})
    with pytest.raises(RefusedError, match="its state_version was 0, it is 2") as caught:
        resume(database, run, command, version=changed)
    assert f"--clear {run.number}" in caught.value.hint
    assert (command.states(run.number), command.run(run.number).version) == (before, run.version)


def test_a_run_of_another_shape_can_only_be_cleared(
    killed: Command, command: Command, database: Database
) -> None:
    run = killed.start(CHAIN)
    killed.run_to_end()
    other = version_of(database, graph({"b": "", "a": "b", "fresh": "a"}))
    clear(database, run, command, version=other)
    assert shown(database, run) == {"a": "none", "b": "queued", "c": "removed", "fresh": "none"}
    assert command.run_to_end() == ["b", "a", "fresh"]
    assert command.run(run.number).state == RunState.SUCCESS
    back = version_of(database, CHAIN, a={"config": {"again": True}})
    clear(database, run, command, version=back)
    assert command.run_to_end() == ["a", "b", "c"]
    assert shown(database, run) == {"a": "success", "b": "success", "c": "success", "fresh": "removed"}


def shown(database: Database, run: Run) -> dict[str, str]:
    with database.read() as connection:
        return {
            stage.stage_run.stage: stage.stage_run.state for stage in views.show_run(connection, run).stages
        }


def joined(**stages: str) -> StageGraph:
    """Stages without edges, each of several nodes."""
    return StageGraph({name: Stage(name, tuple(nodes)) for name, nodes in stages.items()})


def test_nodes_that_came_into_another_stage_count_their_epochs_on(
    killed: Command, command: Command, database: Database
) -> None:
    """The target knows the writer by its node: an epoch that it holds already would be skipped there."""
    run = killed.start(joined(a="ao"))
    attempt = killed.must_claim("a").attempt
    killed.whole_epoch(attempt, 1)
    killed.whole_epoch(attempt, 2, final=True)
    killed.finish(attempt)
    clear(database, run, command, version=version_of(database, joined(a="afo")))
    claimed = command.must_claim("a")
    assert (claimed.base, claimed.stage_run.nodes) == (2, ["a", "f", "o"])
    assert steps.opened(database, claimed.attempt).highest == 2
    command.whole_epoch(claimed.attempt, 3, final=True)
    command.finish(claimed.attempt)
    clear(database, run, command, version=version_of(database, joined(a="ao"), a={"config": {"x": 1}}))
    claimed = command.must_claim("a")
    assert (claimed.base, claimed.stage_run.nodes) == (3, ["a", "o"])


def test_stages_that_swap_their_names_keep_what_they_did(
    killed: Command, command: Command, database: Database
) -> None:
    run = killed.start(joined(a="ab", c="cd"))
    killed.whole_epoch(killed.must_claim("a").attempt, 1, final=True)
    clear_of_names = version_of(database, joined(c="ba", a="dc"))
    clear(database, run, command, version=clear_of_names)
    rows = command.stages(run.number)
    assert (rows["c"].nodes, rows["c"].base) == (["b", "a"], 1)
    assert (rows["a"].nodes, rows["a"].base) == (["d", "c"], 0)


def test_a_run_does_not_go_on_where_a_stage_that_ran_joins_other_nodes(
    killed: Command, command: Command, database: Database
) -> None:
    run = killed.start(joined(a="ax", b="by"))
    killed.run_to_end({"a": Outcome.FAILED})
    with pytest.raises(RefusedError, match="stage a, which has run, joins other nodes now"):
        resume(database, run, command, version=version_of(database, joined(a="ay", b="bx")))
