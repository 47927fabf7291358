"""`fustgo dags trigger`: create a run of a loaded DAG; the services execute it."""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING

from orchestrator.cli.arguments import add_param_argument, params_of
from orchestrator.cli.confirm import add_verb_arguments

if TYPE_CHECKING:
    from orchestrator.app import App


def register(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the verb."""
    parser.add_argument("dag", metavar="DAG", help="the id of a loaded DAG")
    add_param_argument(parser)
    parser.add_argument("--logical-date", metavar="WHEN", help="ISO date or time (default: now)")
    parser.add_argument("--run-id", metavar="NAME", help="its name, unique in the DAG (default: made)")
    parser.add_argument("--key", metavar="KEY", help="a second trigger with this key is the same run")
    parser.add_argument("--note", default="", metavar="TEXT", help="a note on the run")
    watch = parser.add_mutually_exclusive_group()
    watch.add_argument("--wait", action="store_true", help="wait for its end; exit code 1 where it fails")
    watch.add_argument("--follow", action="store_true", help="the same, with the log lines of its stages")
    add_verb_arguments(parser, asks=False)
    parser.set_defaults(run=_trigger)


def _trigger(args: argparse.Namespace) -> int:
    from orchestrator.app import build_from
    from orchestrator.cli.confirm import exit_code, perform

    app = build_from(args.config)
    try:
        done = perform(
            args,
            lambda dry_run: app.client.trigger(
                args.dag,
                params=params_of(args),
                logical_date=args.logical_date,
                run_id=args.run_id,
                key=args.key,
                note=args.note,
                dry_run=dry_run,
            ),
        )
        if done is None:
            return exit_code(args)
        if not (args.wait or args.follow):
            return 0
        return _await(args, app, done.run.number)
    finally:
        app.close()


def _await(args: argparse.Namespace, app: App, number: int) -> int:
    """Wait for the end of a run: 0 success, 1 failed, 130 cancelled, or left alone by Ctrl-C."""
    out = sys.stderr if args.json else sys.stdout
    try:
        from orchestrator.cli.following import follow
        from orchestrator.cli.render import run_state

        run = follow(app.client, number, logs=args.follow, out=out)
    except KeyboardInterrupt:
        print(f"\nrun {number} goes on without you; `fustgo runs cancel {number}` ends it", file=sys.stderr)
        return 130
    print(f"run {number}: {run_state(run)}", file=out)
    return {"success": 0, "cancelled": 130}.get(str(run.state), 1)
