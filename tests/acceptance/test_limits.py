"""Every limit that a DAG, a stage, a pool or a worker may set, held to by a real `standalone`."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import accumulate, pairwise

import pytest

from orchestrator.runs.states import StageState
from orchestrator.store.tables import Attempt, Run
from tests.support.services_site import ServicesSite, services_site

DAGS = """
import os
from threading import Event

from operators import CsvInput, Discard
from orchestrator import DAG, ErrorLimit, Param, Result, action


def note(context, file, word):
    descriptor = os.open(context.project / file, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(descriptor, f"{word} ".encode())
    os.close(descriptor)


@action
def held(context, *, dag, slots: int = 1):
    # Notes that it takes so many slots, waits until it may go on, and notes that they are free.
    note(context, dag, slots)
    while not (context.project / f"{dag}.go").exists():
        Event().wait(0.01)
    note(context, dag, -slots)


@action
def passes(context, *, dag, name):
    note(context, dag, name)


@action
def fails(context, *, times: int):
    failures = context.project / f"failures-{times}"
    if failures.exists() and len(failures.read_text().split()) >= times:
        return
    note(context, failures, "failed")
    raise ValueError("once more")


@action
def endless():
    Event().wait()


@action
def swallows():
    taken = bytearray(b"x") * (400 << 20)
    Event().wait()


@action
def returns(*, size: int):
    return "x" * size


with DAG("one_run", max_active_runs=1):
    held("held", dag="one_run")

with DAG("two_stages", max_active_tasks=2):
    for number in range(5):
        held(f"held{number}", dag="two_stages")

with DAG("pooled"):
    for number, slots in enumerate((2, 1, 2, 1)):
        held(f"held{number}", dag="pooled", slots=slots, pool="small", pool_slots=slots)

with DAG("slots"):
    for number in range(7):
        held(f"held{number}", dag="slots")

with DAG("labelled", default_args={"queue": "gpu"}):
    # What is queued at once when `first` has ended; `after` count by the rules of weights, and never run.
    first = held("first", dag="labelled", priority_weight=10)
    for name, after, rule in (
        ("weighs_1", [50], {"weight_rule": "absolute"}),
        ("weighs_4", [1, 1, 1], {}),
        ("weighs_2", [], {"priority_weight": 2}),
        ("weighs_11", [50], {"weight_rule": "upstream"}),
        ("weighs_3", [50], {"weight_rule": "absolute", "priority_weight": 3}),
    ):
        node = passes(name, dag="order", name=name, **rule)
        first >> node
        for number, weight in enumerate(after):
            node >> endless(f"{name}_{number}", priority_weight=weight, trigger_rule="all_failed")

with DAG("again"):
    fails("fails", times=4, retries=4, retry_delay="200ms", retry_exponential_backoff=True,
          max_retry_delay="500ms")

with DAG("again_and_fails"):
    fails("fails", times=99, retries=1, retry_delay="300ms")

with DAG("too_long"):
    endless("endless", execution_timeout="1s") >> passes("after", dag="never", name="after")

with DAG("run_too_long", dagrun_timeout="1s"):
    endless("endless") >> passes("after", dag="never", name="after")

with DAG("too_large"):
    swallows("swallows")

with DAG("result"):
    returns("fits", size=60 << 10) >> returns("too_large", size=65 << 10)

allowed = {"two": ErrorLimit(records=2), "three": ErrorLimit(records=3), "ratio": ErrorLimit(ratio=0.3)}
for name, limit in {"none": None, **allowed}.items():
    with DAG(f"refuses_{name}"):
        CsvInput("people", path="people.csv", columns={"id": "int64"}, error_limit=limit) >> Discard("end")

with DAG("with_params", params={"n": Param(type="integer", minimum=1)}):
    passes("passes", dag="never", name="with_params")
"""
SLOTS = 4
HELD = ("one_run", "two_stages", "pooled", "slots", "labelled")
PEOPLE = ["1", "2", "x", "4", "y", "6", "7", "z", "9", "10"]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServicesSite]:
    """A standalone with four slots and 200 MiB for each, that has loaded the DAGs."""
    limits = {"FUSTGO_WORKER__MEMORY_LIMIT": "200MiB", "FUSTGO_WORKER__GRACE": "500ms"}
    with services_site(tmp_path_factory.mktemp("limits"), {"all.py": DAGS}, limits) as made:
        (made.project / "people.csv").write_text("\n".join(["id", *PEOPLE, ""]))
        standalone = made.serving(made.service("standalone", slots=SLOTS))
        yield made
        for dag in HELD:  # where a test has failed, its runs would keep the standalone from its end
            (made.project / f"{dag}.go").touch()
        standalone.end()


def noted(site: ServicesSite, file: str) -> list[str]:
    """What the stages of a DAG have noted so far."""
    path = site.project / file
    return path.read_text().split() if path.exists() else []


def taken(site: ServicesSite, dag: str) -> list[int]:
    """How many slots were taken after each change."""
    return list(accumulate(map(int, noted(site, dag))))


def ended(site: ServicesSite, dag: str) -> int:
    """A run of a DAG that has ended; its number."""
    run = site.trigger(dag)
    site.wait(run)
    return run


@pytest.mark.parametrize(
    ("dag", "runs", "most", "stages", "reason"),
    [
        ("one_run", 3, 1, 3, "max_active_runs"),
        ("two_stages", 1, 2, 5, "max_active_tasks"),
        ("pooled", 1, 3, 4, "pool_full"),
        ("slots", 1, SLOTS, 7, "workers_busy"),
    ],
)
def test_what_is_above_a_limit_waits_and_why_names_the_limit(
    site: ServicesSite, dag: str, runs: int, most: int, stages: int, reason: str
) -> None:
    assert site.fustgo("pools", "set", "small", "3").code == 0
    numbers = [site.trigger(dag) for _ in range(runs)]
    site.until(lambda: taken(site, dag)[-1:] == [most], "what may run at once")
    assert reason in {found["code"] for found in site.json("runs", "why", str(numbers[-1]))}
    (site.project / f"{dag}.go").touch()
    assert [site.wait(number).state for number in numbers] == ["success"] * runs
    found = taken(site, dag)
    assert (max(found), found[-1], len(found)) == (most, 0, 2 * stages)


def test_a_label_is_waited_for_and_when_slots_are_short_the_weight_decides(site: ServicesSite) -> None:
    run = site.trigger("labelled")
    site.until(lambda: site.get(run).state == "running", "the run")
    assert "no_label" in {found["code"] for found in site.json("runs", "why", str(run))}
    assert noted(site, "labelled") == []
    worker = site.serving(site.service("worker", slots=1, FUSTGO_WORKER__LABELS="gpu"))
    site.until(lambda: noted(site, "labelled") == ["1"], "the stage with a label")
    (site.project / "labelled.go").touch()
    assert site.wait(run).state == "success"
    assert noted(site, "order") == ["weighs_11", "weighs_4", "weighs_3", "weighs_2", "weighs_1"]
    (mine,) = [row.id for row in site.rows() if row.labels == ["gpu"]]
    assert {one.worker for one in site.attempts(run)} == {mine}
    worker.end()


def waits(attempts: list[Attempt]) -> list[float]:
    """Seconds from the end of each attempt until the next was due; none was claimed before."""
    for one in attempts:
        assert one.claimed_at is not None
        assert one.claimed_at >= one.due_at
    return [
        (after.due_at - before.ended_at).total_seconds()
        for before, after in pairwise(attempts)
        if before.ended_at is not None
    ]


def test_a_failure_is_tried_again_after_waits_that_double_up_to_their_cap(site: ServicesSite) -> None:
    run = ended(site, "again")
    assert (site.get(run).state, site.outcomes(run)) == ("success", ["failed"] * 4 + ["success"])
    for wait, longest in zip(waits(site.attempts(run)), (0.2, 0.4, 0.5, 0.5), strict=True):
        assert longest / 2 <= wait <= longest


def test_when_all_retries_have_failed_the_run_has(site: ServicesSite) -> None:
    run = ended(site, "again_and_fails")
    assert (site.get(run).state, site.outcomes(run)) == ("failed", ["failed", "failed"])
    assert waits(site.attempts(run)) == pytest.approx([0.3], abs=0.001)


def test_a_stage_and_a_run_end_when_their_time_is_over(site: ServicesSite) -> None:
    stage, whole = site.trigger("too_long"), site.trigger("run_too_long")
    assert [site.wait(run).state for run in (stage, whole)] == ["failed", "failed"]
    late = site.stages(stage)
    assert (late["endless"].error or {})["message"] == "timed out after 1 s"
    assert (late["endless"].state, late["after"].state) == (StageState.FAILED, StageState.UPSTREAM_FAILED)
    assert site.get(whole).cancel_cause == "timeout"
    assert {one.state for one in site.stages(whole).values()} == {StageState.CANCELLED}
    for run in (stage, whole):
        (attempt,) = site.attempts(run)
        assert attempt.claimed_at
        assert attempt.ended_at
        assert (attempt.ended_at - attempt.claimed_at).total_seconds() > 0.9
    assert noted(site, "never") == []


def test_what_takes_more_memory_than_it_may_is_killed_and_fails(site: ServicesSite) -> None:
    run = ended(site, "too_large")
    assert site.get(run).state == "failed"
    assert set(site.outcomes(run)) == {"lost"}
    assert "worker.memory_limit is 200MiB" in (site.stages(run)["swallows"].error or {})["message"]


def test_a_result_above_its_limit_fails_its_stage(site: ServicesSite) -> None:
    run = ended(site, "result")
    stages = site.stages(run)
    assert (stages["fits"].state, stages["too_large"].state) == (StageState.SUCCESS, StageState.FAILED)
    assert "at most 65,536 are kept" in (stages["too_large"].error or {})["message"]


def test_more_rejects_than_are_allowed_fail_the_run(site: ServicesSite) -> None:
    runs = {name: site.trigger(f"refuses_{name}") for name in ("none", "two", "three", "ratio")}
    found = {name: site.wait(run).state.value for name, run in runs.items()}
    assert found == {"none": "failed", "two": "failed", "three": "success", "ratio": "success"}
    assert "error_limit" in (site.stages(runs["two"])["people"].error or {})["hint"]
    assert site.fustgo("run", "refuses_two").code == 3
    assert site.fustgo("run", "refuses_three").code == 0


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ((), "'n'"),
        (("--param", "n=0"), "at least 1"),
        (("--param", "n=many"), "many"),
        (("--param", "n=1", "--param", "m=1"), "'m'"),
    ],
)
def test_params_that_do_not_fit_are_refused_and_make_no_run(
    site: ServicesSite, given: tuple[str, ...], said: str
) -> None:
    before = len(site.table(Run))
    refused = site.fustgo("dags", "trigger", "with_params", *given)
    assert (refused.code, said in refused.err) == (2, True), refused
    assert len(site.table(Run)) == before
