"""trigger_dag: starts a run of another DAG, once a run of this one."""

from __future__ import annotations

from typing import Any

from pydantic import Field

from orchestrator.sdk.action import Action, TriggerRun
from orchestrator.sdk.context import Context
from orchestrator.sdk.fields import Templated, TemplatedDict
from orchestrator.sdk.operator import operator


@operator("trigger_dag")
class TriggerDag(Action):
    """Starts a run of another DAG, and does not wait for it.

    The run is made in the transaction that writes this node's success: tried again, it is made once.
    """

    dag_id: Templated[str] = Field(description="The DAG to run, one of those that are loaded.", min_length=1)
    params: TemplatedDict[Any] = Field(default_factory=dict, description="Params of its run.")
    logical_date: Templated[str] = Field(
        default="", description="The logical date of its run, ISO text with an offset: none."
    )
    run_id: Templated[str] = Field(
        default="", description="The name of its run: made from this run and node where none is given."
    )

    def run(self, context: Context) -> TriggerRun:
        return TriggerRun(self.dag_id, dict(self.params), self.logical_date or None, self.run_id or None)
