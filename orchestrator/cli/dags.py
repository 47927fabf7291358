"""`fustgo dags`: what a DAG file says."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from orchestrator.dag.discovery import LoadedDag
    from orchestrator.dag.model import Dag
    from orchestrator.dag.stages import Stage
    from orchestrator.dag.validation import Checked

    Subparsers = argparse._SubParsersAction[argparse.ArgumentParser]


def register(subparsers: Subparsers) -> None:
    """Add the noun `dags` and its verbs to the command line."""
    noun = subparsers.add_parser("dags", help="what a DAG file says")
    verbs = noun.add_subparsers(dest="verb", required=True, metavar="VERB")
    shown = verbs.add_parser("show", help="check a file; print its nodes, edges and stages")
    shown.add_argument("file", type=Path, metavar="FILE", help="a DAG file: Python, YAML or JSON")
    shown.add_argument("--yaml", action="store_true", help="print the full YAML form instead")
    shown.set_defaults(run=_show)


def _show(args: argparse.Namespace) -> int:
    import sys

    checked = _checked(args.file)
    for _, found in checked:
        for warning in found.warnings:
            print(f"warning: {warning}", file=sys.stderr)
    if args.yaml:
        from orchestrator.dag.printing import to_yaml

        print("---\n".join(to_yaml(loaded.dag) for loaded, _ in checked), end="")
    else:
        print("\n\n".join(_described(loaded.dag) for loaded, _ in checked))
    return 0


def _checked(file: Path) -> list[tuple[LoadedDag, Checked]]:
    """The DAGs of a file; `Problems` with those of all of them at once."""
    from orchestrator.dag.discovery import load_file
    from orchestrator.dag.validation import check
    from orchestrator.errors import Problems
    from orchestrator.sdk.registry import Registry

    registry = Registry()
    loaded = load_file(file, registry=registry)
    found = [(entry, check(entry.dag, entry.marks, registry)) for entry in loaded]
    problems = [problem for _, checked in found for problem in checked.problems]
    if problems:
        raise Problems(problems)
    return found


def _described(dag: Dag) -> str:
    from orchestrator.cli.render import table
    from orchestrator.dag.graph import compile_stages

    graph = compile_stages(dag)
    lines = [dag.id, *(f"  {name:<12} {value}" for name, value in _header(dag)), ""]
    nodes = [(node.id, node.type, node.kind, graph.stage_of(node.id).id) for node in dag.nodes]
    lines += [table(("NODE", "TYPE", "KIND", "STAGE"), nodes, indent="  "), ""]
    lines += ["  EDGES", *(f"  {edge}" for edge in dag.edges), ""] if dag.edges else []
    lines += [
        table(("STAGE", "NODES", "AFTER", "RETRIES", "POOL", "WEIGHT"), list(map(_stage, graph)), indent="  ")
    ]
    if len(graph.critical_path) > 1:
        lines += ["", f"  critical path  {' > '.join(graph.critical_path)}"]
    return "\n".join(lines)


def _stage(stage: Stage) -> tuple[Any, ...]:
    from orchestrator.cli.render import upstreams

    nodes = ", ".join(stage.nodes)
    return stage.id, nodes, upstreams(stage) or "-", stage.retries, stage.pool, stage.weight


def _header(dag: Dag) -> list[tuple[str, str]]:
    """What the author said of the whole, defaults left out."""
    document = dag.to_document()
    rows = [("schedule", _plain(document.get("schedule", "none: run by hand")))]
    for name, value in document.items():
        if name not in ("format", "id", "schedule", "nodes", "doc_md"):
            rows.append((name, _plain(value)))
    return [*rows, ("version", dag.hash()[:12])]


def _plain(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{key}: {_plain(entry)}" for key, entry in value.items())
    if isinstance(value, list):
        return ", ".join(map(_plain, value))
    return str(value)
