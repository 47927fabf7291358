"""route: each row to the port of the first condition that holds."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import Field, field_validator, model_validator

from operators.transforms.expressions import RowByRow, check_condition, check_texts
from orchestrator.sdk.context import Context
from orchestrator.sdk.operator import SchemaProblem, Schemas, operator, refuse_misfits
from orchestrator.sdk.ports import Port
from orchestrator.sdk.processor import Emitted, Processor, ProcessorRuntime

if TYPE_CHECKING:
    import pyarrow as pa

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_-]*")


@operator("route")
class Route(Processor):
    """Sends each row to one port: that of the first condition that holds, else the default one."""

    row_local: ClassVar[bool] = True
    keeps_columns: ClassVar[bool] = True

    routes: dict[str, str] = Field(
        description="A port's name and the condition of its rows; the first that holds takes the row.",
        min_length=1,
    )
    default: str = Field(
        default="default", description="The port of the rows for which no condition holds or all are null."
    )

    @field_validator("routes")
    @classmethod
    def _known_words(cls, routes: dict[str, str]) -> dict[str, str]:
        return check_texts(routes)

    @model_validator(mode="after")
    def _port_names(self) -> Route:
        if self.default in self.routes:
            raise ValueError(
                f"port {self.default!r} is a route and the default: give the default another name"
            )
        for name in (*self.routes, self.default):
            if name == "rejects" or not _NAME.fullmatch(name):
                raise ValueError(
                    f"{name!r} is no name for a port: letters, digits, _ and -, and not `rejects`, "
                    "which every node has"
                )
        return self

    def __getitem__(self, name: str) -> Port:
        """`route["high"]` is short for `route.out["high"]`."""
        return self.out[name]

    def output_ports(self) -> tuple[str, ...]:
        return (*self.routes, self.default)

    def output_schemas(self, inputs: Schemas) -> Schemas:
        problems: list[SchemaProblem] = []
        for name, condition in self.routes.items():
            try:
                check_condition(condition, inputs.get("in"), f"routes.{name}")
            except SchemaProblem as problem:
                problems += problem.all
        refuse_misfits(problems)
        return dict.fromkeys(self.output_ports(), inputs.get("in"))

    def open(self, context: Context) -> ProcessorRuntime:
        return _Routing(self, context)


class _Routing(ProcessorRuntime):
    def __init__(self, route: Route, context: Context) -> None:
        self._default = route.default
        self._rows = RowByRow(route.routes, context, conditions=True)

    def process(self, batch: pa.RecordBatch, port: str) -> Emitted:
        import pyarrow as pa
        import pyarrow.compute as pc

        batch, results = self._rows.evaluate(batch)
        left: Any = pa.repeat(pa.scalar(True), batch.num_rows)
        for name, condition in results.items():
            known: Any = condition.cast(pa.bool_()).fill_null(False)
            holds: Any = pc.and_(left, known)
            left = pc.and_not(left, holds)
            yield from _chosen(name, batch, holds)
        yield from _chosen(self._default, batch, left)


def _chosen(name: str, batch: pa.RecordBatch, mask: Any) -> Emitted:
    if mask.true_count:
        yield name, batch if mask.true_count == batch.num_rows else batch.filter(mask)
