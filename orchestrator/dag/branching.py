"""Which stages a branch or a short-circuit can forbid: plain facts of a compiled graph (rule 8.6).

Kept with the graph (`StageGraph.branches`) and computed where they are asked for, so that an end of a stage
costs nothing for branches elsewhere.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from orchestrator.dag.stages import Stage

_NOBODY: frozenset[str] = frozenset()


class Branches:
    """The reach of the branching stages of a graph. All are stage ids."""

    def __init__(self, stages: Mapping[str, Stage]) -> None:
        """`stages` are in topological order."""
        self._stages = stages
        self._order: list[str] = []
        self._place: dict[str, int] = {}
        self._forbidden_by: dict[str, frozenset[str]] = {}
        self._forbids: dict[str, tuple[str, ...]] = {}
        self._ways: dict[str, Mapping[str, frozenset[str]]] = {}
        if any(stage.branch is not None for stage in stages.values()):
            self._order = list(stages)
            self._place = {stage: place for place, stage in enumerate(stages)}
            self._forbidden_by = _forbidden_by(stages)

    def forbidden_by(self, stage: str) -> frozenset[str]:
        """The branching stages that can forbid a stage."""
        return self._forbidden_by.get(stage, _NOBODY)

    def forbids(self, stage: str) -> tuple[str, ...]:
        """What a stage can forbid, in topological order: nothing unless it is a branching one."""
        if not self._place or self._stages[stage].branch is None:
            return ()
        if stage not in self._forbids:
            found = self._reach(self._stages[stage])
            self._forbids[stage] = tuple(sorted(found, key=self._place.__getitem__))
        return self._forbids[stage]

    def ways(self, branch: str, stage: str) -> frozenset[str]:
        """The direct downstreams of a `branch` whose choice lets this one run: itself, and those above it."""
        if branch not in self._ways:
            self._ways[branch] = self._leading(self._stages[branch])
        return self._ways[branch][stage]

    def _reach(self, branching: Stage) -> set[str]:
        """The direct downstreams, or everything below a `short_circuit`."""
        found = set(branching.down)
        left = list(found) if branching.branch == "short_circuit" else []
        while left:
            fresh = set(self._stages[left.pop()].down) - found
            found |= fresh
            left += fresh
        return found

    def _leading(self, branch: Stage) -> dict[str, frozenset[str]]:
        """Of each direct downstream those that lead to it.

        What lies on a way between two stages stands between them in the order: nothing else is looked at.
        """
        places = [self._place[stage] for stage in branch.down]
        ways: dict[str, frozenset[str]] = {}
        for stage in self._order[min(places, default=0) : max(places, default=-1) + 1]:
            found = _union(ways.get(up, _NOBODY) for up in self._stages[stage].up)
            if branch.id in self._stages[stage].up:
                found |= {stage}
            if found:
                ways[stage] = found
        return {stage: ways[stage] for stage in branch.down}


def _forbidden_by(stages: Mapping[str, Stage]) -> dict[str, frozenset[str]]:
    """Who can forbid each stage: short-circuits from far above, all kinds from directly above."""
    far: dict[str, frozenset[str]] = {}  # of each stage, the short-circuits above what comes after it
    found: dict[str, frozenset[str]] = {}
    for stage in stages.values():
        above = _union(far[up] for up in stage.up)
        near = {up for up in stage.up if stages[up].branch is not None} - above
        far[stage.id] = above | {stage.id} if stage.branch == "short_circuit" else above
        if above or near:
            found[stage.id] = above | near if near else above
    return found


def _union(sets: Iterable[frozenset[str]]) -> frozenset[str]:
    """The union; the one set itself where all are equal, so that long chains share it."""
    distinct = set(sets)
    return distinct.pop() if len(distinct) == 1 else _NOBODY.union(*distinct)
