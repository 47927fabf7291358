"""Whether a run may go on with another version of its DAG (rule 7.2)."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Mapping

from orchestrator.dag.model import Dag
from orchestrator.runs.checkpoint import Json

Document = Mapping[str, Json]
Ports = Mapping[str, set[str]]


def differences(old: Document, new: Document, begun: Collection[str] = ()) -> list[str]:
    """What keeps positions and states of `old` from being used by `new`; empty where nothing does.

    A retry needs the same nodes, each with the same type, kind, wired ports and `state_version`. What a
    processor is configured to do may change: that is what a retry after a repair is for. Not so an input or
    output among `begun`, the nodes of stages with decided epochs: half of its rows were read, or lie sealed,
    the old way.
    """
    before, after = _nodes(old), _nodes(new)
    found = [f"node {name} is gone" for name in before if name not in after]
    found += [f"node {name} is new" for name in after if name not in before]
    for name in before:
        if name in after:
            found += _of_node(name, before[name], after[name])
            if name in begun:
                found += _of_end(name, before[name], after[name])
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


def _of_end(name: str, before: Document, after: Document) -> Iterable[str]:
    """Fields of an input or output that are not as they were."""
    if before.get("kind") in ("input", "output"):
        was, now = before.get("config", {}), after.get("config", {})
        for field in sorted(key for key in {*was, *now} if was.get(key) != now.get(key)):
            yield f"{before['kind']} {name}: its {field} was {_said(was, field)}, it is {_said(now, field)}"


def _said(config: Mapping[str, Json], field: str) -> str:
    return json.dumps(config[field], ensure_ascii=False) if field in config else "the default"


def _of_ports(old: Ports, new: Ports, names: Iterable[str]) -> list[str]:
    return [
        f"node {name}: port {port} is {'no longer' if port in old.get(name, set()) else 'newly'} wired"
        for name in names
        for port in sorted(old.get(name, set()) ^ new.get(name, set()))
    ]


def _nodes(document: Document) -> dict[str, Document]:
    return {node["id"]: node for node in document["nodes"]}
