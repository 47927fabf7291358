"""The YAML and JSON form of a DAG: read into a draft, the short linear form rewritten to the full one.

Full form: `nodes`, each with `from` (where its rows come from) and `after` (what it follows). Short form:
`input`, `processors`, `output`. Rewriting keeps the marks, so the validator speaks of what was written.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from orchestrator.dag.draft import UNNAMED, Draft, DraftNode
from orchestrator.dag.header import check_id
from orchestrator.dag.marks import Marks, Path, shown
from orchestrator.dag.model import FORMAT, Edge, parse_reference
from orchestrator.errors import Problems, nearest
from orchestrator.sdk.ports import Place

SHORT_KEYS = ("input", "processors", "output")
_OWN_KEYS = ("id", "type", "kind", "config", "drop", "from", "after", "state_version")


def draft_of(document: Any, marks: Marks, *, default_id: str) -> Draft:
    """The draft of a document that was read; what does not fit the form is in its marks.

    Raises `Problems` where it is no DAG at all.
    """
    if not isinstance(document, Mapping):
        raise Problems([marks.problem((), "a DAG file holds names and values", hint="begin with `id:`")])
    short = [key for key in SHORT_KEYS if key in document]
    if not short and "nodes" not in document:
        raise Problems(
            [
                *marks.problems,
                marks.problem(
                    (), "no DAG: neither `nodes` nor `input` and `output`", hint=_nodes_hint(document)
                ),
            ]
        )
    if short and "nodes" in document:
        marks.add((short[0],), f"{short[0]!r} and 'nodes' in one file", hint="write one form or the other")
    header = {
        key: value
        for key, value in document.items()
        if key not in (*SHORT_KEYS, "nodes", "format") and value is not None
    }
    if "id" not in header:
        header["id"] = _default_dag_id(default_id, marks)
    if document.get("format", FORMAT) != FORMAT:
        marks.add(
            ("format",),
            f"a definition of another format; this release reads {FORMAT}",
            value=shown(document["format"]),
        )
    if "nodes" in document:
        return _full(header, document["nodes"], marks)
    return _short(header, document, marks)


def _default_dag_id(name: str, marks: Marks) -> str:
    """The file's name, where that may be an id."""
    try:
        return check_id(name)
    except ValueError as error:
        marks.add((), f"the DAG has no id, and the file's name {name!r} is none: {error}", hint="write `id:`")
        return UNNAMED


def _nodes_hint(document: Mapping[str, Any]) -> str:
    known = (*SHORT_KEYS, "nodes")
    for key in document:
        hint = nearest(key, known)
        if hint.startswith("did you mean"):
            return hint
    return "see docs/dag-authoring.md"


def _full(header: dict[str, Any], entries: Any, marks: Marks) -> Draft:
    if not isinstance(entries, list):
        marks.add(
            ("nodes",), "'nodes' should be a list", hint="begin each with `- id:`", value=shown(entries)
        )
        return Draft(header, [], [], marks)
    # A node that is no mapping keeps its number, so that the marks of those after it stay right.
    kept = [entry if isinstance(entry, Mapping) else {} for entry in entries]
    for index, entry in enumerate(entries):
        if not isinstance(entry, Mapping):
            marks.add(("nodes", index), "a node holds names and values", value=shown(entry))
    ids = {str(entry.get("id")) for entry in kept}
    nodes: list[DraftNode] = []
    edges: list[Edge] = []
    for index, entry in enumerate(kept):
        nodes.append(_node(entry, ("nodes", index), marks))
        target = str(entry.get("id") or f"{UNNAMED}{index}")
        edges += _edges(entry, target, ("nodes", index), ids, marks)
    return Draft(header, nodes, edges, marks)


def _node(entry: Mapping[str, Any], path: Path, marks: Marks) -> DraftNode:
    arguments = {key: value for key, value in entry.items() if key not in _OWN_KEYS and value is not None}
    return DraftNode(
        id=entry.get("id"),
        type=entry.get("type"),
        kind=str(entry.get("kind") or ""),
        config=entry.get("config"),
        arguments=arguments,
        drop=entry.get("drop"),
    )


