"""`fustgo dags`: which DAGs are loaded, what one says, when it fires, and a new run of one."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from orchestrator.cli import load_errors, schedules, trigger
from orchestrator.cli.arguments import add_json_argument
from orchestrator.cli.files import is_file

if TYPE_CHECKING:
    from datetime import datetime

    from orchestrator.dag.discovery import LoadedDag
    from orchestrator.dag.validation import Checked
    from orchestrator.store.dag_views import DagView


def register(parser: argparse.ArgumentParser) -> None:
    """Add the verbs of DAGs."""
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="VERB")
    listed = verbs.add_parser("list", help="the DAGs that the services have loaded")
    listed.add_argument("--all", action="store_true", help="also those that were removed")
    add_json_argument(listed)
    listed.set_defaults(run=_list)
    shown = verbs.add_parser("show", help="nodes, edges and stages of a DAG; a file is checked first")
    shown.add_argument("dag", metavar="FILE|DAG", help="a DAG file, or the id of a loaded DAG")
    form = shown.add_mutually_exclusive_group()
    form.add_argument("--yaml", action="store_true", help="print the full YAML form instead")
    form.add_argument("--json", action="store_true", help="print the stored definition, as JSON")
    shown.set_defaults(run=_show)
    trigger.register(verbs.add_parser("trigger", help="create a run of a loaded DAG, for the services"))
    schedules.register(verbs)
    load_errors.register(verbs.add_parser("errors", help="the files that could not be loaded, and why"))


def _list(args: argparse.Namespace) -> int:
    from orchestrator.app import build_from
    from orchestrator.cli.load_errors import bundles_as_json, files_as_json, print_shortly
    from orchestrator.cli.render import print_json, table

    app = build_from(args.config)
    found, broken, bundles = app.client.list_dags(), app.client.load_errors(), app.client.list_bundles()
    app.close()
    shown = [view for view in found if args.all or view.dag.removed_at is None]
    if args.json:
        more = {"load_errors": files_as_json(broken), "bundles": bundles_as_json(bundles)}
        print_json({"dags": [_as_json(view) for view in shown], **more})
        return 0
    head = ["dag", "schedule", "paused", "next fire", "last run", "bundle", "file"]
    none = "no DAG is loaded: `fustgo standalone` loads those of the bundle"
    print(table(head, [_row(view) for view in shown]) if shown else none)
    if hidden := len(found) - len(shown):
        print(f"\nremoved and not shown: {hidden}; --all shows them")
    print_shortly(broken, bundles)
    return 0


def _row(view: DagView) -> list[str]:
    dag = view.dag
    removed = dag.removed_at is not None
    return [
        dag.dag_id,
        _schedule(view),
        "yes" if dag.paused else "no",
        "removed" if removed else _next_fire(view),
        _last(view),
        dag.bundle or "-",
        dag.file or "-",
    ]


def _next_fire(view: DagView) -> str:
    from orchestrator.cli.render import local
    from orchestrator.cli.schedules import fires_at

    return local(fires_at(view), view.timezone)


def _as_json(view: DagView) -> dict[str, Any]:
    from orchestrator.cli.schedules import fires_at

    dag, run, schedule = view.dag, view.last_run, view.schedule
    return {
        "dag": dag.dag_id,
        "uid": dag.uid,
        "bundle": dag.bundle,
        "file": dag.file,
        "schedule": view.version.document.get("schedule"),
        "timezone": view.timezone,
        "paused": dag.paused,
        "next_fire_at": fires_at(view),
        "last_fire_at": schedule.last_fire_at if schedule is not None else None,
        "version": view.version.hash,
        "bundle_version": dag.bundle_version,
        "removed_at": dag.removed_at,
        "last_run": run.model_dump(mode="json") if run is not None else None,
    }


def _schedule(view: DagView) -> str:
    from orchestrator.cli.definition import plain

    return plain(view.version.document.get("schedule", "-"))


def _last(view: DagView) -> str:
    from orchestrator.cli.render import moment, run_state

    run = view.last_run
    return f"{run.number} {run_state(run)} {moment(run.started_at or run.created_at)}" if run else "-"


def _show(args: argparse.Namespace) -> int:
    return _show_file(args) if is_file(args.dag) else _show_loaded(args)


def _show_file(args: argparse.Namespace) -> int:
    from orchestrator.cli.definition import described
    from orchestrator.cli.pools import notes_at_hand
    from orchestrator.cli.render import print_json
    from orchestrator.dag.graph import compile_stages

    checked = _checked(Path(args.dag))
    for _, found in checked:
        for warning in found.warnings:
            print(f"warning: {warning}", file=sys.stderr)
    loaded = [entry.dag for entry, _ in checked]
    if args.yaml:
        from orchestrator.dag.printing import to_yaml

        print("---\n".join(map(to_yaml, loaded)), end="")
    elif args.json:
        documents = [dag.to_document() for dag in loaded]
        print_json(documents[0] if len(documents) == 1 else documents)
    else:
        graphs = [compile_stages(entry.dag, entry.registry, found.operators) for entry, found in checked]
        print("\n\n".join(map(described, loaded, graphs)))
        for graph in graphs:
            for note in notes_at_hand(args.config, graph):
                print(f"warning: {note}", file=sys.stderr)
    return 0


def _show_loaded(args: argparse.Namespace) -> int:
    from orchestrator.app import build_from
    from orchestrator.cli.definition import described
    from orchestrator.cli.pools import unset_notes
    from orchestrator.cli.render import print_json
    from orchestrator.dag.model import Dag
    from orchestrator.dag.stages import StageGraph

    app = build_from(args.config)
    view = app.client.show_dag(args.dag)
    notes, now = unset_notes(StageGraph.from_json(view.version.stages), app.database), app.clock.now()
    app.close()
    dag = Dag.from_document(view.version.document)
    if args.yaml:
        from orchestrator.dag.printing import to_yaml

        print(to_yaml(dag), end="")
    elif args.json:
        print_json(view.version.document)
    else:
        print(described(dag, StageGraph.from_json(view.version.stages)), end="\n\n")
        for line in [*_where(view), *notes, *_when(view, now)]:
            print(f"  {line}")
    return 0


def _where(view: DagView) -> Iterator[str]:
    """Where a loaded DAG comes from."""
    from orchestrator.cli.render import moment, short_version

    dag, bundle = view.dag, view.bundle
    yield f"file {dag.file}  uid {dag.uid}"
    source = f" ({bundle.source})" if bundle is not None else ""
    yield f"bundle {dag.bundle or '-'}{source}  version {short_version(dag.bundle_version)}"
    if dag.removed_at is not None:
        yield f"removed since {moment(dag.removed_at)} UTC: {dag.file} does not hold it any more"


def _when(view: DagView, now: datetime) -> Iterator[str]:
    """When it ran and will run."""
    from orchestrator.cli.render import apart, local
    from orchestrator.cli.schedules import fires_at

    at, schedule = fires_at(view), view.schedule
    fires = f"{local(at, view.timezone)} ({apart(at, now)})" if at is not None else "-"
    fired = local(schedule.last_fire_at, view.timezone) if schedule is not None else "-"
    yield f"paused {'yes' if view.dag.paused else 'no'}  next fire {fires}  last fired {fired}"
    yield f"last run {_last(view)}"


def _checked(file: Path) -> list[tuple[LoadedDag, Checked]]:
    """The DAGs of a file; `Problems` with those of all of them at once."""
    from orchestrator.dag.discovery import load_file
    from orchestrator.dag.validation import check
    from orchestrator.errors import Problems
    from orchestrator.sdk.registry import Registry

    loaded = load_file(file, registry=Registry())
    found = [(entry, check(entry.dag, entry.marks, entry.registry)) for entry in loaded]
    problems = [problem for _, checked in found for problem in checked.problems]
    if problems:
        raise Problems(problems)
    return found
