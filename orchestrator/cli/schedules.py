"""`fustgo dags pause`, `unpause` and `next`: the schedules of DAGs."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from orchestrator.cli.arguments import add_json_argument, few
from orchestrator.cli.confirm import add_verb_arguments

if TYPE_CHECKING:
    from datetime import datetime

    from orchestrator.client.schedules import NextRuns
    from orchestrator.store.verbs.dag_pausing import DagPause

    Verbs = argparse._SubParsersAction[argparse.ArgumentParser]

_COUNT = 5


def register(verbs: Verbs) -> None:
    """Add the verbs to those of DAGs."""
    for name, paused, summary in (
        ("pause", True, "fire nothing more; runs go on, and it can be triggered"),
        ("unpause", False, "fire again"),
    ):
        parser = verbs.add_parser(name, help=summary, description=f"{summary}.")
        parser.add_argument("dags", nargs="+", metavar="ID", help="the ids of loaded DAGs")
        add_verb_arguments(parser, asks=False)
        parser.set_defaults(run=_pause, paused=paused)
    following = verbs.add_parser("next", help="the runs that a DAG's schedule makes next")
    following.add_argument("dag", metavar="ID", help="the id of a loaded DAG")
    following.add_argument(
        "--count", type=few, default=_COUNT, metavar="N", help=f"at most so many ({_COUNT})"
    )
    add_json_argument(following)
    following.set_defaults(run=_next)


def _pause(args: argparse.Namespace) -> int:
    """Of several DAGs all are looked up first: a name that is none changes nothing of the others."""
    from orchestrator.app import build_from
    from orchestrator.cli.render import print_json

    app = build_from(args.config)
    try:
        ids = list(dict.fromkeys(args.dags))
        zones = {dag: app.client.show_dag(dag).timezone for dag in ids}
        verb = app.client.pause_dag if args.paused else app.client.unpause_dag
        done = []
        for dag in ids:
            done.append(verb(dag, dry_run=args.dry_run))
            if not args.json:  # said at once: should another fail, this one is done
                print(_said(done[-1], zones[dag], app.clock.now()))
    finally:
        app.close()
    if args.json:
        print_json([_pause_as_json(one) for one in done])
    return 0


def _pause_as_json(done: DagPause) -> dict[str, Any]:
    return {
        "dag": done.dag.dag_id,
        "paused": done.dag.paused,
        "changed": done.changed,
        "done": done.changed and not done.dry_run,
        "active_runs": done.active,
        "next_fire_at": fires_at(done),
        "removed_at": done.dag.removed_at,
    }


def fires_at(shown: Any) -> datetime | None:
    """When a DAG fires next; None where it fires nothing. `shown` has its row and its schedule."""
    dag, schedule = shown.dag, shown.schedule
    return None if schedule is None or dag.paused or dag.removed_at is not None else schedule.next_fire_at


def _said(done: DagPause, zone: str, now: datetime) -> str:
    """One line: what was done, what goes on, when it fires."""
    state = "paused" if done.dag.paused else "unpaused"
    would = "would be" if done.dry_run else "is"
    is_now = f"{done.dag.dag_id} {would} {state}" if done.changed else f"{done.dag.dag_id} is {state} already"
    follows = _goes_on(done.active) if done.dag.paused else _fires(done, zone, now)
    return f"{is_now}: {follows}"


def _goes_on(active: int) -> str:
    runs = {0: "", 1: "; 1 run goes on"}.get(active, f"; {active} runs go on")
    return f"its schedule fires no more{runs}"


def _fires(done: DagPause, zone: str, now: datetime) -> str:
    from orchestrator.cli.render import apart, local

    if done.dag.removed_at is not None:
        return f"it was removed, and fires when {done.dag.file} holds it again"
    if done.schedule is None or done.schedule.timetable is None:
        return "it has no schedule, and runs when it is triggered"
    at = done.schedule.next_fire_at
    if at is None:
        return "its schedule is over, nothing fires any more"
    if at <= now:
        return f"what was due at {local(at, zone)} fires now"
    return f"fires next at {local(at, zone)}, {apart(at, now)}"


def _next(args: argparse.Namespace) -> int:
    from orchestrator.app import build_from
    from orchestrator.cli.render import apart, local, print_json, table

    app = build_from(args.config)
    found, now = app.client.next_runs(args.dag, args.count), app.clock.now()
    app.close()
    zone = found.view.timezone
    if args.json:
        print_json(_next_as_json(found))
        return 0
    if remark := _remark(found):
        print(remark)
    rows = [
        [
            local(tick.fire_time, zone),
            apart(tick.fire_time, now),
            local(tick.logical_date, zone),
            " to ".join(local(end, zone) for end in tick.interval),
        ]
        for tick in found.ticks
    ]
    if rows:
        print(table([f"fires ({zone})", "", "logical date", "data interval"], rows))
    return 0


def _remark(found: NextRuns) -> str:
    """What people should know of these runs, or why there are none."""
    from orchestrator.cli.render import moment

    dag = found.view.dag
    most, since = found.most, moment(dag.removed_at)
    words = {
        "paused": "is paused: what would fire if it were unpaused now",
        "held_back": f"is held back: {found.active} of at most {most} runs are active, one has to end first",
        "over": "fires no more: its schedule is over",
        "removed": f"fires nothing: it was removed at {since} UTC, {dag.file} does not hold it any more",
        "unscheduled": "has no schedule: it runs when it is triggered",
    }.get(found.firing)
    return f"{dag.dag_id} {words}" if words else ""


def _next_as_json(found: NextRuns) -> dict[str, Any]:
    dag = found.view.dag
    return {
        "dag": dag.dag_id,
        "firing": found.firing,
        "schedule": found.view.version.document.get("schedule"),
        "timezone": found.view.timezone,
        "paused": dag.paused,
        "removed_at": dag.removed_at,
        "active_runs": found.active,
        "max_active_runs": found.most,
        "runs": [
            {
                "fire_time": tick.fire_time,
                "logical_date": tick.logical_date,
                "data_interval": list(tick.interval),
            }
            for tick in found.ticks
        ],
    }
