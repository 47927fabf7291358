"""Rules of targets: what two nodes would write, or one would write over what its stage reads.

Paths are compared as written, `./a` and `a` alike. Two templates of one text give one path as well; whether
different texts do is known only in a run.
"""

from __future__ import annotations

from collections.abc import Iterator
from posixpath import normpath
from typing import TypeAlias

from orchestrator.dag.subject import Subject
from orchestrator.errors import Problem
from orchestrator.sdk.operator import Operator
from orchestrator.sdk.properties import Kind

Target: TypeAlias = tuple[str, str]


def target_problems(subject: Subject) -> Iterator[Problem]:
    """Outputs of which one would undo what another wrote, or what its own stage reads."""
    found = {node_id: target for node_id in subject.operators if (target := _target(subject, node_id))}
    outputs = [node_id for node_id in found if subject.operators[node_id].kind is Kind.OUTPUT]
    inputs = [node_id for node_id in found if subject.operators[node_id].kind is Kind.INPUT]
    for target in dict.fromkeys(found[node_id] for node_id in outputs):
        first, *others = [node_id for node_id in outputs if found[node_id] == target]
        if others and any(_replaces(subject, node_id) for node_id in (first, *others)):
            yield from (_lost(subject, first, other, target) for other in others)
    for source in inputs:
        for output in outputs:
            together = subject.stages[source] == subject.stages[output]
            if together and found[source] == found[output] and not found[output][1]:
                yield subject.node_problem(
                    output,
                    f"{output!r} writes the {_said(found[output])}, which {source!r} reads in the same stage",
                    "config",
                    "path",
                    hint="write another file: a run that starts again needs the one it reads",
                )


def _lost(subject: Subject, first: str, second: str, target: Target) -> Problem:
    return subject.node_problem(
        second,
        f"outputs {first!r} and {second!r} write the same {_said(target)}: one result would be lost",
        "config",
        "path",
        hint="give each its own, or join their rows before one output",
    )


def _target(subject: Subject, node_id: str) -> Target | None:
    """The path, and the table in it; None where the node has no path."""
    operator = subject.operators[node_id]
    path, table = _text(operator, "path"), _text(operator, "table")
    if not path:
        return None
    return normpath(path) + ("/" if path.endswith("/") else ""), table


def _text(operator: Operator, name: str) -> str:
    value = getattr(operator, name, "") if name in type(operator).model_fields else ""
    return value if isinstance(value, str) else ""


def _replaces(subject: Subject, node_id: str) -> bool:
    return bool(getattr(subject.operators[node_id], "replaces_whole", False))


def _said(target: Target) -> str:
    path, table = target
    return f"table {table!r} of {path!r}" if table else f"file {path!r}"
