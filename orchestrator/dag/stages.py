"""The compiled stage graph: a plain value, stored with each DAG version and read without networkx.

A stage is a maximal set of nodes joined by stream edges; its id is that of its first declared node.
`dag.graph` makes it; scheduler, worker and store only read it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from functools import cached_property
from typing import Any, Literal

from orchestrator.dag.branching import Branches

_TUPLES = ("nodes", "up", "down", "connections", "repeating", "exclusive")

Branching = Literal["branch", "short_circuit", "short_circuit_direct"]


@dataclass(frozen=True)
class Stage:
    """One schedulable unit. Durations are seconds; `weight` is the effective priority.

    `branch`: its result chooses among the stages that come after it. `uses` are the template names of its
    nodes with their members (`("var", "region")`), `connections` what they declare: with them an order is
    made without knowing any operator. `repeating` are its outputs that append, `exclusive` those that refuse
    a file that is there: with them a run is started over without knowing any.
    """

    id: str
    nodes: tuple[str, ...]
    up: tuple[str, ...] = ()
    down: tuple[str, ...] = ()
    rule: str = "all_success"
    retries: int = 0
    retry_delay: float = 300.0
    retry_exponential_backoff: bool = False
    max_retry_delay: float | None = None
    weight: int = 1
    pool: str = "default"
    pool_slots: int = 1
    queue: str | None = None
    execution_timeout: float | None = None
    is_action: bool = False
    branch: Branching | None = None
    uses: tuple[tuple[str, str], ...] = ()
    connections: tuple[str, ...] = ()
    repeating: tuple[str, ...] = ()
    exclusive: tuple[str, ...] = ()


@dataclass(frozen=True)
class StageGraph:
    """All stages by id, in topological order; `critical_path` is the longest chain of stage ids."""

    stages: Mapping[str, Stage] = field(default_factory=dict)
    critical_path: tuple[str, ...] = ()

    def __iter__(self) -> Iterator[Stage]:
        return iter(self.stages.values())

    def __getitem__(self, stage_id: str) -> Stage:
        return self.stages[stage_id]

    @cached_property
    def branches(self) -> Branches:
        """What its branching stages can forbid; computed when first asked for."""
        return Branches(self.stages)

    def choices(self, stage_id: str) -> dict[str, str]:
        """The nodes that a branch may choose, each with its stage: all of the stages that directly follow."""
        return {node: below for below in self[stage_id].down for node in self[below].nodes}

    def above(self, stage_id: str) -> set[str]:
        """The stages that have ended when a stage starts: all that it follows, however far."""
        found: set[str] = set()
        wanted = [*self[stage_id].up]
        while wanted:
            stage = wanted.pop()
            if stage not in found:
                found.add(stage)
                wanted += self[stage].up
        return found

    @property
    def repeating(self) -> set[str]:
        """The outputs that append: starting over brings their rows a second time (rule 7.3)."""
        return {node for stage in self for node in stage.repeating}

    @property
    def exclusive(self) -> set[str]:
        """The outputs that refuse a file that is there."""
        return {node for stage in self for node in stage.exclusive}

    def stage_of(self, node: str) -> Stage:
        """The stage that holds a node; KeyError where no stage does."""
        return self.stages[self._homes[node]]

    @cached_property
    def _homes(self) -> dict[str, str]:
        """The stage of each node."""
        return {node: stage.id for stage in self for node in stage.nodes}

    def to_json(self) -> dict[str, Any]:
        """The graph as a JSON object; stages keep their order."""
        return {"stages": [asdict(stage) for stage in self], "critical_path": list(self.critical_path)}

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> StageGraph:
        """The graph from the JSON object that `to_json` gave."""
        stages = [
            Stage(
                **{
                    **entry,
                    **{key: tuple(entry[key]) for key in _TUPLES},
                    "uses": tuple((name, member) for name, member in entry["uses"]),
                }
            )
            for entry in document["stages"]
        ]
        return cls({stage.id: stage for stage in stages}, tuple(document["critical_path"]))
