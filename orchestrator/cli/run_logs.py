"""`fustgo runs logs`: what the attempts of a run have logged, and go on to."""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING

from orchestrator.cli.arguments import add_json_argument, add_run_argument, whole_number

if TYPE_CHECKING:
    from orchestrator.app import App
    from orchestrator.cli.following import LinePrinter, LogReader
    from orchestrator.client import Client
    from orchestrator.store.views import RunView, StageView


def register(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the verb."""
    parser.description = "What the newest attempt of each stage has logged."
    add_run_argument(parser)
    parser.add_argument(
        "node", nargs="?", metavar="NODE", help="only its lines, and those of its stage that name no node"
    )
    parser.add_argument("-f", "--follow", action="store_true", help="go on until what is shown has ended")
    which = parser.add_mutually_exclusive_group()
    which.add_argument(
        "--all-attempts", action="store_true", help="also those before the newest of each stage"
    )
    which.add_argument(
        "--attempt", type=whole_number, metavar="N", help="one attempt, by its number in `runs show`"
    )
    add_json_argument(parser)
    parser.set_defaults(run=_logs)


def _logs(args: argparse.Namespace) -> int:
    from orchestrator.app import build_from
    from orchestrator.cli.following import LinePrinter, LogReader

    app = build_from(args.config)
    try:
        view = app.client.show_run(args.run_name)
        chosen = _chosen(view, args)
        newest = not args.all_attempts and args.attempt is None
        reader = LogReader(app.client, (args.node,) if args.node else (), args.attempt, from_newest=newest)
        printer = LinePrinter(
            sys.stdout, as_json=args.json, headed=len(chosen) > 1 or args.follow or args.all_attempts
        )
        if args.follow:
            _follow(app, args, reader, printer)
        else:
            spoken = _print_new(view, chosen, reader, printer)
            if not args.json:
                _tell_silent(app.client, view, chosen, args.attempt, spoken)
        return 0
    finally:
        app.close()


def _follow(app: App, args: argparse.Namespace, reader: LogReader, printer: LinePrinter) -> None:
    from orchestrator.cli.following import LOG_SECONDS
    from orchestrator.runs.states import STAGE_ENDS

    for view in app.client.watch(args.run_name, every=LOG_SECONDS):
        chosen = _chosen(view, args)
        ended = all(stage.stage_run.state in STAGE_ENDS for stage in chosen)
        _print_new(view, chosen, reader, printer)
        if ended:
            return


def _print_new(view: RunView, chosen: list[StageView], reader: LogReader, printer: LinePrinter) -> set[int]:
    """Print what is new of the chosen stages; the attempts that have said it."""
    spoken = set()
    for stage, attempt, line in reader.new(view.run, chosen):
        printer(stage, attempt, line)
        spoken.add(attempt)
    return spoken


def _tell_silent(
    client: Client, view: RunView, chosen: list[StageView], one: int | None, spoken: set[int]
) -> None:
    """Why lines are not there: how an attempt ended that died with its worker, the store alone tells."""
    number, told = view.run.number, []
    if view.run.held_by is not None:
        told.append(f"run {number} is one of a command, which logs to its own terminal and keeps nothing")
    else:
        ended = [
            (stage.stage_run.stage, attempt)
            for stage in chosen
            for attempt in stage.attempts
            if attempt.outcome is not None and one in (None, attempt.id) and attempt.id not in spoken
        ]
        for stage, attempt in ended:
            if not client.read_log(view.run, stage, attempt.id, 0).lines:
                why = f", {attempt.error['message']}" if attempt.error else ""
                told.append(
                    f"attempt {attempt.id} of {stage} has logged nothing; its end was: {attempt.outcome}{why}"
                )
    if not told and not spoken:
        told.append(f"run {number} has logged nothing here yet")
    for text in told:
        print(text, file=sys.stderr)


def _chosen(view: RunView, args: argparse.Namespace) -> list[StageView]:
    """The stages that are meant; raises UsageError where the run has no such node or attempt."""
    from orchestrator.errors import UsageError, nearest

    number = view.run.number
    chosen = [stage for stage in view.stages if args.node is None or args.node in stage.nodes]
    if not chosen:
        known = [node for stage in view.stages for node in stage.nodes]
        raise UsageError(f"run {number} has no node {args.node!r}", hint=nearest(args.node, known))
    tries = {attempt.id: stage for stage in chosen for attempt in stage.attempts}
    if args.attempt is not None and args.attempt not in tries:
        listed = ", ".join(map(str, tries)) or "none yet"
        raise UsageError(f"run {number} has no attempt {args.attempt} here", hint=f"there are: {listed}")
    return [tries[args.attempt]] if args.attempt is not None else chosen