def _edges(entry: Mapping[str, Any], target: str, path: Path, ids: set[str], marks: Marks) -> Iterator[Edge]:
    origin = entry.get("from")
    if isinstance(origin, Mapping):
        for port, sources in origin.items():
            for name, place in _names(sources, (*path, "from", port), marks):
                yield _mark(_stream(name, target, str(port), ids), place, marks)
    else:
        for name, place in _names(origin, (*path, "from"), marks):
            yield _mark(_stream(name, target, "in", ids), place, marks)
    for name, place in _names(entry.get("after"), (*path, "after"), marks):
        yield _mark(Edge.control(name, target), place, marks)


def _stream(name: str, target: str, port: str, ids: set[str]) -> Edge:
    source, source_port = parse_reference(name, ids)
    return Edge.stream(source, target, source_port=source_port, target_port=port)


def _names(written: Any, path: Path, marks: Marks) -> Iterator[tuple[str, Place]]:
    """The nodes that `from` or `after` names: one, a list, or none."""
    entries = written if isinstance(written, list) else [] if written is None else [written]
    for index, entry in enumerate(entries):
        where = (*path, index) if isinstance(written, list) else path
        if isinstance(entry, str):
            yield entry, marks.at(where)
        else:
            marks.add(where, f"{path[2]!r} should name a node", value=shown(entry))


def _mark(edge: Edge, place: Place, marks: Marks) -> Edge:
    marks.edges.setdefault(edge, place)
    return edge


def _short(header: dict[str, Any], document: Mapping[str, Any], marks: Marks) -> Draft:
    """The linear form as nodes in a row; marks move from `processors.2` to `nodes.3`."""
    nodes: list[DraftNode] = []
    edges: list[Edge] = []
    taken: dict[str, int] = {}
    for path, entry, kind in _in_order(document, marks):
        if not isinstance(entry, Mapping):
            marks.add(
                path,
                f"{_said(path)} holds names and values",
                hint="write {type: ..., config: {...}}",
                value=shown(entry),
            )
            continue
        for key in ("from", "after"):
            if key in entry:
                marks.add((*path, key), f"{key!r} in the short form, which is linear", hint="write `nodes`")
        if entry.get("kind") not in (None, kind):
            marks.add((*path, "kind"), f"{_said(path)} is a node of kind {kind}", value=shown(entry["kind"]))
        node = _node(
            {**entry, "id": entry.get("id") or _default_id(entry, kind, taken), "kind": kind}, path, marks
        )
        _move(marks, path, ("nodes", len(nodes)))
        if nodes:
            edge = Edge.stream(str(nodes[-1].id), str(node.id))
            edges.append(_mark(edge, marks.at(("nodes", len(nodes))), marks))
        nodes.append(node)
    return Draft(header, nodes, edges, marks)


def _in_order(document: Mapping[str, Any], marks: Marks) -> Iterator[tuple[Path, Any, str]]:
    for key in ("input", "output"):
        if key not in document:
            marks.add(
                (), f"the short form needs {key!r}", hint=f"add `{key}: {{type: ..., config: {{...}}}}`"
            )
    if "input" in document:
        yield ("input",), document["input"], "input"
    processors = document.get("processors") or []
    if not isinstance(processors, list):
        marks.add(("processors",), "'processors' should be a list", value=shown(processors))
        processors = []
    for index, entry in enumerate(processors):
        yield ("processors", index), entry, "processor"
    if "output" in document:
        yield ("output",), document["output"], "output"


def _said(path: Path) -> str:
    return f"{path[0]}" if len(path) == 1 else f"entry {int(path[1]) + 1} of {path[0]}"


def _default_id(entry: Mapping[str, Any], kind: str, taken: dict[str, int]) -> str:
    """`input`, `output`, and a processor's type, then `type_2`, ..."""
    if kind != "processor":
        return kind
    name = str(entry.get("type") or "processor").replace(".", "_")
    taken[name] = taken.get(name, 0) + 1
    return name if taken[name] == 1 else f"{name}_{taken[name]}"


def _move(marks: Marks, old: Path, new: Path) -> None:
    for path in [path for path in marks.places if path[: len(old)] == old]:
        marks.places[new + path[len(old) :]] = marks.places[path]
