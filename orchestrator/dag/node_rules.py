"""Rules of one node: its id, its operator, its configuration and arguments."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from pydantic import ValidationError

from orchestrator.dag import later
from orchestrator.dag.arguments import ARGUMENTS, TRIGGER_RULES, arguments_model, canonical_arguments
from orchestrator.dag.draft import UNNAMED
from orchestrator.dag.header import check_id
from orchestrator.dag.marks import Marks, Path, shown
from orchestrator.dag.model import NODE_KEYS, Dag, Node
from orchestrator.dag.subject import Subject
from orchestrator.dag.translation import problems_of
from orchestrator.errors import Problem, UsageError, nearest
from orchestrator.sdk.operator import Operator
from orchestrator.sdk.properties import Kind
from orchestrator.sdk.registry import Registry, UnknownOperator


def build_operators(dag: Dag, marks: Marks, registry: Registry) -> tuple[Subject, list[Problem]]:
    """The Dag with those operators that can be built, and what is wrong with the others."""
    built: dict[str, Operator] = {}
    partial: dict[str, Operator] = {}
    keeping: set[str] = set()
    problems: list[Problem] = []
    for index, node in enumerate(dag.nodes):
        path: Path = ("nodes", index)
        if not node.type:
            continue
        found = _operator_class(node, path, marks, registry)
        if isinstance(found, Problem):
            problems.append(found)
            continue
        try:
            built.setdefault(node.id, found.model_validate(dict(node.config)))
        except ValidationError as error:
            what = f"{node.type} {node.kind} {node.id!r}"
            known = [name for name in found.model_fields if name not in ("id", "drop", *ARGUMENTS)]
            problems += problems_of(error, marks, (*path, "config"), what=what, model=found, known=known)
            if (rest := _built_without(found, node, error)) is not None:
                partial.setdefault(node.id, rest)
            if found.keeps_columns:
                keeping.add(node.id)
    return Subject(dag, marks, built, partial, keeping), problems


def _built_without(found: type[Operator], node: Node, error: ValidationError) -> Operator | None:
    """The operator without its unknown fields and wrong entries, if it can be built so."""
    config = dict(node.config)
    for finding in error.errors():
        name, *inner = finding["loc"] or ("",)
        if finding["type"] == "extra_forbidden" and not inner:
            config.pop(str(name), None)
        elif inner and isinstance(entries := config.get(str(name)), Mapping):
            config[str(name)] = {key: value for key, value in entries.items() if key != inner[0]}
    try:
        return found.model_validate(config)
    except ValidationError:
        return None


def _operator_class(node: Node, path: Path, marks: Marks, registry: Registry) -> type[Operator] | Problem:
    try:
        kinds = registry.kinds(node.type)
    except UnknownOperator as error:
        if node.type in later.TYPES:
            message = later.refusal(f"operator {node.type!r}", later.TYPES[node.type])
            return marks.problem((*path, "type"), message, hint="remove the node")
        return marks.problem((*path, "type"), error.message, hint=error.hint)
    except UsageError as error:
        return marks.problem((*path, "type"), error.message, hint=error.hint)
    if node.kind in ("", *(kind for kind in Kind if kind not in kinds)) or node.kind not in list(Kind):
        return _wrong_kind(node, list(kinds), path, marks)
    return kinds[Kind(node.kind)]


def _wrong_kind(node: Node, kinds: list[Kind], path: Path, marks: Marks) -> Problem:
    words = " and ".join(map(str, kinds))
    place: Path = (*path, "kind") if (*path, "kind") in marks.places else (*path, "type")
    if not node.kind:
        return marks.problem(
            path,
            f"node {node.id!r} must say its kind: {node.type!r} is {words}",
            hint=f"add `kind: {kinds[0]}`",
        )
    return marks.problem(place, f"{node.type!r} is no {node.kind}", hint=f"it is {words}", value=node.kind)


def id_problems(dag: Dag, marks: Marks) -> Iterator[Problem]:
    """Ids that are none, or given twice."""
    first: dict[str, int] = {}
    for index, node in enumerate(dag.nodes):
        path: Path = ("nodes", index, "id")
        if node.id == f"{UNNAMED}{index}":
            continue
        for part in node.id.split("/"):
            try:
                check_id(part)
            except ValueError as error:
                yield marks.problem(path, f"{node.id!r} is no id of a node", hint=str(error))
                break
        if node.id in first:
            before = marks.at(("nodes", first[node.id], "id"))
            where = f", first in line {before.line}" if before.line else ""
            yield marks.problem(path, f"a second node {node.id!r}{where}", hint="give each node its own id")
        first.setdefault(node.id, index)


def argument_problems(dag: Dag, marks: Marks, operators: Mapping[str, Operator]) -> Iterator[Problem]:
    """Arguments that are unknown, wrong, refused until they work, or of no use to the node's kind."""
    yield from _refused(dag.default_args, marks, ("default_args",))
    for index, node in enumerate(dag.nodes):
        path: Path = ("nodes", index)
        yield from _refused(node.arguments, marks, path)
        operator = operators.get(node.id)
        if node.kind == Kind.ACTION:
            yield from _without_rows(node, path, marks)
        elif "readers" in node.arguments and node.kind in ("processor", "output"):
            yield marks.problem(
                (*path, "readers"), f"'readers' of {node.id!r}, which is no input", hint="remove it"
            )
        try:
            canonical_arguments({k: v for k, v in node.arguments.items() if not _misplaced(k, operator)})
        except ValidationError as error:
            known = (*ARGUMENTS, *NODE_KEYS[:-1])
            yield from problems_of(
                error, marks, path, what=f"node {node.id!r}", model=arguments_model(), known=known
            )
        for name in node.arguments:
            if _misplaced(name, operator):
                yield marks.problem(
                    (*path, name),
                    f"{name!r} belongs to the configuration of {node.type}",
                    hint=f"write it under `config:` of {node.id!r}",
                )


def _without_rows(node: Node, path: Path, marks: Marks) -> Iterator[Problem]:
    """Arguments of an action that are about rows, of which it has none."""
    for name in ("error_limit", "rate_limit", "readers", "splits"):
        if name in node.arguments:
            yield marks.problem(
                (*path, name), f"{name!r} of {node.id!r}, an action, which moves no rows", hint="remove it"
            )


def _misplaced(name: str, operator: Operator | None) -> bool:
    return name not in ARGUMENTS and operator is not None and name in type(operator).model_fields


def _refused(arguments: Mapping[str, Any], marks: Marks, path: Path) -> Iterator[Problem]:
    """What would change data or what the author sees, and does not work yet."""
    rule = arguments.get("trigger_rule")
    if rule is not None and rule not in TRIGGER_RULES:
        hint = nearest(str(rule), TRIGGER_RULES)
        yield marks.problem((*path, "trigger_rule"), f"no trigger rule {rule!r}", hint=hint)
    if arguments.get("depends_on_past"):
        message = later.refusal("'depends_on_past'", later.FEATURES["depends_on_past"])
        yield marks.problem((*path, "depends_on_past"), message, hint="remove it")
    splits = arguments.get("splits")
    if splits not in (None, 1):
        message = later.refusal("'splits'", later.FEATURES["splits"])
        yield marks.problem((*path, "splits"), message, hint="remove it", value=shown(splits))
