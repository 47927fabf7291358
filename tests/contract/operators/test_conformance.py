"""The suites themselves: the operators for tests pass them, and broken ones do not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from orchestrator.sdk.conformance import ApplyOutputConformance, InputConformance, ProcessorConformance
from orchestrator.sdk.context import Context
from orchestrator.sdk.input import EndOfInput, Reader
from orchestrator.sdk.operator import operator
from orchestrator.sdk.output import Applier, ApplyOutput, Delivery
from orchestrator.sdk.processor import Processor, ProcessorRuntime
from orchestrator.sdk.testing import as_rows, make_context, process_with_restore, read_with_resume
from orchestrator.sdk.testing_operators import ListInput, ListOutput, MemoryTarget, Numbered
from orchestrator.sdk.types import type_name


class TestListInput(InputConformance):
    def source(self, folder: Path, table: pa.Table) -> ListInput:
        columns = {field.name: type_name(field.type) for field in table.schema}
        rows = [list(row.values()) for row in table.to_pylist()]
        return ListInput(columns=columns, rows=rows, split_rows=5)

    def test_the_configuration_survives_json(self, tmp_path: Path) -> None:
        """Its rows are Python values here; as configuration they are JSON."""
        assert ListInput(columns={"a": "int"}, rows=[[1], [None]]).config() == {
            "columns": {"a": "int64"},
            "rows": [[1], [None]],
        }


class TestNumbered(ProcessorConformance):
    def processor(self) -> Numbered:
        return Numbered(column="line")


class TestListOutput(ApplyOutputConformance):
    def output(self, folder: Path) -> ApplyOutput:
        return ListOutput(target=str(folder))

    def read(self, folder: Path) -> list[dict[str, Any]]:
        return ListOutput.targets.get(str(folder), MemoryTarget()).rows

    def lose_ledger(self, folder: Path) -> None:
        ListOutput.targets[str(folder)].ledger.clear()

    def after_two_runs(self) -> list[dict[str, Any]]:
        return [*self.table().to_pylist(), *self.table().to_pylist()]


class _SkippingReader(Reader):
    """Saves its position before the batch is out: the row after a restart is lost."""

    schema = pa.schema([("a", pa.int64())])

    def __init__(self, position: Any) -> None:
        self._next = position or 0

    def read(self) -> pa.RecordBatch:
        if self._next >= 3:
            raise EndOfInput
        self._next += 1
        return pa.record_batch([[self._next - 1]], schema=self.schema)

    @property
    def position(self) -> int:
        return int(self._next) + 1


@operator("list")
class SkippingInput(ListInput):
    """Loses a row at each restart."""

    def open(self, context: Context, split: Any, position: Any | None) -> Reader:
        return _SkippingReader(position)


@operator("numbered")
class ForgetfulProcessor(Numbered):
    """Restores nothing."""

    def open(self, context: Context) -> ProcessorRuntime:
        runtime = super().open(context)
        runtime.restore = lambda state: None  # type: ignore[method-assign]
        return runtime


class _DoublingApplier(Applier):
    def __init__(self, target: MemoryTarget) -> None:
        self._target = target

    def apply(self, delivery: Delivery) -> None:
        for part in delivery.parts:
            self._target.rows += as_rows(part.batches())


@operator("list")
class DoublingOutput(ListOutput):
    """Keeps no ledger."""

    def open(self, context: Context) -> Applier:
        return _DoublingApplier(self.targets.setdefault(self.target, MemoryTarget()))


def test_an_input_that_loses_a_row_at_a_restart_is_caught(tmp_path: Path) -> None:
    with pytest.raises(AssertionError, match="other rows"):
        read_with_resume(SkippingInput(columns={"a": "int64"}), make_context(tmp_path))


def test_a_processor_that_forgets_its_state_is_caught(tmp_path: Path) -> None:
    batches = pa.table({"a": [1, 2, 3]}).to_batches(max_chunksize=1)
    with pytest.raises(AssertionError, match="restored after 1 batches"):
        process_with_restore(ForgetfulProcessor(), batches, make_context(tmp_path))


class _Doubling(TestListOutput):
    def output(self, folder: Path) -> ApplyOutput:
        return DoublingOutput(target=str(folder))


def test_an_output_without_a_ledger_is_caught(tmp_path: Path) -> None:
    suite = _Doubling()
    for promise in (
        suite.test_applied_twice_it_shows_once,
        suite.test_applied_again_by_a_fresh_applier_it_shows_once,
        suite.test_a_ledger_that_is_gone_stops_the_apply,
    ):
        folder = tmp_path / promise.__name__
        folder.mkdir()
        with pytest.raises(AssertionError):
            promise(folder)


@operator("bare")
class Bare(Processor):
    retries_shown: int = 0


class _BareSuite(ProcessorConformance):
    def processor(self) -> Processor:
        return Bare()


def test_an_undescribed_field_and_a_missing_docstring_are_caught(tmp_path: Path) -> None:
    with pytest.raises(AssertionError, match="retries_shown"):
        _BareSuite().test_every_field_is_described(tmp_path)
    Bare.__doc__ = ""
    with pytest.raises(AssertionError, match="docstring"):
        _BareSuite().test_the_type_is_named_and_documented(tmp_path)
