"""Why something waits, in words, with the remedy. Pure: the facts of one moment in, reasons out.

The facts come from `store.waiting`. All reasons that hold are given: of a stage of a paused run whose pool is
full, both.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from orchestrator.runs.facts import Facts, Queued, Run, Stage, Taken, Worker
from orchestrator.runs.states import RUN_ENDS, STAGE_ENDS, Outcome, RunState, StageState

_NAMED = 5  # of a long list; the rest is counted


@dataclass(frozen=True)
class Reason:
    """One thing that keeps a run or a stage (`stage` None: the run). `code` is for machines, and stays."""

    code: str
    text: str
    remedy: str
    stage: str | None = None


def reasons(facts: Facts) -> list[Reason]:
    """Everything that keeps the run and these stages of it; empty where nothing waits.

    Of many stages that one kind of reason keeps the first are told, the others counted.
    """
    found = list(_of_run(facts))
    counts: Counter[str] = Counter()
    for stage in facts.stages:
        for reason in _of_stage(facts, stage):
            counts[reason.code] += 1
            if counts[reason.code] <= _NAMED:
                found.append(reason)
    return found + [_more(code, number - _NAMED) for code, number in counts.items() if number > _NAMED]


def _more(code: str, number: int) -> Reason:
    """So many stages more wait for the same kind of reason."""
    text = f"{_stages(number)} more: {code.replace('_', ' ')}"
    return Reason(code, text, "ask for the reason of one by its node")


def _of_run(facts: Facts) -> Iterator[Reason]:
    run = facts.run
    if run.state in RUN_ENDS:
        return
    if run.state == RunState.QUEUED:
        yield _promotion(run)
    if run.cancel_cause is not None:
        yield from _cancelling(facts)
    if run.paused:
        yield Reason("run_paused", f"run {run.number} is paused: nothing of it is claimed", _go_on(run))
    if run.holder is not None:
        yield _held(run, run.holder)


def _promotion(run: Run) -> Reason:
    """Why a queued run does not begin."""
    if run.places == 0:
        text = f"{_due(run)} waits: its backfill is paused"
        if run.lane != "backfill":
            text = f"{_due(run)} waits: {run.dag} may have no active runs"
        return Reason("no_places", text, "resume the backfill, or raise max_active_runs")
    if len(run.active) >= run.places:
        places = f"{run.dag} may have {run.places} active, and has {_runs(run.active)}"
        text = f"{_due(run)} waits for a place: {places}"
        return Reason("max_active_runs", text, "wait for one of them, cancel one, or raise max_active_runs")
    if len(run.active) + len(run.before) >= run.places:
        text = f"{_due(run)} waits behind {_runs(run.before)}, queued before it"
        return Reason("runs_before", text, "wait, cancel one of them, or raise max_active_runs")
    if not run.schedulers:
        text = f"{_due(run)} is queued, and no scheduler is alive to start it"
        return Reason("no_scheduler", text, "start one: fustgo standalone, or fustgo scheduler")
    text = f"{_due(run)} is queued; nothing keeps it"
    return Reason("about_to_start", text, "wait: a scheduler starts it within seconds")


def _due(run: Run) -> str:
    """A run, and when it should have started where a schedule has fired it."""
    at = f", due {run.due.isoformat(timespec='seconds')}" if run.due else ""
    return f"run {run.number}{at}{' and late,' if run.late else ',' if at else ''}"


def _cancelling(facts: Facts) -> Iterator[Reason]:
    run = facts.run
    mine = [taken for taken in facts.taken if taken.run == run.number]
    cause = "its time is over" if run.cancel_cause == "timeout" else "it was cancelled"
    for taken in mine:
        text = (
            f"run {run.number} ends ({cause}) when attempt {taken.attempt} of {taken.stage} has: it runs on"
        )
        remedy = "wait: it is killed when its grace period is over"
        if taken.worker is not None and taken.worker.standing in ("offline", "ended"):
            remedy = f"{taken.worker} does not answer: a living scheduler takes the attempt away within 40 s"
        yield Reason("cancelling", f"{text} {taken.worker or 'a worker that is gone'}", remedy)


def _held(run: Run, holder: Worker) -> Reason:
    text = f"run {run.number} is executed by a command, one stage at a time: {_process(holder)}"
    if holder.standing in ("offline", "ended"):
        gone = f"run {run.number} was executed by a command that is gone ({_process(holder)})"
        return Reason("holder_gone", gone, _go_on(run))
    return Reason(
        "held", text, f"wait for it there, or end it (Ctrl-C keeps what it has done): {_go_on(run)}"
    )


def _of_stage(facts: Facts, stage: Stage) -> Iterator[Reason]:
    if stage.unresolved:
        yield _unresolved(facts.run, stage)
    if stage.state in STAGE_ENDS or facts.run.state in RUN_ENDS:
        return
    if stage.state == StageState.NONE:
        yield from _waits_for_others(facts.run, stage)
    elif stage.queued is not None:
        found = list(_keeps(facts, stage, stage.queued))
        if not found and facts.run.state == RunState.RUNNING:
            text = f"{stage.id} is queued; nothing keeps it"
            found = [Reason("about_to_run", text, "wait: it is claimed within a second", stage.id)]
        yield from found
    elif stage.running is not None:
        yield from _of_running(facts, stage, stage.running)
    if stage.pool not in facts.pools and (stage.queued or stage.running):
        text = f"{stage.id} asks for pool {stage.pool!r}, which nobody has set: it has no limit"
        yield Reason("pool_unset", text, f"fustgo pools set {stage.pool} {stage.slots}, or more", stage.id)


def _unresolved(run: Run, stage: Stage) -> Reason:
    node = f"{run.number} --node {stage.id}"
    text = f"{stage.id} has a decided epoch that has not reached its targets"
    if stage.abandoning:
        remedy = "it is being given up and nothing else can happen to it: repeat the abandon where it failed"
    elif run.holder is not None:
        remedy = (
            f"apply it: fustgo run {run.file} --resume {run.number}; or give it up: --abandon {run.number}"
        )
    else:
        remedy = f"apply it: fustgo runs retry {node}; or give it up: fustgo runs abandon {node}"
    return Reason("unresolved", text, remedy, stage.id)


def _waits_for_others(run: Run, stage: Stage) -> Iterator[Reason]:
    if stage.open_branches:
        text = f"{stage.id} waits for {_states(stage.open_branches)}, whose choice may skip it"
        yield Reason("branch", text, "wait: it is judged when the choice is made", stage.id)
    upstreams = {up: state for up, state in stage.open_upstreams.items() if up not in stage.open_branches}
    if upstreams:
        text = f"{stage.id} waits for {_states(upstreams)}"
        yield Reason("upstreams", text, "wait for them; ask why about one to see what keeps it", stage.id)
    if run.state == RunState.RUNNING and not stage.open_branches and not upstreams:
        text = f"{stage.id} waits, and nothing above it is open"
        yield Reason(
            "not_judged", text, "have it judged anew: fustgo db check --runs; and report this", stage.id
        )


def _keeps(facts: Facts, stage: Stage, queued: Queued) -> Iterator[Reason]:
    """What keeps a queued attempt from being claimed."""
    if stage.paused and queued.only is None:
        remedy = f"fustgo runs resume {facts.run.number} --node {stage.id}"
        yield Reason("stage_paused", f"{stage.id} is paused", remedy, stage.id)
    if queued.due > facts.now:
        yield _not_due(facts.run, stage, queued)
        return
    yield from _pool(facts, stage, queued)
    if len(facts.of_dag) >= facts.most_of_dag:
        full = f"{facts.run.dag} may run {facts.most_of_dag} stages at once, and runs {_taken(facts.of_dag)}"
        remedy = "wait for one of them, or raise max_active_tasks"
        yield Reason("max_active_tasks", f"{stage.id} waits: {full}", remedy, stage.id)
    if facts.run.holder is None and facts.run.state == RunState.RUNNING:
        yield from _worker(facts, stage, queued)


def _not_due(run: Run, stage: Stage, queued: Queued) -> Reason:
    at = queued.due.isoformat(timespec="seconds")
    if queued.after == Outcome.SNOOZED:
        return Reason("snoozed", f"{stage.id} is snoozed until {at}", "wait: it looks again then", stage.id)
    if stage.tries:
        again = f"try {stage.tries + 1} of {stage.retries + 1} is due at {at}"
        return Reason(
            "retry",
            f"{stage.id} failed {_times(stage.tries)}; {again}",
            "wait, or end it there with Ctrl-C"
            if run.holder is not None
            else f"wait, or give up: fustgo runs mark {run.number} --node {stage.id} --as failed",
            stage.id,
        )
    return Reason("not_due", f"{stage.id} is not due before {at}", "wait", stage.id)


def _pool(facts: Facts, stage: Stage, queued: Queued) -> Iterator[Reason]:
    size = facts.pools.get(stage.pool)
    if size is None:
        return
    if stage.slots > size:
        text = f"{stage.id} asks for {stage.slots} slots of pool {stage.pool!r}, which has {size}"
        remedy = f"fustgo pools set {stage.pool} {stage.slots}, or lower pool_slots"
        yield Reason("pool_too_small", text, remedy, stage.id)
        return
    holding = [taken for taken in facts.taken if taken.pool == stage.pool]
    free = facts.free(stage.pool)
    if stage.slots > free:
        standing = f"{max(free, 0)} of {size} are free, the others are held by {_taken(holding)}"
        text = f"{stage.id} needs {stage.slots} of pool {stage.pool!r}: {standing}"
        remedy = f"wait for one of them, or fustgo pools set {stage.pool} {size - free + stage.slots}"
        yield Reason("pool_full", text, remedy, stage.id)
        return
    closed = facts.closed.get(stage.pool, queued.place)
    if closed < queued.place:
        other = facts.due[closed]
        first = f"{other} comes first and needs {other.slots} slots"
        text = f"{stage.id} would fit pool {stage.pool!r}, but {first}"
        remedy = f"wait, give {stage.id} a higher priority_weight, or a pool of its own"
        yield Reason("pool_closed", text, remedy, stage.id)


def _worker(facts: Facts, stage: Stage, queued: Queued) -> Iterator[Reason]:
    """Whether somebody is there to claim it, with a free slot."""
    services = [one for one in facts.workers if one.kind not in ("command", "scheduler", "web")]
    online = [one for one in services if one.standing == "online"]
    able = [one for one in online if stage.label is None or stage.label in one.labels]
    if not online:
        others = f": {_listed(f'{one} is {one.standing}' for one in services)}" if services else ""
        text = f"{stage.id} waits for a worker, and none is alive{others}"
        yield Reason("no_worker", text, "start one: fustgo standalone, or fustgo worker", stage.id)
    elif not able:
        text = f"{stage.id} asks for a worker with the label {stage.label!r}, and none alive has it"
        remedy = f"start one: FUSTGO_WORKER__LABELS={stage.label} fustgo worker; or change the node's queue"
        yield Reason("no_label", text, remedy, stage.id)
    elif all(one.running >= one.slots for one in able):
        text = f"{stage.id} waits for a slot: all workers are busy ({_listed(_load(one) for one in able)})"
        yield Reason("workers_busy", text, "wait, start another worker, or raise worker.slots", stage.id)
        yield from _overtaken(facts, stage, queued)


def _overtaken(facts: Facts, stage: Stage, queued: Queued) -> Iterator[Reason]:
    """Who is chosen before it whenever a slot is free: under endless load of such, it waits for ever."""
    live = min(facts.live, queued.place)
    if facts.run.lane == "backfill" and live:
        first = f"{_stages(live)} of live runs before it, {_taken(facts.due[:live])}"
        text = f"{stage.id} is part of a backfill: {first}"
        yield Reason("live_first", text, "wait, or start another worker: live runs always go first", stage.id)
    elif queued.place:
        first = f"{_stages(queued.place)} before {stage.id} by priority and age"
        text = f"{first}: {_taken(facts.due[: queued.place])}"
        yield Reason("priority", text, "wait, start another worker, or raise its priority_weight", stage.id)


def _of_running(facts: Facts, stage: Stage, running: Taken) -> Iterator[Reason]:
    worker = running.worker
    if stage.stop_as is not None:
        text = f"{stage.id} becomes {stage.stop_as} when attempt {running.attempt} has stopped on {worker}"
        yield Reason("stopping", text, "wait: it is killed when its grace period is over", stage.id)
    elif facts.run.paused or stage.paused:
        text = f"{stage.id} pauses when attempt {running.attempt} on {worker} has kept what it has done"
        yield Reason("pausing", text, "wait; what cannot keep anything runs to its end", stage.id)
    if worker is not None and worker.standing in ("offline", "ended"):
        text = f"{stage.id} is on {worker}, which does not answer"
        remedy = "wait: a living scheduler takes the attempt away within 40 s, and another worker goes on"
        yield Reason("worker_silent", text, remedy, stage.id)


def _go_on(run: Run) -> str:
    if run.holder is not None:
        return f"fustgo run {run.file} --resume {run.number}"
    return f"fustgo runs resume {run.number}"


def _process(holder: Worker) -> str:
    return f"process {holder.pid} on {holder.host}"


def _load(worker: Worker) -> str:
    return f"{worker} {worker.running} of {worker.slots}"


def _times(number: int) -> str:
    return "once" if number == 1 else f"{number} times"


def _stages(number: int) -> str:
    return "1 stage" if number == 1 else f"{number} stages"


def _runs(numbers: Sequence[int]) -> str:
    return f"run{'s' if len(numbers) > 1 else ''} {_listed(map(str, numbers))}"


def _states(states: Mapping[str, StageState]) -> str:
    words = {StageState.NONE: "waiting"}
    return _listed(f"{stage} ({words.get(state, state)})" for stage, state in states.items())


def _taken(taken: Iterable[Taken]) -> str:
    return _listed(map(str, taken))


def _listed(words: Iterable[str]) -> str:
    found = list(words)
    more = f" and {len(found) - _NAMED} more" if len(found) > _NAMED else ""
    return ", ".join(found[:_NAMED]) + more
