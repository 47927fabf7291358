"""Operators for tests of authoring: two kinds under one type, ports, templates, state."""

from __future__ import annotations

from typing import IO, TYPE_CHECKING, Any, ClassVar

from pydantic import Field

from orchestrator.sdk.action import Action, Branching
from orchestrator.sdk.context import Context
from orchestrator.sdk.fields import Templated, TemplatedDict
from orchestrator.sdk.input import EndOfInput, Input, Reader
from orchestrator.sdk.operator import SchemaProblem, Schemas, operator
from orchestrator.sdk.output import Encoder, FileOutput
from orchestrator.sdk.ports import Port
from orchestrator.sdk.processor import Processor
from orchestrator.sdk.registry import Registry
from orchestrator.sdk.types import TypeName

if TYPE_CHECKING:
    import pyarrow as pa


@operator("csv")
class CsvInput(Input):
    """Reads nothing: it stands for a file."""

    path: Templated[str] = Field(description="The file.", min_length=1)
    delimiter: str = Field(default=",", description="What stands between two fields.", max_length=1)
    has_header: bool = Field(default=True, description="Whether the first line holds the names.")
    columns: dict[str, TypeName] = Field(default_factory=dict, description="Names and types of the columns.")

    def output_schemas(self, inputs: Schemas) -> Schemas:
        from orchestrator.sdk.testing import schema_of

        return {"out": schema_of(self.columns) if self.columns else None}

    def open(self, context: Context, split: Any, position: Any | None) -> Reader:
        raise EndOfInput


@operator("csv")
class CsvOutput(FileOutput):
    """Writes nothing: it stands for a file."""

    suffix: ClassVar[str] = ".csv"

    def encoder(self, file: IO[bytes], schema: pa.Schema, *, beginning: bool) -> Encoder:
        raise NotImplementedError


@operator("filter")
class Filter(Processor):
    """Keeps the rows for which one column is more than a limit: `age > 18`."""

    row_local: ClassVar[bool] = True
    keeps_columns: ClassVar[bool] = True

    condition: Templated[str] = Field(description="A column, >, and a number.", min_length=1)

    def output_schemas(self, inputs: Schemas) -> Schemas:
        schema, column = inputs["in"], self.condition.split()[0]
        if schema is not None and column not in schema.names:
            raise SchemaProblem(
                f"there is no column {column!r}", hint=f"it has {', '.join(schema.names)}", field="condition"
            )
        return {"out": schema}


@operator("mapping")
class Mapping(Processor):
    """Renames columns."""

    mappings: dict[str, str] = Field(default_factory=dict, description="Old names and new ones.")


@operator("route")
class Route(Processor):
    """Each row to the port of the first condition that holds."""

    routes: dict[str, str] = Field(description="Ports and conditions.", min_length=1)
    default: str = Field(default="default", description="The port of all other rows.")

    def output_ports(self) -> tuple[str, ...]:
        return (*self.routes, self.default)

    def __getitem__(self, name: str) -> Port:
        return self.out[name]


@operator("join")
class Join(Processor):
    """Two inputs become one."""

    on: list[str] = Field(description="The columns that must be equal.", min_length=1)

    def input_ports(self) -> tuple[str, ...]:
        return ("left", "right")


@operator("sessions")
class Sessions(Processor):
    """Keeps state of version 3."""

    stateful: ClassVar[bool] = True
    state_version: ClassVar[int] = 3

    gap: int = Field(default=30, ge=1, description="Minutes of silence.")


@operator("bash")
class Bash(Action):
    """Runs nothing: it stands for a shell command."""

    command: str = Field(description="The command.", min_length=1)
    env: TemplatedDict[str] = Field(default_factory=dict, description="Environment variables.")


@operator("pick")
class Pick(Action):
    """Chooses the nodes that it is told."""

    branching: ClassVar[Branching | None] = "branch"

    choice: list[str] = Field(default_factory=list, description="What it chooses.")


REGISTRY = Registry(entries=()).with_operators(
    CsvInput, CsvOutput, Filter, Mapping, Route, Join, Sessions, Bash, Pick
)
