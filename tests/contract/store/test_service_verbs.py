"""Verbs on runs of the services that start, end and go on with work: what each does, refuses, and says."""

from __future__ import annotations

from datetime import datetime

import pytest

from orchestrator.errors import FustgoError, RefusedError, UsageError
from orchestrator.runs.effects import RowsAgain
from orchestrator.runs.states import Outcome, RunState
from orchestrator.store import epochs, steps
from tests.support.services import Service, staged
from tests.support.store import graph

CHAIN = graph({"a": "", "b": "a", "c": "b"})
NODES = {"load": ("people", "out")}
EDGES = {"load": "", "tell": ["load"]}
LOAD = staged(EDGES, NODES)


# trigger


def test_stages_of_a_new_run_are_counted_and_an_empty_note_is_told_as_removed(service: Service) -> None:
    service.load(graph({"a": "", "b": "a"}))
    done = service.client.trigger("people", note="first")
    assert done.effects.lines()[1:] == ["2 stages"]
    assert service.client.note(str(done.run.number), "").effects.lines() == [
        f"run {done.run.number}: its note is removed"
    ]


def test_a_trigger_with_the_same_run_id_or_key_is_the_same_run(service: Service) -> None:
    service.load(CHAIN, header={"params": {"day": {"type": "integer", "default": 1}}})
    first = service.client.trigger("people", run_id="mine", params={"day": "3"}, note="once")
    again = service.client.trigger("people", run_id="mine", params={"day": 3})
    assert (first.run.number, first.run.params, first.run.note) == (again.run.number, {"day": 3}, "once")
    assert again.effects.lines() == [f"run {again.run.number} is there already: {again.run.run_id}"]
    keyed = service.client.trigger("people", key="message 7")
    assert service.client.trigger("people", key="message 7").run.number == keyed.run.number
    with pytest.raises(RefusedError, match="other values of day"):
        service.client.trigger("people", run_id="mine", params={"day": 4})
    with pytest.raises(RefusedError, match="another key or run id"):
        service.client.trigger("people", run_id="mine", key="message 8", params={"day": 3})
    for reserved in ("scheduled__2026-01-01T00:00:00+00:00", "backfill__x"):
        with pytest.raises(UsageError, match="is for runs that are so made"):
            service.client.trigger("people", run_id=reserved, params={"day": 3})
    with pytest.raises(RefusedError, match="logical date"):
        service.client.trigger("people", key="message 7", logical_date="2020-01-01")
    assert [run.number for run, _ in service.client.list_runs()] == [keyed.run.number, first.run.number]


def test_a_trigger_checks_the_dag_and_its_params_first(service: Service) -> None:
    with pytest.raises(UsageError, match="no DAG 'people'"):
        service.client.trigger("people")
    service.load(CHAIN)
    with pytest.raises(UsageError, match="no DAG 'peopel'") as error:
        service.client.trigger("peopel")
    assert "people" in error.value.hint
    with pytest.raises(FustgoError, match="has no param 'day'"):
        service.client.trigger("people", params={"day": 1})
    for early in ("0001-01-01T00:00:00+14:00", datetime.min):  # noqa: DTZ901
        with pytest.raises(UsageError, match="logical date 0001-01-01.* is outside the years 2 to 9998"):
            service.client.trigger("people", logical_date=early)
    assert service.client.list_runs() == []


def test_a_triggered_run_is_promoted_at_once_where_there_is_room(service: Service) -> None:
    service.load(CHAIN, header={"max_active_runs": 1})
    done = service.client.trigger("people", logical_date="2026-02-03")
    assert (done.run.state, done.run.run_id) == (RunState.QUEUED, "manual__2026-02-03T00:00:00+00:00")
    assert done.effects.lines()[0].startswith(f"run {done.run.number} is created")
    assert service.run(done.run.number).state == RunState.RUNNING
    second = service.client.trigger("people").run
    assert service.run(second.number).state == RunState.QUEUED
    assert service.run_to_end() == ["a", "b", "c"] * 2


# cancel


def test_a_cancel_asks_what_runs_and_ends_what_waits(service: Service) -> None:
    run = service.begin(graph({"a": "", "b": "", "c": "ab", "tidy": "c"}, {"tidy": "all_done"}))
    running = service.must_claim("a").attempt
    done = service.client.cancel(str(run.number))
    assert service.states(run.number) == {
        "a": "running",
        "b": "cancelled",
        "c": "cancelled",
        "tidy": "cancelled",
    }
    assert (done.run.state, done.run.cancel_cause) == (RunState.RUNNING, "user")
    assert (
        f"attempt {running} of a is asked to stop: its stage then ends as cancelled" in done.effects.lines()
    )
    service.client.cancel(str(run.number))  # twice is once
    service.finish(running, Outcome.FAILED)
    assert service.run(run.number).state == RunState.CANCELLED
    assert service.states(run.number)["a"] == "cancelled"
    with pytest.raises(RefusedError, match="has ended"):
        service.client.cancel(str(run.number))
    service.must_be_sound()


