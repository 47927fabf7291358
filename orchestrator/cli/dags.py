"""`fustgo dags`: which DAGs are loaded, what one says, and a new run of one."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from orchestrator.cli import trigger
from orchestrator.cli.arguments import add_json_argument
from orchestrator.cli.files import is_file

if TYPE_CHECKING:
    from orchestrator.dag.discovery import LoadedDag
    from orchestrator.dag.validation import Checked
    from orchestrator.store.dag_views import DagView


def register(parser: argparse.ArgumentParser) -> None:
    """Add the verbs of DAGs."""
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="VERB")
    listed = verbs.add_parser("list", help="the DAGs that the services have loaded")
    add_json_argument(listed)
    listed.set_defaults(run=_list)
    shown = verbs.add_parser("show", help="nodes, edges and stages of a DAG; a file is checked first")
    shown.add_argument("dag", metavar="FILE|DAG", help="a DAG file, or the id of a loaded DAG")
    form = shown.add_mutually_exclusive_group()
    form.add_argument("--yaml", action="store_true", help="print the full YAML form instead")
    form.add_argument("--json", action="store_true", help="print the stored definition, as JSON")
    shown.set_defaults(run=_show)
    trigger.register(verbs.add_parser("trigger", help="create a run of a loaded DAG, for the services"))


def _list(args: argparse.Namespace) -> int:
    from orchestrator.app import build_from
    from orchestrator.cli.render import print_json, table

    app = build_from(args.config)
    found, broken = app.client.list_dags(), app.client.load_errors()
    app.close()
    if args.json:
        errors = [error.model_dump(mode="json") for error in broken]
        print_json({"dags": [_as_json(view) for view in found], "load_errors": errors})
        return 0
    rows = [
        [view.dag.dag_id, _schedule(view), "yes" if view.dag.paused else "no", _last(view), view.dag.file]
        for view in found
    ]
    none = "no DAG is loaded: `fustgo standalone` loads those of the bundle"
    print(table(["dag", "schedule", "paused", "last run", "file"], rows) if rows else none)
    for error in broken:
        print(f"\nnot loaded: {error.file}\n{_indented(error.message)}", file=sys.stderr)
    return 0


def _as_json(view: DagView) -> dict[str, Any]:
    run = view.last_run
    return {
        "dag": view.dag.dag_id,
        "uid": view.dag.uid,
        "file": view.dag.file,
        "schedule": view.version.document.get("schedule"),
        "paused": view.dag.paused,
        "version": view.version.hash,
        "bundle_version": view.dag.bundle_version,
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
    from orchestrator.sdk.registry import Registry

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
        registry = Registry()
        graphs = [compile_stages(entry.dag, registry, found.operators) for entry, found in checked]
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
    notes = unset_notes(StageGraph.from_json(view.version.stages), app.database)
    app.close()
    dag = Dag.from_document(view.version.document)
    if args.yaml:
        from orchestrator.dag.printing import to_yaml

        print(to_yaml(dag), end="")
    elif args.json:
        print_json(view.version.document)
    else:
        print(described(dag, StageGraph.from_json(view.version.stages)))
        print(f"\n  file {view.dag.file}  uid {view.dag.uid}")
        for note in notes:
            print(f"  {note}")
        print(f"  paused {'yes' if view.dag.paused else 'no'}  last run {_last(view)}")
    return 0


def _checked(file: Path) -> list[tuple[LoadedDag, Checked]]:
    """The DAGs of a file; `Problems` with those of all of them at once."""
    from orchestrator.dag.discovery import load_file
    from orchestrator.dag.validation import check
    from orchestrator.errors import Problems
    from orchestrator.sdk.registry import Registry

    registry = Registry()
    found = [(entry, check(entry.dag, entry.marks, registry)) for entry in load_file(file, registry=registry)]
    problems = [problem for _, checked in found for problem in checked.problems]
    if problems:
        raise Problems(problems)
    return found


def _indented(text: str) -> str:
    return "\n".join(f"  {line}".rstrip() for line in text.splitlines())
