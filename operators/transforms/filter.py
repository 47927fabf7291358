"""filter: the rows for which a condition holds."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import Field, field_validator

from operators.transforms.expressions import RowByRow, check_condition, check_text
from orchestrator.sdk.context import Context
from orchestrator.sdk.fields import SqlText, is_template
from orchestrator.sdk.operator import Schemas, operator
from orchestrator.sdk.processor import Emitted, Processor, ProcessorRuntime

if TYPE_CHECKING:
    import pyarrow as pa


@operator("filter")
class Filter(Processor):
    """Keeps the rows for which the condition holds; where it is null, the row goes."""

    row_local: ClassVar[bool] = True
    keeps_columns: ClassVar[bool] = True

    condition: SqlText = Field(
        description="An SQL expression that is true of the rows to keep, such as age > 18.", min_length=1
    )

    @field_validator("condition")
    @classmethod
    def _known_words(cls, text: str) -> str:
        return text if is_template(text) else check_text(text)

    def output_schemas(self, inputs: Schemas) -> Schemas:
        schema = inputs.get("in")
        check_condition(self.condition, schema, "condition")
        return {"out": schema}

    def open(self, context: Context) -> ProcessorRuntime:
        return _Filtering(self.condition, context)


class _Filtering(ProcessorRuntime):
    def __init__(self, condition: str, context: Context) -> None:
        self._rows = RowByRow({"condition": condition}, context, conditions=True)

    def process(self, batch: pa.RecordBatch, port: str) -> Emitted:
        import pyarrow as pa

        batch, results = self._rows.evaluate(batch)
        mask: Any = results["condition"].cast(pa.bool_())
        if mask.true_count == batch.num_rows:
            return (batch,) if batch.num_rows else ()
        kept = batch.filter(mask)
        return (kept,) if kept.num_rows else ()
