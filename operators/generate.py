"""generate: rows from nothing, the same ones each time; for trying out, testing and measuring."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from pydantic import Field, field_validator

from operators.transforms.expressions import Expressions, check_columns, check_text
from orchestrator.errors import OperatorError
from orchestrator.sdk.context import Context
from orchestrator.sdk.fields import Templated
from orchestrator.sdk.input import EndOfInput, Input, InputChanged, Reader
from orchestrator.sdk.operator import SchemaProblem, Schemas, operator

if TYPE_CHECKING:
    from collections.abc import Sequence

    import polars as pl
    import pyarrow as pa

ROW, RANDOM = "row", "random"
# The constants of SplitMix64 (Steele, Lea, Flood: "Fast splittable pseudorandom number generators", 2014).
_GAMMA, _MIX_1, _MIX_2 = 0x9E3779B97F4A7C15, 0xBF58476D1CE4E5B9, 0x94D049BB133111EB
_WORD = 1 << 64


@operator("generate")
class Generate(Input):
    """Makes rows, each a function of its number: the same ones in every run, from any position."""

    rows: Templated[int] = Field(ge=0, description="How many rows to make.")
    columns: dict[str, str] = Field(
        default_factory=lambda: {ROW: ROW},
        description="A column's name and the SQL expression that gives it, of `row` (from 0) and `random` "
        "(at least 0, below 1, another one in each column and row).",
        min_length=1,
    )
    seed: int = Field(default=0, ge=0, lt=_WORD, description="Another seed gives other random values.")

    @field_validator("columns")
    @classmethod
    def _known_words(cls, columns: dict[str, str]) -> dict[str, str]:
        for name, text in columns.items():
            try:
                check_text(text)
            except ValueError as error:
                raise ValueError(f"{name}: {error}") from None
        return columns

    def output_schemas(self, inputs: Schemas) -> Schemas:
        import pyarrow as pa

        types = check_columns(self.columns, _base_schema(), "columns")
        return {"out": pa.schema(list(types.items()))}

    def discover(self, context: Context) -> pa.Schema:
        schema = self.output_schemas({})["out"]
        assert schema is not None
        return schema

    def plan(self, context: Context) -> Sequence[Any]:
        return [self.config()]

    def open(self, context: Context, split: Any, position: Any | None) -> Reader:
        if split != self.config():
            raise InputChanged("`generate` is configured to make other rows than when the run began")
        return _GeneratingReader(self, context, position or 0)


def _base_schema() -> pa.Schema:
    import pyarrow as pa

    fields: list[Any] = [(ROW, pa.int64()), (RANDOM, pa.float64())]
    return pa.schema(fields)


class _GeneratingReader(Reader):
    def __init__(self, source: Generate, context: Context, start: int) -> None:
        import pyarrow as pa

        try:
            made = {name: Expressions({name: text}, _base_schema()) for name, text in source.columns.items()}
        except SchemaProblem as problem:
            raise OperatorError(str(problem), hint=problem.hint, retry=False) from None
        self.schema = pa.schema([(name, made[name].types[name]) for name in made])
        self._expressions: Mapping[str, Expressions] = made
        self._next, self._stop, self._seed = start, int(source.rows), source.seed
        self._batch_rows, self._batch_bytes = context.batch_rows, context.batch_bytes

    def read(self) -> pa.RecordBatch:
        import polars as pl
        import pyarrow as pa

        if self._next >= self._stop:
            raise EndOfInput
        stop = min(self._next + self._batch_rows, self._stop)
        rows = pl.int_range(self._next, stop, eager=True).alias(ROW)
        arrays = [self._column(name, rows) for name in self._expressions]
        batch = pa.RecordBatch.from_arrays(arrays, schema=self.schema)
        if batch.nbytes > self._batch_bytes and batch.num_rows > 1:
            self._batch_rows = max(1, batch.num_rows * self._batch_bytes // batch.nbytes)
            batch = batch.slice(0, self._batch_rows)
        self._next += batch.num_rows
        return batch

    def _column(self, name: str, rows: pl.Series) -> pa.Array[Any]:
        import pyarrow as pa

        expressions = self._expressions[name]
        base = {ROW: rows.to_arrow()}
        if RANDOM in expressions.columns:
            base[RANDOM] = uniform(rows, self._seed, name).to_arrow()
        else:
            base[RANDOM] = pa.nulls(len(rows), pa.float64())
        return expressions.evaluate(pa.record_batch(base))[name]

    @property
    def position(self) -> int:
        return self._next


def uniform(rows: pl.Series, seed: int, name: str) -> pl.Series:
    """A number from 0 up to 1 for each row number, by SplitMix64 of (seed, name, row): no state to keep."""
    import hashlib

    import polars as pl

    digest = hashlib.blake2b(f"{seed}:{name}".encode(), digest_size=8).digest()
    word = rows.cast(pl.UInt64) * _u64(_GAMMA) + _u64(int.from_bytes(digest, "little"))
    word = (word ^ (word // 2**30)) * _u64(_MIX_1)
    word = (word ^ (word // 2**27)) * _u64(_MIX_2)
    word = word ^ (word // 2**31)
    return (word // 2**11).cast(pl.Float64) * 2.0**-53


def _u64(value: int) -> pl.Series:
    import polars as pl

    return pl.Series([value], dtype=pl.UInt64)
