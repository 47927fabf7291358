"""The order: all that a runner is told about the attempt it shall run, as one JSON-able value.

It carries no checkpoint: the runner asks for that once it has opened its targets (rule 2.8).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from orchestrator.runs.checkpoint import Json

Only = Literal["apply", "abandon"]


@dataclass(frozen=True)
class Order:
    """One attempt of one stage run.

    `document` is the canonical DAG document and `nodes` the ids of this stage's nodes in it.
    `project` is the absolute folder against which data paths resolve, `artifacts` the run's folder
    in the artifact store, `tree` the folder that holds the code ("" where functions must be installed).
    `names` holds the values of exactly those template names that the stage uses. `branches`, of a stage
    whose result chooses: the nodes of the stages that directly follow it, each with its stage.
    `only` restricts the attempt to applying, or giving up, its last decided epoch.
    """

    attempt: int
    dag_id: str
    dag_uid: str
    run_uid: str
    run_id: str
    stage: str
    map_index: int
    base: int
    document: Mapping[str, Json]
    nodes: tuple[str, ...]
    project: str
    artifacts: str
    tree: str = ""
    names: Mapping[str, Json] = field(default_factory=dict)
    connections: Mapping[str, Mapping[str, Json]] = field(default_factory=dict)
    branches: Mapping[str, str] = field(default_factory=dict)
    only: Only | None = None

    def writer(self, node: str) -> str:
        """The identity of one output towards its target: the same for every attempt and clear."""
        return f"{self.dag_uid}:{node}:{self.run_uid}:{self.map_index}"
