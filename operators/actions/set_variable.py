"""set_variable: keeps a value that templates read as `var.KEY`."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field, field_validator

from orchestrator.sdk import action
from orchestrator.sdk.context import Context
from orchestrator.sdk.fields import TemplateMark
from orchestrator.sdk.operator import operator


@operator("set_variable")
class StoreVariable(action.Action):
    """Sets a variable, which outlives the run; its result is the value."""

    key: str = Field(description="The variable's name.", pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")
    value: Annotated[Any, TemplateMark(Any, within=True)] = Field(
        description="A JSON value; texts in it may be templates."
    )

    @field_validator("key")
    @classmethod
    def _lower(cls, key: str) -> str:
        return key.lower()

    def run(self, context: Context) -> action.Result:
        return action.Result(self.value, action.SetVariable(self.key, self.value))
