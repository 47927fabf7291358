"""Whether a run may go on with another version of its DAG (rule 7.2)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from orchestrator.dag.model import Dag
from orchestrator.runs.checkpoint import Json

Document = Mapping[str, Json]
Ports = Mapping[str, set[str]]


def differences(old: Document, new: Document) -> list[str]:
    """What keeps positions and states of `old` from being used by `new`; empty where nothing does.

    A retry needs the same nodes, each with the same type, kind, wired ports and `state_version`. What a
    node is configured to do may change: that is what a retry after a repair is for.
    """
    before, after = _nodes(old), _nodes(new)
    found = [f"node {name} is gone" for name in before if name not in after]
    found += [f"node {name} is new" for name in after if name not in before]
    for name in before:
        if name in after:
            found += _of_node(name, before[name], after[name])
    return found + _of_ports(_ports(old), _ports(new), [name for name in before if name in after])


def _ports(document: Document) -> dict[str, set[str]]:
    """The ports of each node at which an edge arrives or leaves."""
    ports: dict[str, set[str]] = {}
    for edge in Dag.from_document(document).streams():
        ports.setdefault(edge.source, set()).add(f"out.{edge.source_port}")
        ports.setdefault(edge.target, set()).add(f"in.{edge.target_port}")
    return ports


def _of_node(name: str, before: Document, after: Document) -> Iterable[str]:
    for key, word, default in (
        ("type", "type", ""),
        ("kind", "kind", ""),
        ("state_version", "state_version", 0),
    ):
        was, now = before.get(key, default), after.get(key, default)
        if was != now:
            yield f"node {name}: its {word} was {was}, it is {now}"


def _of_ports(old: Ports, new: Ports, names: Iterable[str]) -> list[str]:
    return [
        f"node {name}: port {port} is {'no longer' if port in old.get(name, set()) else 'newly'} wired"
        for name in names
        for port in sorted(old.get(name, set()) ^ new.get(name, set()))
    ]


def _nodes(document: Document) -> dict[str, Document]:
    return {node["id"]: node for node in document["nodes"]}
