"""Schemas along the edges: from what is known of the inputs to what each port gives."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeAlias

from orchestrator.dag.graph import flow_order
from orchestrator.dag.subject import Subject
from orchestrator.errors import Problem
from orchestrator.sdk.operator import Operator, Schema, SchemaProblem, Schemas
from orchestrator.sdk.types import lacks_types

Flowed: TypeAlias = dict[tuple[str, str], "Schema | None"]


def flow(subject: Subject, known: Mapping[str, Schema]) -> tuple[Flowed, list[Problem]]:
    """The schema of each output port by (node, port), None where unknown; where a configuration does not fit.

    `known` are the schemas of inputs as their sources show them. Call it on a graph without cycles.
    """
    flowed: Flowed = {}
    problems: list[Problem] = []
    for node in flow_order(subject.sound):
        operator = subject.operators.get(node.id)
        if operator is None:
            problems += _without_operator(subject, node.id, flowed)
            continue
        arriving: dict[str, Schema | None] = {}
        for port in operator.input_ports():
            arriving[port] = _arriving(subject, node.id, port, flowed, problems)
        leaving, misfits = _leaving(subject, node.id, operator, arriving)
        problems += misfits
        for port in operator.output_ports():
            found = leaving.get(port)
            flowed[node.id, port] = known.get(node.id) if found is None and not arriving else found
    return flowed, problems


def _leaving(
    subject: Subject, node_id: str, operator: Operator, arriving: Mapping[str, Schema | None]
) -> tuple[Schemas, list[Problem]]:
    """The schemas that leave an operator, as far as they are known though its configuration does not fit."""
    try:
        return operator.output_schemas(arriving), []
    except SchemaProblem as error:
        misfits = [] if lacks_types(arriving.values()) else error.all
    kept = operator.output_ports() if misfits and operator.keeps_columns else ()
    return dict.fromkeys(kept, arriving.get("in")), [_problem(subject, node_id, each) for each in misfits]


def _without_operator(subject: Subject, node_id: str, flowed: Flowed) -> list[Problem]:
    """What else is wrong with a node whose operator cannot be built; columns that it keeps flow on."""
    partial, problems = subject.partial.get(node_id), list[Problem]()
    if partial is not None:
        arriving = {port: _arriving(subject, node_id, port, flowed, []) for port in partial.input_ports()}
        problems = _leaving(subject, node_id, partial, arriving)[1]
    if node_id in subject.keeping:
        schema = _arriving(subject, node_id, "in", flowed, problems)
        flowed.update({(node_id, e.source_port): schema for e in subject.leaving(node_id)})
    return problems


def _problem(subject: Subject, node_id: str, error: SchemaProblem) -> Problem:
    path = ("config", *_path(subject.nodes[node_id].config, error.field))
    value: Any = subject.nodes[node_id].config.get(error.field, "")
    return subject.node_problem(
        node_id,
        f"{node_id!r}: {error}",
        *path,
        hint=error.hint,
        value=value if isinstance(value, str) else "",
    )


def _path(config: Mapping[str, Any], field: str) -> tuple[str | int, ...]:
    """A field such as `types.age` or `remove.1`, as the marks name it; a name may hold dots."""
    name, _, inner = field.partition(".")
    if not inner:
        return (name,) if name else ()
    return (name, int(inner) if isinstance(config.get(name), (list, tuple)) else inner)


def _arriving(
    subject: Subject, node_id: str, port: str, flowed: Flowed, problems: list[Problem]
) -> Schema | None:
    """The schema at an input port, None where a source's is unknown; two different ones are a problem."""
    edges = [edge for edge in subject.arriving(node_id) if edge.target_port == port]
    schemas = [flowed.get((edge.source, edge.source_port)) for edge in edges]
    first = schemas[0] if schemas else None
    for edge, schema in zip(edges[1:], schemas[1:], strict=True):
        if first is not None and schema is not None and not schema.equals(first):
            problems.append(
                subject.marks.edge_problem(
                    edge,
                    f"rows of {edges[0].source!r} and {edge.source!r} meet at {node_id!r} "
                    f"with different columns: {_columns(first)}; {_columns(schema)}",
                    hint="give them the same columns and types with a mapping",
                )
            )
    return None if any(schema is None for schema in schemas) else first


def _columns(schema: Schema) -> str:
    from orchestrator.sdk.types import type_name

    return ", ".join(f"{column.name} {type_name(column.type)}" for column in schema)