def test_a_queued_run_is_cancelled_at_once(service: Service) -> None:
    run = service.waiting(CHAIN)
    done = service.client.cancel(str(run.number))
    assert done.run.state == RunState.CANCELLED
    assert set(service.states(run.number).values()) == {"cancelled"}


def test_a_cancel_lets_what_is_decided_reach_its_targets_first(service: Service) -> None:
    run = service.begin(graph({"a": "", "b": "a"}, retries=3, retry_delay=0.0))
    attempt = service.must_claim("a").attempt
    service.epoch(attempt, 1)
    service.finish(attempt, Outcome.FAILED)
    service.client.cancel(str(run.number))
    assert service.states(run.number) == {"a": "queued", "b": "cancelled"}
    claimed = service.must_claim("a")
    assert claimed.only == "apply"
    steps.applied(service.database, claimed.attempt, 1)
    service.finish(claimed.attempt)
    assert service.states(run.number)["a"] == "cancelled"
    assert service.run(run.number).state == RunState.CANCELLED


def test_a_queued_run_that_owes_an_epoch_applies_it_and_ends_cancelled(service: Service) -> None:
    run = service.begin(graph({"a": ""}), header={"max_active_runs": 1})
    attempt = service.must_claim().attempt
    service.epoch(attempt, 1)
    service.finish(attempt, Outcome.FAILED)
    failing = service.must_claim()
    service.finish(failing.attempt, Outcome.FAILED)
    assert service.stages(run.number)["a"].unresolved
    service.client.trigger("people")  # takes the place
    service.client.retry(str(run.number))
    assert service.run(run.number).state == RunState.QUEUED
    service.client.cancel(str(run.number))
    claimed = service.must_claim()
    assert claimed.only == "apply"
    steps.applied(service.database, claimed.attempt, 1)
    service.finish(claimed.attempt)
    assert service.run(run.number).state == RunState.CANCELLED


# retry


def test_a_retry_goes_on_with_what_failed_and_what_was_cancelled(service: Service) -> None:
    run = service.begin(CHAIN)
    service.run_to_end({"b": Outcome.FAILED})
    done = service.client.retry(str(run.number))
    assert done.run.state == RunState.QUEUED
    assert "stage b: failed, becomes queued" in done.effects.lines()
    service.promote()
    assert service.run_to_end() == ["b", "c"]
    with pytest.raises(RefusedError, match="nothing to retry"):
        service.client.retry(str(run.number))


def test_a_cancelled_run_of_which_nothing_had_begun_is_retried_from_its_start(service: Service) -> None:
    run = service.waiting(CHAIN)
    service.client.cancel(str(run.number))
    done = service.client.retry(str(run.number))
    assert (done.run.state, done.run.cancel_cause) == (RunState.QUEUED, None)
    assert service.run_to_end() == ["a", "b", "c"] * 2


def test_a_retry_of_a_node_acts_on_its_stage_and_leaves_others(service: Service) -> None:
    run = service.begin(staged({"load": "", "other": ""}, {"load": ("people", "adults", "out")}))
    service.run_to_end({"load": Outcome.FAILED, "other": Outcome.FAILED})
    done = service.client.retry(str(run.number), nodes=["adults"])
    assert done.effects.lines()[0] == "node adults: its stage 'load' (3 nodes)"
    assert service.states(run.number) == {"load": "queued", "other": "failed"}
    with pytest.raises(RefusedError, match="load is queued"):
        service.client.retry(str(run.number), nodes=["people", "other"], failed=False)
    with pytest.raises(UsageError, match="no node 'adult'"):
        service.client.retry(str(run.number), nodes=["adult"])


def test_a_run_that_is_being_cancelled_starts_nothing_new(service: Service) -> None:
    run = service.begin(graph({"a": "", "b": ""}))
    service.finish(service.must_claim("a").attempt, Outcome.FAILED)
    service.must_claim("b")
    service.client.cancel(str(run.number))
    for verb in (service.client.retry, service.client.clear):
        with pytest.raises(RefusedError, match="is being cancelled"):
            verb(str(run.number))


def test_a_retry_of_the_latest_version_is_refused_where_it_does_not_fit(service: Service) -> None:
    run = service.begin(graph({"a": "", "b": "a"}))
    service.run_to_end({"b": Outcome.FAILED})
    service.load(graph({"a": "", "b": "a", "c": "b"}))
    with pytest.raises(RefusedError, match="node c is new") as error:
        service.client.retry(str(run.number), latest=True)
    assert "runs clear" in error.value.hint
    done = service.client.clear(str(run.number), latest=True)
    assert f"run {run.number} moves to the newest version of its DAG" in done.effects.lines()
    service.promote()
    assert service.run_to_end() == ["a", "b", "c"]
    assert {row.version for row in service.stages(run.number).values()} == {done.run.version}


# clear


