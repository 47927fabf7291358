"""A definition as people read it: header, nodes, edges and stages of a DAG."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from orchestrator.dag.model import Dag
    from orchestrator.dag.stages import Stage, StageGraph


def described(dag: Dag, graph: StageGraph) -> str:
    """The whole of a DAG, defaults left out."""
    from orchestrator.cli.render import table

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
    rows = [("schedule", plain(document.get("schedule", "none: run by hand")))]
    for name, value in document.items():
        if name not in ("format", "id", "schedule", "nodes", "doc_md"):
            rows.append((name, plain(value)))
    return [*rows, ("version", dag.hash()[:12])]


def plain(value: Any) -> str:
    """A value of a definition as a line shows it."""
    if isinstance(value, dict):
        return ", ".join(f"{key}: {plain(entry)}" for key, entry in value.items())
    if isinstance(value, list):
        return ", ".join(map(plain, value))
    return str(value)
