"""A dry run and the real call touch exactly the same rows, and a dry run changes nothing."""

from __future__ import annotations

from dataclasses import dataclass
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.client import Client, Done
from orchestrator.errors import FustgoError
from orchestrator.runs.effects import Effects
from orchestrator.store.tables import Event, table_of
from orchestrator.store.tables.services import Audit
from tests.support.services import Service
from tests.support.store import graph
from tests.support.walks import Walk

Rows = dict[str, dict[int, dict[str, Any]]]
KINDS = {"run": "runs", "stage": "stage_runs", "attempt": "attempts"}


@dataclass(frozen=True)
class Patient(Client):
    """Leaves promotion, which is a transaction of its own, to the scheduler's sweep."""

    def _promoted(self, done: Done) -> Done:
        return done


@pytest.fixture
def service(service: Service) -> Service:
    client = service.client
    service.client = Patient(client.database, client.clock, client.artifacts)
    return service


@settings(max_examples=15)
@given(seed=st.integers(0, 2**32), steps=st.integers(0, 12))
def test_a_dry_run_tells_what_the_real_call_does_to_each_row(service: Service, seed: int, steps: int) -> None:
    walk = Walk(service, Random(seed), live=2)
    walk.trigger()
    service.promote()
    for _ in range(steps):
        walk.step()
    number = walk.random.choice(walk.newest(2))
    service.clock.forward(1)
    situation = walk.random.getstate()
    before = everything(service)
    foretold = outcome(walk, number, dry_run=True)
    assert everything(service) == before
    walk.random.setstate(situation)
    service.clock.forward(1)
    done = outcome(walk, number, dry_run=False)
    if isinstance(done, Effects):
        assert foretold == done
        assert told(done) == touched(before["tables"], service.rows())
    else:
        assert foretold == done
        assert everything(service) == before


@pytest.mark.parametrize("dry_run", [True, False])
def test_a_trigger_tells_the_rows_that_it_makes(service: Service, dry_run: bool) -> None:
    service.load(graph({"a": "", "b": "a"}))
    before = everything(service)
    done = service.client.trigger("people", dry_run=dry_run)
    made = [(change.kind, change.id, change.stage) for change in done.effects.changes]
    assert made == [("run", None, ""), ("stage", None, "a"), ("stage", None, "b")]
    assert (everything(service) == before) is dry_run
    if not dry_run:
        assert told(done.effects) == touched(before["tables"], service.rows())


def outcome(walk: Walk, number: int, *, dry_run: bool) -> Effects | str:
    """What the verb that comes next does, or why it is refused."""
    _, verb = walk.any_verb(number, dry_run=dry_run)
    try:
        done: Done = verb()
    except FustgoError as error:
        return str(error)
    assert done.dry_run is dry_run
    return done.effects


def everything(service: Service) -> dict[str, Any]:
    """All that a verb could write: runs and their rows, events, the audit log."""
    with service.database.read() as connection:
        more = {
            name: connection.execute(table_of(entity).select().order_by(table_of(entity).c.id)).all()
            for name, entity in (("events", Event), ("audit", Audit))
        }
    return {"tables": service.rows(), **more}


def told(effects: Effects) -> dict[str, tuple[set[int], int]]:
    """By table: the rows that the list names, and how many it says were made."""
    found = {}
    for kind, table in KINDS.items():
        of_kind = [change for change in effects.changes if change.kind == kind]
        ids = {change.id for change in of_kind if change.id is not None}
        found[table] = (ids, sum(change.id is None for change in of_kind))
    return {**found, "epochs": (set(), 0)}


def touched(before: Rows, after: Rows) -> dict[str, tuple[set[int], int]]:
    """By table: the rows that differ, and how many are new; none ever goes."""
    assert all(before[name].keys() <= after[name].keys() for name in before)
    return {
        name: (
            {key for key, row in rows.items() if after[name][key] != row},
            len(after[name]) - len(rows),
        )
        for name, rows in before.items()
    }
