"""The one validator: everything that is wrong with a Dag, at once, each at its place in the author's file.

It runs on a Dag from Python, YAML, JSON or the store alike. Nothing is opened: schemas come from the
operators, or from whoever asked the sources (`known_schemas`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from orchestrator.dag.marks import Marks
from orchestrator.dag.model import Dag
from orchestrator.dag.node_rules import argument_problems, build_operators, id_problems
from orchestrator.dag.schema_flow import Flowed, flow
from orchestrator.dag.target_rules import target_problems
from orchestrator.dag.template_rules import template_problems
from orchestrator.dag.wiring_rules import (
    branch_problems,
    cycle_problems,
    edge_problems,
    port_problems,
    rejects_join_warnings,
    stage_setting_problems,
)
from orchestrator.errors import Problem, Problems
from orchestrator.sdk.decorated import functions_of
from orchestrator.sdk.operator import Operator, Schema
from orchestrator.sdk.registry import Registry


@dataclass(frozen=True)
class Checked:
    """What the validator found. `schemas` is by (node, output port); `operators` by node."""

    problems: list[Problem]
    warnings: list[Problem] = field(default_factory=list)
    schemas: Flowed = field(default_factory=dict)
    operators: Mapping[str, Operator] = field(default_factory=dict)

    def or_raise(self) -> Checked:
        """Itself; `Problems` with all that is wrong where something is."""
        if self.problems:
            raise Problems(self.problems)
        return self


def check(
    dag: Dag,
    marks: Marks,
    registry: Registry,
    known_schemas: Mapping[str, Schema] | None = None,
) -> Checked:
    """All problems of a Dag. `known_schemas` are those of inputs by node, as their sources show them now."""
    with functions_of(marks.tree):
        subject, problems = build_operators(dag, marks, registry)
        problems = [*marks.problems, *problems, *_schedule_problems(dag, marks)]
        problems += _param_problems(dag, marks)
        problems += id_problems(dag, marks)
        problems += argument_problems(dag, marks, subject.operators)
        problems += edge_problems(subject)
        problems += port_problems(subject)
        problems += branch_problems(subject)
        problems += stage_setting_problems(subject)
        problems += template_problems(subject)
        problems += target_problems(subject)
        cyclic = list(cycle_problems(subject))
        schemas, misfits = ({}, []) if cyclic else flow(subject, known_schemas or {})
    problems = sorted({*problems, *cyclic, *misfits})
    return Checked(problems, sorted(rejects_join_warnings(subject)), schemas, subject.operators)


def _schedule_problems(dag: Dag, marks: Marks) -> Iterator[Problem]:
    if dag.schedule is None and dag.start_date is None and dag.end_date is None:
        return
    from orchestrator.dag.timetable import ScheduleProblem, parse_schedule

    try:
        parse_schedule(dag.schedule, timezone=dag.timezone, start_date=dag.start_date, end_date=dag.end_date)
    except ScheduleProblem as error:
        names = ("start_date", "end_date", "timezone")
        name = next((name for name in names if error.message.startswith(name)), "schedule")
        yield marks.problem((name,), error.message, hint=error.hint)


def _param_problems(dag: Dag, marks: Marks) -> Iterator[Problem]:
    """A schedule gives its runs no params: each must have a default."""
    for name, schema in dag.params.items() if dag.schedule is not None else ():
        if "default" not in schema:
            yield marks.problem(
                ("params", name),
                f"param {name!r} has no default, and a schedule gives its runs none",
                hint="give it a default, or take the schedule away",
            )
