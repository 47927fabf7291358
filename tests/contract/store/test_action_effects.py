"""Effects of actions: applied with the success and once, or not at all; what stages are given by name."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from sqlalchemy import func, select

from orchestrator.errors import OperatorError
from orchestrator.runs.states import Outcome
from orchestrator.store import runs, variables
from orchestrator.store.database import Database
from orchestrator.store.given import given_to, stored_variables
from orchestrator.store.tables import Event, Run, table_of
from orchestrator.store.tables.services import Audit
from tests.support.services import Service
from tests.support.store import ManualClock, graph

TRIGGER: dict[str, Any] = {
    "effect": "trigger_run",
    "dag_id": "report",
    "params": {},
    "logical_date": None,
    "run_id": None,
}
CHAIN = graph({"a": [], "b": ["a"]})
EVENTS = table_of(Event)


@pytest.fixture
def service(database: Database, clock: ManualClock) -> Service:
    made = Service(database, clock)
    made.load(
        graph({"x": [], "y": ["x"]}), "report", header={"params": {"n": {"type": "integer", "default": 1}}}
    )
    return made


def setting(key: str, value: Any) -> dict[str, Any]:
    return {"effect": "set_variable", "key": key, "value": value}


def triggered(service: Service) -> list[Run]:
    with service.database.read() as connection:
        found = runs.list_runs(connection, dag="report")
    return [run for run, _ in reversed(found)]


def kept(service: Service, *names: str) -> dict[str, Any]:
    with service.database.read() as connection:
        return variables.read(connection, names)


def test_variables_are_set_and_overwritten_with_the_success(service: Service) -> None:
    service.begin(CHAIN)
    effects = (setting("Day", "monday"), setting("last", {"rows": 3}), setting("last", None))
    service.finish(service.must_claim("a").attempt, effects=effects)
    assert kept(service, "day", "LAST", "absent") == {"day": "monday", "last": None}
    service.finish(service.must_claim("b").attempt, effects=(setting("day", 2),))
    assert kept(service, "day") == {"day": 2}


def test_a_run_is_triggered_once_whatever_is_repeated(service: Service) -> None:
    run = service.begin(CHAIN)
    attempt = service.must_claim("a").attempt
    effects = ({**TRIGGER, "params": {"n": 5}, "logical_date": "2026-01-31T01:00:00+01:00"}, TRIGGER)
    service.finish(attempt, effects=effects)
    service.finish(attempt, effects=effects)
    first, second = triggered(service)
    assert first.run_id == f"triggered__{run.uid}__a"
    assert second.run_id == f"triggered__{run.uid}__a__2"
    assert (first.run_type, first.params) == ("triggered", {"n": 5})
    assert first.logical_date == datetime(2026, 1, 31, tzinfo=UTC)
    assert (second.params, second.logical_date) == ({"n": 1}, service.clock.now())
    service.promote()
    service.must_be_sound()
    assert service.states(first.number) == {"x": "queued", "y": "none"}


def test_a_run_id_that_is_there_starts_nothing(service: Service) -> None:
    service.begin(CHAIN)
    named = {**TRIGGER, "run_id": "mine"}
    service.finish(service.must_claim("a").attempt, effects=(named,))
    attempt = service.must_claim("b").attempt
    service.finish(attempt, effects=(named,))
    [there] = triggered(service)
    assert there.run_id == "mine"
    with service.database.read() as connection:
        [told] = connection.execute(select(EVENTS).where(EVENTS.c.kind == "trigger")).all()
    assert (told.new, told.attempt, told.detail) == (
        "there",
        attempt,
        {"run": there.number, "name": "report/mine"},
    )


@pytest.mark.parametrize(
    ("effect", "message", "hint"),
    [
        ({"dag_id": "reprot"}, "node 'a' cannot trigger DAG 'reprot': there is no DAG 'reprot'", "'report'"),
        ({"params": {"n": "many"}}, "cannot trigger DAG 'report'", ""),
        ({"params": {"m": 1}}, "DAG 'report' has no param 'm'", ""),
        ({"run_id": "a b"}, "run id 'a b'", "letters, digits"),
    ],
)
def test_where_one_effect_is_refused_none_is_applied_and_the_attempt_has_failed(
    service: Service, effect: dict[str, Any], message: str, hint: str
) -> None:
    run = service.begin(CHAIN)
    effects = (setting("day", 1), TRIGGER, {**TRIGGER, **effect})
    service.finish(service.must_claim("a").attempt, effects=effects, results={"a": 1})
    assert (kept(service, "day"), triggered(service)) == ({}, [])
    row = service.stages(run.number)["a"]
    assert (row.state, row.result, row.tries) == ("failed", None, 0)
    assert row.error is not None
    assert message in row.error["message"]
    assert hint in row.error.get("hint", "")


def test_effects_of_what_did_not_succeed_are_not_applied(service: Service) -> None:
    run = service.begin(graph({"a": []}, retries=1))
    service.finish(service.must_claim("a").attempt, Outcome.FAILED, effects=(setting("day", 1),))
    service.clock.forward(3600)
    attempt = service.must_claim("a").attempt
    service.client.cancel(str(run.number))
    service.finish(attempt, effects=(setting("day", 1), TRIGGER))
    assert (kept(service, "day"), triggered(service)) == ({}, [])


def test_effects_are_audited(service: Service) -> None:
    run = service.begin(CHAIN)
    attempt = service.must_claim("a").attempt
    service.finish(attempt, effects=(setting("day", 1), TRIGGER))
    audit = table_of(Audit)
    with service.database.read() as connection:
        rows = connection.execute(select(audit).where(audit.c.actor == "node a").order_by(audit.c.id)).all()
    assert [(row.verb, row.target) for row in rows] == [
        ("set variable", "day"),
        ("trigger", f"report/triggered__{run.uid}__a"),
    ]
    assert rows[0].detail == {"run": run.number, "node": "a", "attempt": attempt}


def test_a_stage_is_given_the_results_that_it_names_and_code_all_that_it_follows(service: Service) -> None:
    uses = {"c": (("results", "a"), ("var", "Day")), "d": (("results", ""),), "e": ()}
    plain = graph({"a": [], "b": ["a"], "c": ["b"], "d": ["b"], "e": ["b"]})
    stages = {name: replace(stage, uses=uses.get(name, ())) for name, stage in plain.stages.items()}
    made = replace(plain, stages=stages)
    run = service.begin(made)
    service.finish(
        service.must_claim("a").attempt, results={"a": {"rows": 3}}, effects=(setting("day", "x"),)
    )
    service.finish(service.must_claim("b").attempt, results={"b": [1]})
    with service.database.read() as connection:
        assert given_to(connection, run.number, made, "c") == {"a": {"rows": 3}}
        assert given_to(connection, run.number, made, "d") == {"a": {"rows": 3}, "b": [1]}
        assert given_to(connection, run.number, made, "e") == {}
        assert stored_variables(connection, made["c"]) == {"day": "x"}
        assert stored_variables(connection, made["d"]) == {}


def test_a_result_of_what_did_not_succeed_is_an_error_that_names_node_and_state(service: Service) -> None:
    plain = graph({"a": [], "b": ["a"]}, {"b": "all_done"})
    made = replace(plain, stages={**plain.stages, "b": replace(plain["b"], uses=(("results", "a"),))})
    run = service.begin(made)
    service.finish(service.must_claim("a").attempt, Outcome.FAILED, message="no", retry=False)
    with service.database.read() as connection, pytest.raises(OperatorError) as caught:
        given_to(connection, run.number, made, "b")
    assert caught.value.message == "node 'b' uses the result of 'a', which has none: its stage is failed"


def test_nothing_is_left_where_the_same_run_is_inserted_twice(service: Service) -> None:
    service.begin(CHAIN)
    named = {**TRIGGER, "run_id": "mine"}
    service.finish(service.must_claim("a").attempt, effects=(named, named))
    table = table_of(Run)
    with service.database.read() as connection:
        count = select(func.count()).select_from(table).where(table.c.run_type == "triggered")
        assert connection.execute(count).scalar() == 1


@pytest.mark.parametrize(
    ("effect", "message"),
    [
        (setting("k\0x", "v"), "an effect holds the character U+0000"),
        (setting("a b", "v"), "cannot set variable 'a b'"),
        (setting("k" * 251, "v"), "cannot set variable"),
        (setting("k", ["a\0b"]), "an effect holds the character U+0000"),
        (setting("k", {"\ud800": 1}), "an effect holds the character U+D800"),
        ({**TRIGGER, "params": {"n": "\0"}}, "an effect holds the character U+0000"),
        ({**TRIGGER, "logical_date": "0001-01-01T00:00:00+14:00"}, "is outside the years 2 to 9998"),
    ],
)
def test_what_no_database_keeps_is_refused_alike_on_both(
    service: Service, effect: dict[str, Any], message: str
) -> None:
    run = service.begin(CHAIN)
    service.finish(service.must_claim("a").attempt, effects=(effect,))
    row = service.stages(run.number)["a"]
    assert row.state == "failed"
    assert message in (row.error or {})["message"]


def test_a_result_that_no_database_keeps_fails_its_attempt_and_an_error_is_kept_as_far_as_it_can_be(
    service: Service,
) -> None:
    run = service.begin(graph({"a": [], "b": []}))
    service.finish(service.must_claim("a").attempt, results={"a": ["\\u0000", "x\0"]})
    service.finish(service.must_claim("b").attempt, Outcome.FAILED, message="no file \udcff\0", retry=False)
    stages = service.stages(run.number)
    assert stages["a"].error == {"message": "a result holds the character U+0000, which no database keeps"}
    assert stages["b"].error == {"message": "no file \\udcff\\u0000"}


def test_a_backslash_is_no_nul(service: Service) -> None:
    run = service.begin(CHAIN)
    service.finish(service.must_claim("a").attempt, results={"a": "\\u0000 C:\\users"})
    assert service.stages(run.number)["a"].result == {"a": "\\u0000 C:\\users"}
