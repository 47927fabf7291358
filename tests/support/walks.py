"""A random walk of verbs over live runs, beside a worker that claims, decides, applies, finishes and is lost.

Everything goes through the functions that services call, on a real store; only the work itself is made up.
`faults` judges what is left by a model that shares nothing with the code: lists of ends, not counts.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from random import Random

from sqlalchemy import func, select

from orchestrator.client import Done
from orchestrator.dag.stages import StageGraph
from orchestrator.errors import RefusedError, UsageError
from orchestrator.runs.checkpoint import Decision, Token
from orchestrator.runs.report import Report
from orchestrator.runs.states import RUN_ENDS, STAGE_ENDS, AttemptState, Outcome, RunState, StageState
from orchestrator.runs.trigger_rules import Verdict
from orchestrator.store import attempts, dags, epochs, runs, stage_runs, steps
from orchestrator.store.queue import Claimed
from orchestrator.store.tables import Event, Run, StageRun, table_of
from tests.support.services import Service
from tests.support.store import graph
from tests.unit.runs.rule_model import EARLY, RUNS, verdict

RULES = ("all_success",) * 4 + tuple(RUNS)


def random_graph(random: Random, most: int = 7) -> StageGraph:
    """Up to `most` stages, each after some of those before it, by any rule; some try again."""
    names = "abcdefghij"[: random.randint(1, most)]
    edges = {name: [up for up in names[:index] if random.random() < 0.4] for index, name in enumerate(names)}
    rules = {name: random.choice(RULES) for name in names if edges[name]}
    return graph(edges, rules, retries=random.choice((0, 0, 1, 2)), retry_delay=0.0)


@dataclass
class Walk:
    """A walk over the runs of one store; `random` decides every step."""

    service: Service
    random: Random
    live: int = 50
    claimed: dict[int, Claimed] = field(default_factory=dict)
    ended: list[int] = field(default_factory=list)
    told: Counter[str] = field(default_factory=Counter)
    graphs: int = 0
    loaded: set[str] = field(default_factory=set)

    def step(self) -> None:
        """A verb, and what a worker does meanwhile."""
        self.service.clock.forward(self.random.choice((0, 1, 60)))
        self.work(self.random.randint(0, 6))
        if len(self.unended()) < self.live:
            self.trigger()
        name, verb = self.fitting_verb() or self.any_verb(self.random.choice(self.newest(2 * self.live)))
        try:
            verb()
            self.told[name] += 1
        except (RefusedError, UsageError):
            self.told[f"{name} refused"] += 1
        if self.random.random() < 0.7:
            self.service.promote()

    def trigger(self) -> Run:
        """A run of a new DAG, or of one that is there."""
        self.graphs += self.graphs == 0 or self.random.random() < 0.3
        name = f"dag{self.graphs}"
        if name not in self.loaded or self.random.random() < 0.5:
            self.service.load(random_graph(self.random), name)
            self.loaded.add(name)
        return self.service.client.trigger(name).run

    def fitting_verb(self) -> tuple[str, Callable[[], Done]] | None:
        """Every second time, one that some run is there for; None where there is none."""
        stages, table, client = stage_runs.stage_runs, runs.runs, self.service.client
        flag = {"resume": table.c.paused, "retry": table.c.state.in_(["failed", "cancelled"])}
        kind = self.random.choice(("abandon", "resume", "retry", "", "", ""))
        if not kind:
            return None
        wanted = flag.get(kind, table.c.number.in_(select(stages.c.run).where(stages.c.unresolved)))
        query = select(table.c.number).where(wanted).order_by(table.c.number.desc()).limit(self.live)
        with self.service.database.read() as connection:
            found = list(connection.execute(query).scalars())
        verbs: dict[str, Callable[[str], Done]] = {
            "abandon": client.abandon,
            "resume": client.resume,
            "retry": client.retry,
        }
        return (kind, partial(verbs[kind], str(self.random.choice(found)))) if found else None

    def any_verb(self, run: int, *, dry_run: bool = False) -> tuple[str, Callable[[], Done]]:
        """A verb on a run with random arguments, ready to be called."""
        client, random, name = self.service.client, self.random, str(run)
        nodes = self.nodes(run)
        node, some = random.choice(nodes), random.sample(nodes, random.randint(0, min(2, len(nodes))))
        latest, flag, mark = (
            random.random() < 0.2,
            random.random() < 0.5,
            random.choice(("success", "failed")),
        )
        verbs: dict[str, Callable[[], Done]] = {
            "cancel": lambda: client.cancel(name, dry_run=dry_run),
            "retry": lambda: client.retry(name, nodes=some, latest=latest, dry_run=dry_run),
            "clear": lambda: client.clear(
                name,
                nodes=some,
                upstream=flag and bool(some),
                downstream=latest and bool(some),
                latest=latest,
                allow_duplicates=flag,
                dry_run=dry_run,
            ),
            "mark": lambda: client.mark(name, node, mark, dry_run=dry_run),  # type: ignore[arg-type]
            "pause": lambda: client.pause(name, node=node if flag else None, now=latest, dry_run=dry_run),
            "resume": lambda: client.resume(name, node=node if flag else None, dry_run=dry_run),
            "abandon": lambda: client.abandon(name, node=node if flag else None, dry_run=dry_run),
            "note": lambda: client.note(name, f"note {random.random()}", dry_run=dry_run),
        }
        chosen = random.choice(sorted(verbs))
        return chosen, verbs[chosen]

    def work(self, times: int) -> None:
        """Claims, decisions, ends, late ends."""
        for _ in range(times):
            self.random.choice((*[self.claim] * 3, *[self.decide] * 2, *[self.finish] * 3, self.late))()

    def claim(self) -> None:
        claimed = self.service.claim()
        if claimed is not None:
            assert claimed.attempt not in self.claimed, "claimed twice"
            assert claimed.attempt not in self.ended, "claimed after its end"
            others = [other.stage_run.id for other in self.claimed.values() if self.runs(other.attempt)]
            assert claimed.stage_run.id not in others, "a stage beside itself"
            self.claimed[claimed.attempt] = claimed

    def decide(self) -> None:
        """An epoch is decided, and mostly applied."""
        for attempt, claimed in self.some_claimed():
            if claimed.only is None and self.runs(attempt) and not self.owes(claimed):
                point = steps.opened(self.service.database, attempt)
                if point.last is None or not point.last.final:
                    token = Token("out", point.highest + 1, "part", 10, rows=1)
                    decision = Decision(point.highest + 1, final=self.random.random() < 0.2, tokens=(token,))
                    steps.decide(self.service.database, attempt, decision)
                    if self.random.random() < 0.5:
                        steps.applied(self.service.database, attempt, decision.epoch)

    def finish(self) -> None:
        """One attempt ends, as it may: it may not succeed while its stage owes an epoch."""
        for attempt, claimed in self.some_claimed():
            outcome = self.random.choice((*[Outcome.SUCCESS] * 4, *Outcome))
            if outcome == Outcome.SNOOZED:
                outcome = Outcome.FAILED
            if outcome == Outcome.SUCCESS and self.runs(attempt):
                self.apply(attempt, claimed)
            self.end(attempt, outcome)

    def late(self) -> None:
        """Who ended, or was taken away, speaks again: nothing of it counts."""
        if self.ended:
            attempt = self.random.choice(self.ended)
            events = self.events()
            steps.finish(self.service.database, {attempt: Report(Outcome.FAILED)})
            assert self.events() == events

    def events(self) -> int:
        """How many transitions were told: nothing of a run moves without one."""
        with self.service.database.read() as connection:
            return connection.execute(select(func.count()).select_from(table_of(Event))).scalar_one()

    def apply(self, attempt: int, claimed: Claimed) -> None:
        with self.service.database.read() as connection:
            owed = epochs.owed_epoch(connection, claimed.stage_run.id)
        if owed is not None and claimed.only != "abandon":
            steps.applied(self.service.database, attempt, owed)

    def end(self, attempt: int, outcome: Outcome) -> None:
        steps.finish(self.service.database, {attempt: Report(outcome)})
        del self.claimed[attempt]
        self.ended.append(attempt)

    def some_claimed(self) -> list[tuple[int, Claimed]]:
        return self.random.sample(
            sorted(self.claimed.items(), key=lambda one: one[0]), min(1, len(self.claimed))
        )

    def runs(self, attempt: int) -> bool:
        with self.service.database.read() as connection:
            return attempts.get(connection, attempt).state == AttemptState.RUNNING

    def owes(self, claimed: Claimed) -> bool:
        with self.service.database.read() as connection:
            return epochs.owed_epoch(connection, claimed.stage_run.id) is not None

    def nodes(self, run: int) -> list[str]:
        with self.service.database.read() as connection:
            return [node for row in stage_runs.of_run(connection, run).values() for node in row.nodes]

    def unended(self) -> list[int]:
        table = runs.runs
        with self.service.database.read() as connection:
            is_open = table.c.state.in_([RunState.QUEUED, RunState.RUNNING])
            return list(connection.execute(select(table.c.number).where(is_open)).scalars())

    def newest(self, limit: int) -> list[int]:
        """The newest runs, ended ones too."""
        table = runs.runs
        with self.service.database.read() as connection:
            query = select(table.c.number).order_by(table.c.number.desc()).limit(limit)
            return list(connection.execute(query).scalars())

    def run_out(self) -> None:
        """No more verbs but those that let runs go on: all of them must end."""
        client = self.service.client
        for number in self.unended():
            for row in self.service.stages(number).values():
                if row.paused and row.state not in STAGE_ENDS:
                    client.resume(str(number), node=row.stage)
            if self.service.run(number).paused:
                client.resume(str(number))
        for _ in range(10_000):
            self.service.promote()
            self.claim()
            if not self.claimed:
                return
            for attempt, claimed in list(self.claimed.items()):
                if self.runs(attempt):
                    self.apply(attempt, claimed)
                self.end(attempt, Outcome.SUCCESS)
        raise AssertionError("it goes on for ever")

    def faults(self, newest: int = 100_000) -> list[str]:
        """What is wrong in any of the newest runs, by the model."""
        found = []
        numbers = self.newest(newest)
        with self.service.database.read() as connection:
            for number in numbers:
                run = runs.get(connection, number)
                rows = stage_runs.of_run(connection, run.number)
                stages = dags.graph_of(connection, run.version)
                states = [
                    (attempt.stage_run, attempt.state, attempt.only)
                    for attempt in attempts.open_attempts(connection, run.number)
                ]
                owing = {row.id for row in rows.values() if epochs.owed_epoch(connection, row.id) is not None}
                found += [
                    f"run {run.number} ({run.state}): {fault}"
                    for fault in _faults(run, rows, stages, states, owing)
                ]
        return found


def _faults(
    run: Run,
    rows: Mapping[str, StageRun],
    stages: StageGraph,
    open_attempts: Sequence[tuple[int, AttemptState, str | None]],
    owing: set[int],
) -> Iterator[str]:
    for stage, row in rows.items():
        name = f"{stage} ({row.state})"
        ups = [rows[up].state for up in stages[stage].up if up in rows]
        if row.waiting != sum(up not in STAGE_ENDS for up in ups):
            yield f"{name} waits for {row.waiting}, its upstreams are {ups}"
        of_stage = [(state, only) for owner, state, only in open_attempts if owner == row.id]
        wanted = {StageState.QUEUED: ["queued"], StageState.RUNNING: ["running"]}.get(row.state, [])
        if [str(state) for state, _ in of_stage] != wanted:
            yield f"{name} has the attempts {of_stage}"
        if row.stop_as and row.state == StageState.QUEUED and not any(only for _, only in of_stage):
            yield f"{name} shall become {row.stop_as}, and nothing ends it"
        if row.stop_as and row.state not in (StageState.QUEUED, StageState.RUNNING):
            yield f"{name} still has stop_as {row.stop_as}"
        if row.state in STAGE_ENDS and (row.id in owing) != row.unresolved:
            yield f"{name} owes {row.id in owing}, unresolved {row.unresolved}"
        if run.state == RunState.RUNNING:
            yield from _undecided(run, name, row, stages[stage].rule, ups)
    yield from _of_run(run, rows, stages)


def _undecided(run: Run, name: str, row: StageRun, rule: str, ups: list[StageState]) -> Iterator[str]:
    if row.state == StageState.NONE:
        certain = rule == "always" or all(up in STAGE_ENDS for up in ups) or EARLY[rule].intersection(ups)
        if certain or run.cancel_cause:
            yield f"{name} is not judged: {rule} over {ups}"
    elif row.started_at is None and not run.cancel_cause and row.state in STAGE_ENDS:
        if row.state == StageState.CANCELLED:
            yield f"{name} never ran, and nothing cancels the run"
        elif row.state == StageState.SKIPPED and _misjudged(rule, ups):
            yield f"{name}: {rule} over {ups}"


def _misjudged(rule: str, ups: list[StageState]) -> bool:
    return all(up in STAGE_ENDS for up in ups) and verdict(rule, ups) != Verdict.SKIP


def _of_run(run: Run, rows: Mapping[str, StageRun], stages: StageGraph) -> Iterator[str]:
    is_open = any(row.state not in STAGE_ENDS for row in rows.values())
    if run.state == RunState.RUNNING and not is_open:
        yield "no stage is open"
    if run.state not in RUN_ENDS:
        return
    if is_open:
        yield "it has ended, and a stage is open"
    leaves = {rows[stage.id].state for stage in stages if not stage.down and stage.id in rows}
    well = leaves <= {StageState.SUCCESS, StageState.SKIPPED}
    wanted = RunState.CANCELLED if run.cancel_cause else RunState.SUCCESS if well else RunState.FAILED
    if run.state != wanted:
        yield f"its leaves are {sorted(leaves)}, its cause {run.cancel_cause}"


def steps_of_walk(few: int, many: int) -> int:
    """How long a walk is: `few` steps with every test run, `many` where LONG_WALKS is set for it."""
    return many if os.environ.get("LONG_WALKS") else few
