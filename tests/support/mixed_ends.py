"""What must be true of mixed runs and their targets in the end, from graph and outcomes alone."""

from __future__ import annotations

import sqlite3
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

from sqlalchemy import func, select

from orchestrator.dag.stages import StageGraph
from orchestrator.runs.states import AttemptState, Outcome, RunState, StageState
from orchestrator.runs.trigger_rules import Counts, Verdict, judge
from orchestrator.store import dags
from orchestrator.store.tables import Attempt, Dag, Run, StageRun, table_of
from orchestrator.store.tables.services import Audit, Variable
from tests.support.services_site import ServicesSite

DAGS = ("moving", "acting", "mixed")
ROWS = 4000
KEEPERS = frozenset({"first", "left", "right", "after_five", "alarm", "last", "stubborn"})
TELLERS = frozenset({"joined", "end"})  # those that start a run of `child` too
_UNRUN = {Verdict.SKIP: StageState.SKIPPED, Verdict.UPSTREAM_FAILED: StageState.UPSTREAM_FAILED}


def people() -> str:
    """The input of all runs."""
    return "id,name,age\n" + "".join(_line(n) for n in range(ROWS))


def _line(n: int) -> str:
    return f"{n},name {n},{_age(n)}\n"


def _age(n: int) -> int:
    return n * 7 % 60


def ends(graph: StageGraph, number: int) -> dict[str, StageState]:
    """The end of each stage of the run with this number."""
    found: dict[str, StageState] = {}
    forbidden: set[str] = set()
    for stage in graph:
        verdict = judge(stage.rule, Counts.of(found[up] for up in stage.up))
        fails = stage.id == "five" and number % 5 == 0
        if stage.id in forbidden:
            found[stage.id] = StageState.SKIPPED
        elif verdict == Verdict.RUN:
            found[stage.id] = StageState.FAILED if fails else StageState.SUCCESS
        else:
            found[stage.id] = _UNRUN[verdict]
        if stage.id == "choice" and found["choice"] == StageState.SUCCESS:
            forbidden.add("right" if number % 3 == 0 else "left")
        if stage.id == "gate" and number % 4 == 0:
            forbidden |= {"said", "end"}
    return found


def end(graph: StageGraph, stages: dict[str, StageState]) -> RunState:
    """The end of a run, by its leaves."""
    leaves = {stages[stage.id] for stage in graph if not stage.down}
    bad = leaves & {StageState.FAILED, StageState.UPSTREAM_FAILED}
    return RunState.FAILED if bad else RunState.SUCCESS


def wrong(place: ServicesSite, given: dict[int, str]) -> Iterator[str]:
    """All that is not as it must be; `given` is the DAG of each number."""
    right_keys: Counter[str] = Counter()
    children: Counter[tuple[str, int]] = Counter()
    names = _names(place)
    runs = {(names[run.dag], run.params["number"]): run for run in place.table(Run) if names[run.dag] in DAGS}
    for number, dag in given.items():
        run = runs.pop((dag, number))
        with place.database.read() as connection:
            graph = dags.graph_of(connection, run.version)
        right = ends(graph, number)
        states = {stage: row.state for stage, row in place.stages(run.number).items()}
        yield from (
            f"{dag} {number}: {s} is {states[s]}, not {right[s]}" for s in right if states[s] != right[s]
        )
        if run.state != end(graph, right):
            yield f"{dag} {number} is {run.state}, not {end(graph, right)}"
        done = {stage for stage, state in right.items() if state == StageState.SUCCESS}
        right_keys.update(f"{stage}_{number}" for stage in done & (KEEPERS | TELLERS))
        children.update((stage, number) for stage in done & TELLERS)
    yield from (f"{dag} {number} was run twice" for dag, number in runs)
    attempts = place.table(Attempt)
    yield from (f"attempt {one.id} is {one.state}" for one in attempts if one.state != AttemptState.DONE)
    ended = Counter(one.stage_run for one in attempts if one.outcome == Outcome.SUCCESS)
    yield from (
        f"stage run {stage} has succeeded {times} times" for stage, times in ended.items() if times > 1
    )
    yield from _wrong_effects(place, right_keys, children, names)
    yield from _wrong_targets(place, given)


