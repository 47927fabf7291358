"""Rules of the wiring: edges, ports, cycles, stages."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

from orchestrator.dag.arguments import STAGE_ARGUMENTS
from orchestrator.dag.graph import cycles, find_cycle, stage_edges, stages_of, stream_path
from orchestrator.dag.model import Edge, EdgeKind, Node
from orchestrator.dag.subject import Subject
from orchestrator.errors import Problem, nearest
from orchestrator.sdk.action import Action
from orchestrator.sdk.properties import Kind

_CUT = "cut the stage: write the rows to a file, and read it in another stage"
_REMEDY = f"{_CUT} (a materialised edge, which does both, comes in a later release)"


def edge_problems(subject: Subject) -> Iterator[Problem]:
    """Edges whose ends are not there, or do not give or take rows."""
    for edge in subject.dag.edges:
        for end in (edge.source, edge.target):
            if end not in subject.nodes:
                hint = nearest(end, subject.nodes)
                yield subject.marks.edge_problem(edge, f"there is no node {end!r}", hint=hint)
        if edge.kind is EdgeKind.STREAM and edge.source in subject.nodes and edge.target in subject.nodes:
            yield from _source_problems(subject, edge)
            yield from _target_problems(subject, edge)


def _source_problems(subject: Subject, edge: Edge) -> Iterator[Problem]:
    node, operator = subject.nodes[edge.source], subject.operators.get(edge.source)
    if operator is None or (edge.source_port == "rejects" and operator.kind is not Kind.ACTION):
        return
    ports = operator.output_ports()
    if not ports:
        yield subject.marks.edge_problem(
            edge,
            f"{node.kind} {node.id!r} gives no rows, so it cannot feed {edge.target!r}",
            hint="take the rows from the node before; to follow only: `after` in YAML, .before() in Python",
        )
    elif edge.source_port not in ports:
        yield subject.marks.edge_problem(
            edge,
            f"{node.id!r} has no output port {edge.source_port!r}",
            hint=nearest(edge.source_port, ports),
        )


def _target_problems(subject: Subject, edge: Edge) -> Iterator[Problem]:
    node, operator = subject.nodes[edge.target], subject.operators.get(edge.target)
    if operator is None:
        return
    ports = operator.input_ports()
    if not ports:
        yield subject.marks.edge_problem(
            edge,
            f"{node.kind} {node.id!r} takes no rows, so {edge.source!r} cannot feed it",
            hint="to let it follow only, write `after` in YAML, .before() in Python",
        )
    elif edge.target_port not in ports:
        yield subject.marks.edge_problem(
            edge, f"{node.id!r} has no input port {edge.target_port!r}", hint=nearest(edge.target_port, ports)
        )


def port_problems(subject: Subject) -> Iterator[Problem]:
    """Ports that nothing feeds or nobody reads, and `drop` that does not fit."""
    if not subject.dag.nodes:
        yield subject.marks.problem((), f"DAG {subject.dag.id!r} has no nodes")
    for node in subject.nodes.values():
        if node.id in subject.operators:
            yield from _unfed(subject, node)
            yield from _unread(subject, node)


def _unfed(subject: Subject, node: Node) -> Iterator[Problem]:
    ports = subject.operators[node.id].input_ports()
    arriving = list(subject.arriving(node.id))
    if ports and not arriving:
        rowless = (Kind.OUTPUT, Kind.ACTION)
        followed = [
            subject.nodes[edge.source]
            for edge in subject.followed(node.id)
            if edge.source in subject.nodes and subject.nodes[edge.source].kind in rowless
        ]
        hint = (
            f"{followed[0].id!r} is an {followed[0].kind}, which gives no rows: "
            + (
                "take them from the node before it"
                if followed[0].kind == Kind.OUTPUT
                else "begin with an input"
            )
            if followed
            else "nothing reaches it: feed it with >> in Python, `from` in YAML"
        )
        yield subject.node_problem(node.id, f"{node.kind} {node.id!r} has no input", hint=hint)
        return
    for port in ports:
        if port not in [edge.target_port for edge in arriving]:
            yield subject.node_problem(
                node.id,
                f"input port {port!r} of {node.id!r} is not fed",
                hint=f'feed it: x >> node.into["{port}"] in Python, from: {{{port}: x}} in YAML',
            )


def _unread(subject: Subject, node: Node) -> Iterator[Problem]:
    ports = subject.operators[node.id].output_ports()
    read = {edge.source_port for edge in subject.leaving(node.id)}
    for port in ports:
        if port not in read and port not in node.drop:
            yield subject.node_problem(
                node.id,
                f"nobody reads output port {port!r} of {node.id!r}",
                hint=f'join it to a node, to a `discard`, or write drop=["{port}"], which counts the rows',
            )
    for port in node.drop:
        if port not in ports:
            hint = "allow rejects with error_limit" if port == "rejects" else nearest(port, ports)
            yield subject.node_problem(
                node.id, f"{node.id!r} has no output port {port!r} to drop", "drop", hint=hint
            )
        elif port in read:
            yield subject.node_problem(
                node.id,
                f"output port {port!r} of {node.id!r} is dropped, and read as well",
                "drop",
                hint="take it out of `drop`",
            )


def branch_problems(subject: Subject) -> Iterator[Problem]:
    """Branches that have nothing to choose among."""
    for node_id, operator in subject.operators.items():
        if not isinstance(operator, Action) or operator.branching != "branch":
            continue
        if not any(subject.following(node_id)):
            message = f"branch {node_id!r} chooses among the nodes that follow it, and none does"
            hint = f"let them follow it: {node_id} >> [a, b] in Python, after: [{node_id}] in YAML"
            yield subject.node_problem(node_id, message, hint=hint)


def cycle_problems(subject: Subject) -> Iterator[Problem]:
    """Nodes that wait for themselves, each cycle with its path; else stages that do."""
    dag = subject.sound
    pairs = [(edge.source, edge.target) for edge in dag.edges]
    if find_cycle(pairs):
        for cycle in cycles(pairs):
            edge = next(e for e in dag.edges if (e.source, e.target) == (cycle[0], cycle[1]))
            yield subject.marks.edge_problem(
                edge, f"a cycle: {' >> '.join(cycle)}", hint="take one of these edges away"
            )
        return
    inside = [edge for edge in dag.controls() if subject.stages[edge.source] == subject.stages[edge.target]]
    for edge in inside:
        path = " - ".join(stream_path(dag, edge.source, edge.target))
        message = (
            f"{edge.source!r} is to end before {edge.target!r} starts, and both are in one stage ({path})"
        )
        yield subject.marks.edge_problem(edge, message, hint=_REMEDY)
    yield from _stage_cycles(subject)


def _stage_cycles(subject: Subject) -> Iterator[Problem]:
    """Stages that wait for each other though no node does, each cycle with the path through the nodes."""
    dag = subject.sound
    pairs = [pair for pair in stage_edges(dag, subject.stages) if pair[0] != pair[1]]
    if not find_cycle(pairs):
        return
    for cycle in cycles(pairs):
        joints = [
            next(
                edge
                for edge in dag.controls()
                if (subject.stages[edge.source], subject.stages[edge.target]) == pair
            )
            for pair in pairwise(cycle)
        ]
        parts = []
        for edge, following in zip(joints, [*joints[1:], joints[0]], strict=True):
            parts.append(f"{edge.source} before {edge.target}")
            if edge.target != following.source:
                path = " - ".join(stream_path(dag, edge.target, following.source))
                parts.append(f"{edge.target} in one stage with {following.source} ({path})")
        message = f"stages wait for each other: {', '.join(parts)}"
        yield subject.marks.edge_problem(joints[0], message, hint=_REMEDY)


def stage_setting_problems(subject: Subject) -> Iterator[Problem]:
    """Two nodes of one stage that state different settings of it; the highest priority counts instead."""
    for name in STAGE_ARGUMENTS:
        if name == "priority_weight":
            continue
        first: dict[str, Node] = {}
        for node in subject.nodes.values():
            if name not in node.arguments:
                continue
            other = first.setdefault(subject.stages[node.id], node)
            if other.arguments[name] != node.arguments[name]:
                yield subject.node_problem(
                    node.id,
                    f"{other.id!r} and {node.id!r} are in one stage and set different {name!r}: "
                    f"{other.arguments[name]} and {node.arguments[name]}",
                    name,
                    hint="set it on one of them: it belongs to the stage",
                )


def rejects_join_warnings(subject: Subject) -> Iterator[Problem]:
    """Pipelines that are one stage only because rejects flow between them."""
    dag = subject.sound
    apart = tuple(edge for edge in dag.edges if edge.source_port != "rejects")
    if len(apart) == len(dag.edges):
        return
    stages = stages_of(dag.model_copy(update={"edges": apart}))
    with_input = {stages[node.id] for node in dag.nodes if node.kind == Kind.INPUT}
    for edge in dag.streams():
        ends = {stages[edge.source], stages[edge.target]}
        if edge.source_port == "rejects" and len(ends) == 2 and ends <= with_input:
            yield subject.marks.edge_problem(
                edge,
                f"only the rejects of {edge.source!r} join it to {edge.target!r} in one stage",
                hint="they start, end and retry together; an output of their own for the rejects parts them",
            )
