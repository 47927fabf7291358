"""`fustgo run FILE|DAG`: run a DAG here and now, in this process, on the home's store.

Ctrl-C once is the verb pause on that run: it ends at a savepoint, and `--resume` goes on. Twice: it ends
at once, as a kill would.
"""

from __future__ import annotations

import argparse
import gc
import os
import shlex
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from orchestrator.cli.arguments import add_param_argument, params_of
from orchestrator.cli.files import add_file_arguments, is_file, open_file

if TYPE_CHECKING:
    from orchestrator.app import App
    from orchestrator.client import Definition
    from orchestrator.engine.signals import Signals
    from orchestrator.runs.report import Report
    from orchestrator.store.tables import Run
    from orchestrator.store.views import RunView


def register(parser: argparse.ArgumentParser) -> None:
    """Add the command `run`."""
    parser.description = "Run a DAG in this process. Ctrl-C once keeps a savepoint, twice ends at once."
    add_file_arguments(parser, loaded=True)
    add_param_argument(parser)
    parser.add_argument("--logical-date", metavar="WHEN", help="ISO date or time (default: now)")
    again = parser.add_mutually_exclusive_group()
    again.add_argument(
        "--resume",
        nargs="?",
        const="",
        metavar="RUN",
        help="go on with a run (default: the newest unfinished)",
    )
    again.add_argument("--clear", metavar="RUN", help="start a run over")
    again.add_argument("--abandon", metavar="RUN", help="give up what is decided but cannot be applied")
    parser.add_argument(
        "--allow-duplicates", action="store_true", help="with --clear: rows that were appended may come twice"
    )
    parser.set_defaults(run=_run)


def _run(args: argparse.Namespace) -> int:
    _refuse_misfits(args)
    from orchestrator.app import build_from
    from orchestrator.engine.signals import Signals

    app = build_from(args.config)
    signals = Signals()
    with _signals(app, signals):
        try:
            return _execute(args, app, signals)
        finally:
            app.close()


def _refuse_misfits(args: argparse.Namespace) -> None:
    """An argument that would be ignored is refused."""
    from orchestrator.errors import UsageError

    if args.allow_duplicates and args.clear is None:
        raise UsageError("--allow-duplicates goes with --clear RUN")
    old = args.clear is not None or args.abandon is not None or args.resume is not None
    if old and args.logical_date:
        raise UsageError("--logical-date is for a new run; an old one keeps its own")
    if args.param and (args.clear is not None or args.abandon is not None):
        raise UsageError("--param is for a new run; an old one keeps its own")


def _execute(args: argparse.Namespace, app: App, signals: Signals) -> int:
    from orchestrator.cli.display import display_for
    from orchestrator.cli.summary import print_summary
    from orchestrator.runs.states import Outcome

    definition, run, worker = _begin(args, app)
    gc.freeze()
    gc.enable()
    display = display_for()
    place = "@local" if definition.loaded is None else ""
    display.note(f"{definition.dag.id}{place}: run {run.number} ({run.run_id}){_goes_on(args)}")
    for line in _ignored(definition, app):
        display.note(line)
    try:
        tree = app.client.tree_of(definition, run)
        with app.heartbeat(worker):
            report = app.inline_worker(worker, signals).run_to_end(run.number, display, tree)
    finally:
        display.close()
    app.client.leave(worker)
    view = app.client.show_run(str(run.number))
    print_summary(view, app.client.rejects_folder(view), sys.stdout, app.clock.now())
    if report is not None and report.outcome == Outcome.FAILED:
        _print_failures(view)
    print_next(view, args, report)
    return 0 if args.abandon is not None and report is None else exit_code(view.run, report)


def _ignored(definition: Definition, app: App) -> Iterator[str]:
    """What the DAG says and this command does not heed."""
    from orchestrator.cli.pools import unset_notes
    from orchestrator.dag.unused import unused_arguments

    if unused := [*unused_arguments(definition.dag)]:
        yield f"not used by `fustgo run`: {', '.join(unused)}"
    yield from unset_notes(definition.stages, app.database)