def test_a_clear_of_a_stage_starts_it_over_and_what_ran_below_only_if_it_is_told(service: Service) -> None:
    run = service.begin(CHAIN)
    service.run_to_end()
    service.client.clear(str(run.number), nodes=["b"])
    assert service.states(run.number) == {"a": "success", "b": "queued", "c": "success"}
    assert service.run_to_end() == ["b"]
    service.client.clear(str(run.number), nodes=["b"], downstream=True)
    service.promote()
    assert service.run_to_end() == ["b", "c"]
    service.client.clear(str(run.number), nodes=["b"], upstream=True)
    service.promote()
    assert service.run_to_end() == ["a", "b"]
    assert service.run(run.number).state == RunState.SUCCESS
    service.must_be_sound()


def test_a_stage_that_runs_is_cleared_when_it_has_stopped_and_never_beside_itself(service: Service) -> None:
    run = service.begin(CHAIN)
    attempt = service.must_claim("a").attempt
    done = service.client.clear(str(run.number), nodes=["a"])
    assert f"attempt {attempt} of a is asked to stop: its stage then starts over" in done.effects.lines()
    assert service.claim() is None
    service.finish(attempt)
    assert service.states(run.number) == {"a": "queued", "b": "none", "c": "none"}
    assert service.run_to_end() == ["a", "b", "c"]


def test_a_clear_counts_the_rows_that_come_again_and_refuses(service: Service) -> None:
    run = service.begin(staged(EDGES, NODES, repeating=("out",)))
    attempt = service.must_claim("load").attempt
    service.whole_epoch(attempt, 1, rows=1200)
    with pytest.raises(RefusedError, match="1,200 rows in out"):
        service.client.clear(str(run.number))
    done = service.client.clear(str(run.number), allow_duplicates=True)
    assert RowsAgain("out", 1200, at_least=True) in done.effects.extras
    assert "out: at least 1,200 rows come a second time" in done.effects.lines()
    service.whole_epoch(attempt, 2, rows=5, final=True)
    service.finish(attempt)
    assert service.stages(run.number)["load"].base == 2
    service.run_to_end()
    assert service.client.clear(str(run.number), nodes=["tell"]).effects.extras[1:] == ()


def test_what_owes_an_epoch_is_not_cleared_or_marked_but_retried_or_abandoned(service: Service) -> None:
    run = service.begin(graph({"a": ""}))
    attempt = service.must_claim().attempt
    service.epoch(attempt, 1)
    service.finish(attempt, Outcome.FAILED)
    service.finish(service.must_claim().attempt, Outcome.FAILED)
    with pytest.raises(RefusedError, match="has not reached its targets yet"):
        service.client.clear(str(run.number))
    with pytest.raises(RefusedError, match="has not reached its targets yet"):
        service.client.mark(str(run.number), "a", "success")
    done = service.client.abandon(str(run.number), node="a")
    assert any("may still appear" in line for line in done.effects.lines())
    service.promote()
    claimed = service.must_claim()
    assert claimed.only == "abandon"
    service.finish(claimed.attempt)
    with service.database.read() as connection:
        assert epochs.owed_epoch(connection, service.stages(run.number)["a"].id) is None
    assert service.run(run.number).state == RunState.FAILED
    with pytest.raises(RefusedError, match="nothing to abandon"):
        service.client.abandon(str(run.number))
    service.client.clear(str(run.number))


def test_a_clear_of_what_waits_and_owes_applies_that_first(service: Service) -> None:
    run = service.begin(graph({"a": ""}, retries=3, retry_delay=0.0))
    attempt = service.must_claim().attempt
    service.epoch(attempt, 1)
    service.finish(attempt, Outcome.FAILED)
    service.client.clear(str(run.number))
    claimed = service.must_claim()
    assert claimed.only == "apply"
    steps.applied(service.database, claimed.attempt, 1)
    service.finish(claimed.attempt)
    assert service.must_claim().base == 1


def test_what_was_published_and_must_not_be_there_is_not_started_over(service: Service) -> None:
    run = service.begin(staged(EDGES, NODES, exclusive=("out",)))
    attempt = service.must_claim("load").attempt
    service.whole_epoch(attempt, 1, final=True)
    service.finish(attempt)
    with pytest.raises(RefusedError, match="has published out with mode error_if_exists"):
        service.client.clear(str(run.number))
    service.client.clear(str(run.number), nodes=["tell"])


def test_a_run_moves_to_the_latest_version_only_while_nothing_of_it_runs(service: Service) -> None:
    run = service.begin(graph({"a": "", "b": ""}))
    service.finish(service.must_claim("a").attempt, Outcome.FAILED)
    running = service.must_claim("b").attempt
    service.load(graph({"a": "", "b": ""}, retries=1, retry_delay=0.0))
    for verb in (service.client.retry, service.client.clear):
        with pytest.raises(RefusedError, match="while b runs"):
            verb(str(run.number), latest=True)
    service.finish(running)
    moved = service.client.retry(str(run.number), latest=True).run
    assert moved.version != run.version
    service.finish(service.must_claim("a").attempt, Outcome.FAILED)
    assert service.run_to_end() == ["a"]  # with the new version's retries
