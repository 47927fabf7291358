"""Rules of templates: which fields take them, and which names they may use."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from orchestrator.dag.marks import shown
from orchestrator.dag.model import Node
from orchestrator.dag.subject import Subject
from orchestrator.errors import Problem, nearest
from orchestrator.sdk.fields import template_marks
from orchestrator.sdk.operator import Operator
from orchestrator.sdk.rendering import template_texts, texts_in
from orchestrator.sdk.sql_template import check_sql
from orchestrator.sdk.template import NAMES, TemplateProblem, Use, faults, sound_uses

_KNOWN_NAME = re.compile(r"\{\{-?\s*(" + "|".join(NAMES) + r")\b")


def template_problems(subject: Subject) -> Iterator[Problem]:
    """Templates that cannot be read, stand where none is rendered, or use what the run does not have."""
    for node in subject.nodes.values():
        operator = subject.operators.get(node.id)
        if operator is not None:
            for name, value in node.config.items():
                yield from _field_problems(subject, node, operator, name, value)


def _field_problems(
    subject: Subject, node: Node, operator: Operator, name: str, value: Any
) -> Iterator[Problem]:
    marks = template_marks(type(operator))
    if name not in marks:
        for path, text in texts_in(value, ("config", name)):
            if _KNOWN_NAME.search(text):
                message = f"{'.'.join(map(str, path[1:]))!r} of {node.type} takes no template"
                fields = ", ".join(marks)
                hint = f"these do: {fields}" if fields else f"{node.type} has no field that does"
                yield subject.node_problem(node.id, message, *path, hint=hint, value=shown(text))
        return
    for path, text in template_texts(type(operator), {name: value}):
        for error in _faults(text, marks[name].dialect):
            yield subject.node_problem(
                node.id, error.message, "config", *path, hint=error.hint, value=shown(text)
            )
        for use in sound_uses(text):
            if fault := _fault(subject, node, use):
                message, hint = fault
                yield subject.node_problem(node.id, message, "config", *path, hint=hint, value=shown(text))


def _faults(text: str, dialect: str) -> Iterator[TemplateProblem]:
    yield from faults(text)
    if dialect:
        try:
            check_sql(text)
        except TemplateProblem as error:
            yield error


def _fault(subject: Subject, node: Node, use: Use) -> tuple[str, str] | None:
    dag = subject.dag
    if use.name == "params" and use.member not in dag.params:
        known = nearest(use.member, dag.params) or f"declare it: params: {{{use.member}: ...}}"
        return f"DAG {dag.id!r} has no param {use.member!r}", known
    if use.name == "env" and use.member not in dag.template_env:
        return (
            f"environment variable {use.member!r} is not listed for templates",
            f"add it to template_env: [{use.member}]",
        )
    if use.name == "results":
        if use.member not in subject.nodes:
            return f"there is no node {use.member!r} with a result", nearest(use.member, subject.nodes)
        if subject.stages[use.member] not in subject.before(node.id):
            return (
                f"{use.member!r} need not have ended when {node.id!r} starts, so it has no result then",
                f"let {node.id!r} follow it: after: [{use.member}] in YAML, .before() in Python",
            )
    return None
