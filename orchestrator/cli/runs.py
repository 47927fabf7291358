"""`fustgo runs`: what ran and runs, how it went, and what can be done about it."""

from __future__ import annotations

import argparse
import json
import sys
from textwrap import indent
from typing import TYPE_CHECKING, Any

from orchestrator.cli import run_logs, run_verbs
from orchestrator.cli.arguments import add_json_argument, add_run_argument, whole_number

if TYPE_CHECKING:
    from datetime import datetime

    from orchestrator.store.tables import Run
    from orchestrator.store.views import RunView, StageView

_SHOWN = 100  # characters of a result; `--json` has all of it


def register(parser: argparse.ArgumentParser) -> None:
    """Add the verbs of runs."""
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="VERB")
    listed = verbs.add_parser("list", help="the newest runs")
    listed.add_argument("--dag", metavar="ID", help="only those of this DAG (ID@local: a file run by hand)")
    listed.add_argument("--limit", type=whole_number, default=20, metavar="N", help="at most so many (20)")
    add_json_argument(listed)
    listed.set_defaults(run=_list)
    shown = verbs.add_parser("show", help="one run: stages, attempts, epochs, figures")
    add_run_argument(shown)
    add_json_argument(shown)
    shown.set_defaults(run=_show)
    why = verbs.add_parser("why", help="what keeps a run, or the stage of a node, and what to do")
    add_run_argument(why)
    why.add_argument("node", nargs="?", metavar="NODE", help="the node whose stage is meant")
    add_json_argument(why)
    why.set_defaults(run=_why)
    run_logs.register(verbs.add_parser("logs", help="what the attempts of a run have logged"))
    run_verbs.register(verbs)


def _list(args: argparse.Namespace) -> int:
    from orchestrator.app import build_from
    from orchestrator.cli.render import moment, print_json, run_state, seconds, table

    app = build_from(args.config)
    found = app.client.list_runs(dag=args.dag, limit=args.limit)
    app.close()
    if args.json:
        print_json([_as_json(run) | {"dag": dag} for run, dag in found])
        return 0
    rows = [
        [
            run.number,
            dag,
            run_state(run),
            moment(run.started_at),
            seconds((run.ended_at - run.started_at).total_seconds())
            if run.ended_at and run.started_at
            else "-",
            run.run_id,
        ]
        for run, dag in found
    ]
    none = f"no runs of {args.dag}" if args.dag else "no runs yet"
    print(table(["run", "dag", "state", "start (UTC)", "elapsed", "run id"], rows) if rows else none)
    return 0


def _show(args: argparse.Namespace) -> int:
    from orchestrator.app import build_from
    from orchestrator.cli.render import print_json
    from orchestrator.cli.summary import print_summary

    app = build_from(args.config)
    view = app.client.show_run(args.run_name)
    rejects, now = app.client.rejects_folder(view), app.clock.now()
    app.close()
    if args.json:
        print_json(_view_as_json(view, now))
        return 0
    print_summary(view, rejects, sys.stdout, now)
    run = view.run
    print(f"uid {run.uid}  file {run.file}  logical date {run.logical_date}")
    print(_origin(run))
    if run.params:
        print(f"params {json.dumps(run.params, ensure_ascii=False)}")
    if run.note:
        print(f"note {run.note}")
    for stage in view.stages:
        _print_stage(view, stage, now)
    return 0


def _origin(run: Run) -> str:
    """How a run came about, and which code it imports."""
    from orchestrator.cli.render import moment, short_version

    words = [f"type {run.run_type}"]
    if run.due_at is not None:
        words.append(f"due {moment(run.due_at)}{' (late)' if run.late else ''}")
    if run.bundle_version is not None:
        words.append(f"code {short_version(run.bundle_version)}")
    return "  ".join(words)


def _why(args: argparse.Namespace) -> int:
    from orchestrator.app import build_from
    from orchestrator.cli.render import print_json, run_state

    app = build_from(args.config)
    reasons = app.client.why(args.run_name, args.node)
    run = app.client.show_run(args.run_name).run
    app.close()
    if args.json:
        print_json([vars(reason) for reason in reasons])
        return 0
    for reason in reasons:
        print(f"{reason.text}\n  do: {reason.remedy}")
    if not reasons:
        print(f"nothing waits: run {run.number} is {run_state(run)}")
    return 0


def _print_stage(view: RunView, stage: StageView, now: datetime) -> None:
    from orchestrator.cli.render import moment, shortened, table
    from orchestrator.store.views import lines_of

    row, later = stage.stage_run, stage.due is not None and stage.due > now
    words = [view.shown(stage, now), f"until {moment(stage.due)}" if later else ""]
    owed = ", a decided epoch is not applied" if row.unresolved else ""
    print(f"\nstage {row.stage}: {' '.join(filter(None, words))}{owed}")
    if row.error:
        print(indent(row.error.get("message", ""), "  "))
        if row.error.get("hint"):
            print(indent(f"hint: {row.error['hint']}", "  "))
    for node, result in (row.result or {}).items():
        text = json.dumps(result, ensure_ascii=False)
        print(f"  {node} gave {text if len(text) <= _SHOWN else text[:_SHOWN] + '...'}")
    tries = [
        [
            str(first.id) if first is last else f"{first.id}..{last.id}",
            str(last.outcome or last.state) + ("" if first is last else f", {len(line)} times"),
            moment(first.claimed_at),
            moment(last.ended_at),
            shortened((last.error or {}).get("message", "")),
        ]
        for line in lines_of(stage.attempts)
        for first, last in [(line[0], line[-1])]
    ]
    if tries:
        print(table(["attempt", "outcome", "claimed", "ended", "error"], tries, indent="  "))
    if stage.epochs:
        states = ", ".join(
            f"{epoch.number} {epoch.state}{' (final)' if epoch.final else ''}" for epoch in stage.epochs[-5:]
        )
        print(f"  {len(stage.epochs)} epoch{'s' * (len(stage.epochs) != 1)}; the last: {states}")


def _as_json(run: Any) -> dict[str, Any]:
    return dict(run.model_dump(mode="json"))


def _view_as_json(view: RunView, now: datetime) -> dict[str, Any]:
    from orchestrator.cli.summary import figures_of

    return _as_json(view.run) | {
        "dag": view.dag_name,
        "stages": [
            _as_json(stage.stage_run)
            | {
                "shown": view.shown(stage, now),
                "nodes": {node: vars(figures) for node, figures in figures_of(stage).items()},
                "attempts": [_as_json(attempt) for attempt in stage.attempts],
                "epochs": [vars(epoch) for epoch in stage.epochs],
            }
            for stage in view.stages
        ],
    }
