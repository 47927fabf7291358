"""From draft to Dag: canonical where the draft is valid, as written where it is not.

What a Dag cannot hold (a header field of a wrong type, ...) becomes a problem in the marks here; all else
that is wrong the validator finds in the Dag, so that a stored definition is checked by the same rules.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

from orchestrator.dag.arguments import ARGUMENTS, arguments_model, canonical_arguments
from orchestrator.dag.draft import UNNAMED, Draft, DraftNode
from orchestrator.dag.header import Header
from orchestrator.dag.marks import Marks, shown
from orchestrator.dag.model import Dag, Node, canonical_json, sort_edges
from orchestrator.dag.params import declare_params
from orchestrator.dag.translation import problems_of
from orchestrator.errors import UsageError
from orchestrator.sdk.operator import Operator
from orchestrator.sdk.properties import Kind
from orchestrator.sdk.registry import Registry

DAG_DEFAULTS = tuple(name for name in ARGUMENTS if name != "doc_md")
"""Node arguments that a DAG may state for all its nodes, directly or in `default_args`."""

_WHERE = "operators arrive as plugins: modules of the bundle's plugins/, or entry points of fustgo.operators"

_HOISTED = ("owner", "start_date", "end_date")
"""What belongs to the DAG and may stand in `default_args`, as in Airflow."""


def read(draft: Draft, registry: Registry) -> Dag:
    """The Dag that a draft means; what it cannot hold is in `draft.marks.problems`."""
    header = _header(dict(draft.header), draft.marks)
    nodes = tuple(_node(entry, index, registry, draft.marks) for index, entry in enumerate(draft.nodes))
    return Dag(**header, nodes=nodes, edges=sort_edges(draft.edges, nodes))


def _header(given: dict[str, Any], marks: Marks) -> dict[str, Any]:
    given["default_args"] = _default_args(given, marks)
    if isinstance(params := given.get("params"), Mapping):
        given["params"] = _params(params, marks)
    while True:
        try:
            Header.model_validate(given)
            return given
        except ValidationError as error:
            known = (*Header.model_fields, *DAG_DEFAULTS, "nodes", "input", "processors", "output")
            marks.problems += problems_of(error, marks, (), what="a DAG", model=Header, known=known)
            for finding in error.errors():
                given.pop(str(finding["loc"][0]), None)
            given.setdefault("id", UNNAMED)


def _default_args(given: dict[str, Any], marks: Marks) -> dict[str, Any]:
    """The defaults of nodes, from `default_args` and from the DAG's own arguments, as canonical JSON."""
    written = given.pop("default_args", None) or {}
    if not isinstance(written, Mapping):
        marks.add(("default_args",), "'default_args' should hold names and values", value=shown(written))
        written = {}
    defaults, direct = dict(written), {}
    for name in _HOISTED:
        if name in defaults:
            given.setdefault(name, defaults.pop(name))
    for name in DAG_DEFAULTS:
        if name in given:
            value = direct[name] = given.pop(name)
            marks.places.setdefault(("default_args", name), marks.at((name,)))
            if name in defaults and defaults[name] != value:
                marks.add((name,), f"{name!r} is given twice, here and in default_args", value=shown(value))
    below = _valid_defaults(defaults, marks, ("default_args",), "default_args")
    return below | _valid_defaults(direct, marks, (), "the DAG")


def _valid_defaults(
    defaults: dict[str, Any], marks: Marks, path: tuple[str, ...], what: str
) -> dict[str, Any]:
    while True:
        try:
            return canonical_arguments(defaults)
        except ValidationError as error:
            marks.problems += problems_of(
                error,
                marks,
                path,
                what=what,
                model=arguments_model(),
                known=DAG_DEFAULTS,
            )
            for finding in error.errors():
                defaults.pop(str(finding["loc"][0]), None)


def _params(params: Mapping[str, Any], marks: Marks) -> dict[str, Any]:
    declared: dict[str, Any] = {}
    for name, value in params.items():
        try:
            declared |= declare_params({name: value})
        except ValueError as error:
            marks.add(("params", name), f"param {error}", value=shown(value))
    return declared


def _node(draft: DraftNode, index: int, registry: Registry, marks: Marks) -> Node:
    path = ("nodes", index)
    kind = draft.kind or _only_kind(draft.type, registry)
    config, version = _config(draft, kind, registry)
    if not isinstance(config, Mapping):
        marks.add((*path, "config"), "'config' should hold names and values", value=shown(config))
        config = {}
    node_id, type_name = _text(draft.id), _text(draft.type)
    drop, arguments = _drop(draft, path, marks), _arguments(draft.arguments)
    if not type_name:
        marks.add(path, f"node {node_id!r} has no type" if node_id else "a node has no type")
    if not node_id:
        marks.add(path, "a node has no id", hint="give it one: the first argument in Python, `id` in YAML")
    if draft.cls is not None and _foreign(draft.cls, type_name, kind, registry):
        message = f"{draft.cls.__name__} is not the operator that is registered as {type_name!r} {kind}"
        marks.add(path, message, hint=_WHERE)
    return Node(node_id or f"{UNNAMED}{index}", type_name, kind, config, arguments, drop, version)


def _text(value: object) -> str:
    return "" if value is None else str(value)


def _only_kind(type_name: object, registry: Registry) -> str:
    try:
        kinds = list(registry.kinds(str(type_name)))
    except UsageError:
        return ""
    return str(kinds[0]) if len(kinds) == 1 else ""


def _foreign(cls: type[Operator], type_name: str, kind: str, registry: Registry) -> bool:
    try:
        return registry.kinds(type_name).get(Kind(kind)) is not cls
    except UsageError:
        return bool(type_name) and type_name not in registry.types()


def _config(draft: DraftNode, kind: str, registry: Registry) -> tuple[Any, int]:
    """The configuration without defaults where it is valid, else as written; the version of the state."""
    written = {} if draft.config is None else draft.config
    if not kind or not isinstance(written, Mapping):
        return written, 0
    try:
        operator = registry.find(_text(draft.type), Kind(kind)).model_validate(dict(written))
        config = operator.config()
        canonical_json(config)
    except (UsageError, ValueError):
        return dict(written), 0
    return config, operator.state_version if operator.stateful else 0


def _arguments(given: Mapping[str, Any]) -> dict[str, Any]:
    try:
        return canonical_arguments(given)
    except ValidationError:
        return dict(given)


def _drop(draft: DraftNode, path: tuple[str | int, ...], marks: Marks) -> tuple[str, ...]:
    ports = [draft.drop] if isinstance(draft.drop, str) else draft.drop or ()
    if isinstance(ports, (list, tuple)) and all(isinstance(port, str) for port in ports):
        return tuple(sorted(set(ports)))
    marks.add((*path, "drop"), "'drop' should be a list of output ports", value=shown(draft.drop))
    return ()
