"""Which stages a branch or a short-circuit can forbid: plain facts of a compiled graph (rule 8.6).

Computed once a graph and kept with it (`StageGraph.branches`), so that an end of a stage looks at those
alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from orchestrator.dag.stages import Stage


@dataclass(frozen=True)
class Branches:
    """The reach of each branching stage. All are stage ids; `forbids` is in topological order.

    `forbids[b]`: what b can forbid: its direct downstreams, or everything below a `short_circuit`.
    `forbidden_by[s]`: the branching stages that can forbid s.
    `ways[b][s]`, of a `branch`: the direct downstreams whose choice lets s run: s itself and those above it.
    """

    forbids: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    forbidden_by: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    ways: Mapping[str, Mapping[str, frozenset[str]]] = field(default_factory=dict)

    @classmethod
    def of(cls, stages: Mapping[str, Stage]) -> Branches:
        """The facts of these stages, which are in topological order."""
        branching = [stage for stage in stages.values() if stage.branch is not None]
        if not branching:
            return _NONE
        forbids = {stage.id: _reach(stages, stage) for stage in branching}
        forbidden_by: dict[str, list[str]] = {}
        for branch, reach in forbids.items():
            for stage in reach:
                forbidden_by.setdefault(stage, []).append(branch)
        return cls(
            forbids,
            {stage: tuple(above) for stage, above in forbidden_by.items()},
            {stage.id: _ways(stages, stage) for stage in branching if stage.branch == "branch"},
        )


_NONE = Branches()


def _reach(stages: Mapping[str, Stage], branching: Stage) -> tuple[str, ...]:
    if branching.branch != "short_circuit":
        direct = set(branching.down)
        return tuple(stage for stage in stages if stage in direct)
    below: dict[str, None] = {}
    for stage in stages.values():
        if any(up == branching.id or up in below for up in stage.up):
            below[stage.id] = None
    return tuple(below)


def _ways(stages: Mapping[str, Stage], branch: Stage) -> dict[str, frozenset[str]]:
    """Of each direct downstream, those among the direct downstreams that are it, or lead to it."""
    direct = set(branch.down)
    ways: dict[str, frozenset[str]] = {}
    for stage in stages.values():
        above = frozenset[str]().union(*(ways.get(up, ()) for up in stage.up))
        ways[stage.id] = above | {stage.id} if stage.id in direct else above
    return {stage: ways[stage] for stage in branch.down}