def print_next(view: RunView, args: argparse.Namespace, report: Report | None) -> None:
    """The command that takes the run further, whole, so that it can be pasted."""
    number = view.run.number
    again = ["fustgo", "run", shlex.quote(str(args.file))]
    again += ["--dag", args.dag] if args.dag else []
    again += ["--project", shlex.quote(str(args.project))] if args.project else []
    command = " ".join(again)
    if args.abandon is not None and report is None:
        print(
            f"the decided epoch was given up; go on without its rows: {command} --resume {number}\n"
            f"or start over: {command} --clear {number}",
            file=sys.stderr,
        )
    elif any(stage.stage_run.unresolved for stage in view.stages):
        print(
            f"a decided epoch has not reached its targets; when they can take it: {command} --resume {number}"
            f"\nor give it up: {command} --abandon {number}",
            file=sys.stderr,
        )
    elif view.run.paused or view.run.state == "failed":
        print(f"go on with: {command} --resume {number}", file=sys.stderr)


def _print_failures(view: RunView) -> None:
    """What went wrong in each stage that failed; the run may have ended well all the same."""
    word = "error" if view.run.state == "failed" else "warning"
    for stage in view.stages:
        error = stage.stage_run.error
        if stage.stage_run.state == "failed" and error:
            name = f"stage {stage.stage_run.stage}: " if len(view.stages) > 1 else ""
            hint = f"\n  hint: {error['hint']}" if error.get("hint") else ""
            print(f"{word}: {name}{error.get('message', '')}{hint}", file=sys.stderr)


def _goes_on(args: argparse.Namespace) -> str:
    if args.resume is not None:
        return ", going on from its last checkpoint"
    if args.clear is not None:
        return ", starting over"
    return ", giving up what is owed" if args.abandon is not None else ""


def _begin(args: argparse.Namespace, app: App) -> tuple[Definition, Run, int]:
    """Check the file and create, or take over, the run."""
    from orchestrator.dag.manual import manual_interval
    from orchestrator.dag.params import resolve_params
    from orchestrator.runs.times import given_date

    definition = _definition(args, app)
    given = params_of(args)
    client = app.client
    if args.resume is not None:
        params = resolve_params(definition.dag, given) if given else None
        wanted = {name: params[name] for name in given} if params is not None else None
        worker = client.register_command()
        return (
            definition,
            client.resume_held(definition, args.resume or None, worker=worker, params=wanted),
            worker,
        )
    if args.clear is not None:
        worker = client.register_command()
        run = client.clear_held(definition, args.clear, worker=worker, allow_duplicates=args.allow_duplicates)
        return definition, run, worker
    if args.abandon is not None:
        worker = client.register_command()
        return definition, client.abandon_held(definition, args.abandon, worker=worker), worker
    params = resolve_params(definition.dag, given)
    date = given_date(args.logical_date, definition.dag.timezone) or app.clock.now()
    interval = manual_interval(definition.dag, date)
    worker = client.register_command()
    run = client.start_held(definition, worker=worker, logical_date=date, interval=interval, params=params)
    return definition, run, worker


def _definition(args: argparse.Namespace, app: App) -> Definition:
    """The DAG of the file, checked; or a loaded DAG in its stored version."""
    from orchestrator.errors import UsageError

    if is_file(str(args.file)):
        old = args.resume or args.clear or args.abandon
        meant = app.client.dag_of(old) if old else None
        return open_file(args, app.registry, meant).definition()
    if args.dag:
        raise UsageError("--dag chooses among the DAGs of a file; here the DAG is named already")
    project = args.project.resolve() if args.project is not None else None
    try:
        return app.client.loaded_definition(str(args.file), project)
    except UsageError as error:
        file = f"a file is named with its ending: fustgo run {args.file}.py"
        raise UsageError(error.message, hint=f"{error.hint}; {file}") from None


@contextmanager
def _signals(app: App, signals: Signals) -> Iterator[None]:
    """Ctrl-C and SIGTERM ask for a savepoint, and the second ends the process; Ctrl-Z waits for the store."""

    def stop(*_: Any) -> None:
        if signals.pausing:
            os.write(
                sys.stderr.fileno(),
                b"stopped at once; --resume goes on from the last checkpoint, where there is one\n",
            )
            os._exit(130)
        os.write(sys.stderr.fileno(), b"stopping at a savepoint; once more stops at once\n")
        signals.pause()

    before = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
    before[signal.SIGTSTP] = signal.signal(signal.SIGTSTP, app.database.suspend)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def exit_code(run: Run, report: Report | None) -> int:
    """What the command ends with: 0 success, 1 failed, 3 too many rejects, 130 paused or cancelled."""
    if run.state == "success":
        return 0
    if run.paused or run.state == "cancelled":
        return 130
    return report.exit_code if report is not None and report.exit_code == 3 else 1
