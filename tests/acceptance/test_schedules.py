"""Schedules fire in `standalone` as they are written: from when, until when, how many at once, or not."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import TypeAlias

import pytest

from orchestrator.runs.states import RUN_ENDS
from orchestrator.store.tables import Run
from tests.support.services_site import ServicesSite, services_site

SECOND = timedelta(seconds=1)
At: TypeAlias = Callable[[float], datetime]
DAGS = """
from datetime import datetime, timedelta
from threading import Event

from orchestrator import DAG, action

BEGAN = datetime.fromisoformat("{began}")


def at(seconds):
    return BEGAN + timedelta(seconds=seconds)


@action
def passes():
    return 1


@action
def held(context):
    while not (context.project / "go").exists():
        Event().wait(0.01)


@action
def takes_a_moment():
    Event().wait(0.2)


@action
def endless():
    Event().wait()


with DAG("once", schedule="@once", params={{"word": "the default"}}):
    passes("passes")

with DAG("made_up", schedule="1s", start_date=at(-20), end_date=at(-10), catchup=True):
    passes("passes")

with DAG("over", schedule="1s", start_date=at(-20), end_date=at(-10)):
    passes("passes")

with DAG("newest", schedule="1h", start_date=at(-3 * 3600 - 60)):
    passes("passes")

with DAG("later", schedule="1s", start_date=at(6), end_date=at(8), catchup=True):
    passes("passes")

with DAG("one_at_a_time", schedule="1s", start_date=at(-5), end_date=at(0), catchup=True, max_active_runs=1):
    held("held")

with DAG("again_and_again", schedule="@continuous", start_date=at(-5)):
    takes_a_moment("takes_a_moment")

with DAG("too_long", schedule="@once", dagrun_timeout="1s"):
    endless("endless")

with DAG("each_second", schedule="1s", start_date=at(0), catchup=True):
    passes("passes")

with DAG("each_second_or_not", schedule="1s", start_date=at(0)):
    passes("passes")