def _names(place: ServicesSite) -> dict[int, str]:
    return {dag.id: dag.dag_id for dag in place.table(Dag)}


def _wrong_effects(
    place: ServicesSite,
    keys: Counter[str],
    children: Counter[tuple[str, int]],
    names: dict[int, str],
) -> Iterator[str]:
    """Each effect once in the store: by the audit log, the variables and the runs of `child`."""
    keys = keys + Counter(f"child_of_{stage}_{number}" for stage, number in children)
    audits = [row for row in place.table(Audit) if row.actor.startswith("node ")]
    yield from _differences(
        "writes of variable", keys, (a.target for a in audits if a.verb == "set variable")
    )
    kept = {row.key: row.value for row in place.table(Variable)}
    yield from _differences("variables named", keys, list(kept))
    yield from (f"variable {key} is {kept[key]}" for key in kept if kept[key] != int(key.rpartition("_")[2]))
    made = [run for run in place.table(Run) if names[run.dag] == "child"]
    yield from _differences(
        "runs of child for", children, ((r.params["from"], r.params["number"]) for r in made)
    )
    yield from (f"run {run.number} of child is {run.state}" for run in made if run.state != RunState.SUCCESS)
    told = (a.target for a in audits if a.verb == "trigger")
    yield from _differences("triggers of", Counter(f"child/{run.run_id}" for run in made), told)


def _differences(what: str, right: Counter[str] | Counter[tuple[str, int]], found: object) -> Iterator[str]:
    counted = Counter(found)  # type: ignore[call-overload]
    for one in sorted({*right, *counted}, key=str):
        if right[one] != counted[one]:
            yield f"{counted[one]} {what} {one}, not {right[one]}"


def _wrong_targets(place: ServicesSite, given: dict[int, str]) -> Iterator[str]:
    grown = [n for n in range(ROWS) if _age(n) > 18]
    young = [n for n in range(ROWS) if _age(n) <= 18]
    out = place.project / "out"
    moving = [number for number, dag in given.items() if dag == "moving"]
    mixed = [number for number, dag in given.items() if dag == "mixed"]
    text = "id,name,age\n" + "".join(map(_line, grown))
    for number in moving:
        if (out / f"{number}.csv").read_text() != text:
            yield f"out/{number}.csv is not what it should be"
    for number in mixed:
        lines = [
            line for part in sorted((out / f"young.csv/{number}").glob("*.csv")) for line in _lines(part)
        ]
        if sorted(lines) != sorted(f"{_line(n).strip()},{number}" for n in young):
            yield f"out/young.csv/{number} holds {len(lines)} rows, not the {len(young)} right ones"
    yield from _wrong_table(out / "people.db", "people", grown, moving)
    yield from _wrong_table(out / "people.db", "young", young, mixed)
    yield from _left_over(place)


def _lines(part: Path) -> list[str]:
    return part.read_text().splitlines()[1:]


def _wrong_table(path: Path, table: str, ids: list[int], numbers: list[int]) -> Iterator[str]:
    right = Counter((number, n, f"name {n}", _age(n)) for number in numbers for n in ids)
    with closing(sqlite3.connect(path)) as connection:
        found = Counter(connection.execute(f"SELECT run, id, name, age FROM {table}").fetchall())
    lost, more = right - found, found - right
    if lost or more:
        runs = sorted({row[0] for row in (*lost, *more)})
        yield f"table {table}: {lost.total()} rows are missing, {more.total()} too many, of runs {runs}"


def _left_over(place: ServicesSite) -> Iterator[str]:
    """Nothing staged beside a target, nothing spooled."""
    hidden = [path for path in (place.project / "out").rglob("*") if ".fustgo" in path.parts]
    spooled = place.artifacts.rglob("parts/*")
    left = (path for path in (*hidden, *spooled) if path.is_file() and path.name != "id")
    yield from (f"{path} is left over" for path in left)


def table_counts(place: ServicesSite) -> dict[str, int]:
    """How many rows of each kind there were."""
    with place.database.read() as connection:
        return {
            name: connection.execute(select(func.count()).select_from(table_of(entity))).scalar_one()
            for name, entity in (("runs", Run), ("stages", StageRun), ("attempts", Attempt))
        }