"""


@pytest.fixture(scope="module")
def at() -> At:
    """The moment so many seconds after the schedules were written."""
    began = datetime.now(UTC).replace(microsecond=0)
    return lambda seconds: began + timedelta(seconds=seconds)


@pytest.fixture(scope="module")
def site(at: At, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServicesSite]:
    """A standalone that has loaded the DAGs."""
    files = {"all.py": DAGS.format(began=at(0).isoformat())}
    soon = {"FUSTGO_WORKER__GRACE": "500ms"}
    with services_site(tmp_path_factory.mktemp("schedules"), files, soon) as made:
        standalone = made.serving(made.service("standalone", slots=4))
        yield made
        (made.project / "go").touch()  # a run that waits for it would keep the standalone from its end
        standalone.end()


def ended(site: ServicesSite, dag: str, count: int) -> list[Run]:
    """The scheduled runs of a DAG, once so many have ended."""
    site.until(
        lambda: sum(run.state in RUN_ENDS for run in site.scheduled(dag)) >= count,
        f"the end of {count} runs of {dag}",
    )
    return site.scheduled(dag)


def dates(runs: list[Run]) -> list[datetime]:
    return [run.logical_date for run in runs if run.logical_date is not None]


def must_not_overlap(runs: list[Run]) -> None:
    for before, after in pairwise(runs):
        assert before.ended_at is not None
        assert before.ended_at <= after.created_at


def until_it_is(site: ServicesSite, moment: datetime) -> None:
    site.until(lambda: site.database.clock.now() >= moment, f"{moment}")


def test_once_is_once_with_the_defaults_of_params(site: ServicesSite) -> None:
    (run,) = ended(site, "once", 1)
    assert (run.state, run.params) == ("success", {"word": "the default"})
    assert run.run_id.startswith("scheduled__")
    file = site.project / "dags/all.py"
    file.write_text(file.read_text() + "\n# read again\n")
    site.until(lambda: site.loaded("once")["bundle_version"] != run.bundle_version, "the new version")
    until_it_is(site, site.database.clock.now() + SECOND)
    assert len(site.scheduled("once")) == 1


def test_catchup_makes_up_for_each_time_missed_since_the_start_until_the_end(
    site: ServicesSite, at: At
) -> None:
    runs = ended(site, "made_up", 11)
    assert {run.state for run in runs} == {"success"}
    assert dates(runs) == [at(second) for second in range(-20, -9)]
    assert [run.due_at for run in runs] == dates(runs)


def test_without_catchup_the_newest_time_missed_fires_and_none_after_the_end(
    site: ServicesSite, at: At
) -> None:
    assert dates(ended(site, "newest", 1)) == [at(-60)]
    assert site.scheduled("over") == []


def test_max_active_runs_holds_back_the_schedule_and_loses_no_time(site: ServicesSite, at: At) -> None:
    site.until(lambda: bool(site.scheduled("one_at_a_time")), "the first run")
    until_it_is(site, at(4))
    assert len(site.scheduled("one_at_a_time")) == 1  # of six that are due: no runs are queued behind it
    (site.project / "go").touch()
    runs = ended(site, "one_at_a_time", 6)
    assert dates(runs) == [at(second) for second in range(-5, 1)]
    assert {run.state for run in runs} == {"success"}
    must_not_overlap(runs)


def test_continuous_is_one_run_after_the_other_until_the_dag_is_paused(site: ServicesSite) -> None:
    ended(site, "again_and_again", 4)
    assert site.fustgo("dags", "pause", "again_and_again").code == 0
    count = len(site.scheduled("again_and_again"))
    must_not_overlap(ended(site, "again_and_again", count))
    until_it_is(site, site.database.clock.now() + SECOND)
    assert len(site.scheduled("again_and_again")) == count


def test_a_scheduled_run_ends_when_its_time_is_over(site: ServicesSite) -> None:
    (run,) = ended(site, "too_long", 1)
    assert (run.state, run.cancel_cause) == ("failed", "timeout")


def test_a_pause_stops_schedules_and_not_what_is_started_by_hand(site: ServicesSite, at: At) -> None:
    dags = {"each_second": True, "each_second_or_not": False}
    for dag in dags:
        ended(site, dag, 2)
    assert site.fustgo("dags", "pause", *dags).code == 0
    paused_at, before = site.database.clock.now(), {dag: dates(site.scheduled(dag)) for dag in dags}
    by_hand = [site.trigger(dag) for dag in dags]
    assert [site.wait(run).state for run in by_hand] == ["success", "success"]
    until_it_is(site, paused_at + 3 * SECOND)
    assert {dag: dates(site.scheduled(dag)) for dag in dags} == before
    assert site.fustgo("dags", "unpause", *dags).code == 0
    for dag, catches_up in dags.items():
        ended(site, dag, len(before[dag]) + (5 if catches_up else 2))
    assert site.fustgo("dags", "pause", *dags).code == 0
    steps = {dag: in_seconds(dates(site.scheduled(dag))) for dag in dags}
    assert set(steps["each_second"]) == {1}
    assert dates(site.scheduled("each_second"))[0] == at(0)
    missed = steps["each_second_or_not"][len(before["each_second_or_not"]) - 1]
    assert missed >= 3  # from the last before the pause to the newest that it made miss


def in_seconds(moments: list[datetime]) -> list[int]:
    """The steps from each to the next."""
    return [(later - earlier) // SECOND for earlier, later in pairwise(moments)]


def test_nothing_fires_before_the_start_or_after_the_end(site: ServicesSite, at: At) -> None:
    runs = ended(site, "later", 3)
    until_it_is(site, at(10))
    assert dates(site.scheduled("later")) == [at(6), at(7), at(8)]
    for run in runs:
        assert run.logical_date is not None
        assert run.created_at >= run.logical_date
