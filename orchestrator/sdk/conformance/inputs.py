"""The suite of inputs."""

from __future__ import annotations

from abc import abstractmethod
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

from orchestrator.sdk.conformance.operators import OperatorConformance
from orchestrator.sdk.input import EndOfInput, Input
from orchestrator.sdk.operator import Operator
from orchestrator.sdk.testing import (
    as_rows,
    make_context,
    read_all,
    read_batches,
    read_with_resume,
    through_json,
)
from orchestrator.sdk.types import canonical_schema

if TYPE_CHECKING:
    import pyarrow as pa


class InputConformance(OperatorConformance):
    """An input gives every row once, in bounded batches, and goes on from any position."""

    @abstractmethod
    def source(self, folder: Path, table: pa.Table) -> Input:
        """An input that reads these rows from a source that it makes in `folder`, types included."""

    def expected(self, table: pa.Table) -> list[dict[str, Any]]:
        """The rows as the input gives them; the same ones unless the source cannot hold them."""
        return table.to_pylist()

    def example(self, folder: Path) -> Operator:
        return self.source(folder, self.table())

    def _same(self, folder: Path, table: pa.Table) -> None:
        source = self.source(folder, table)
        context = make_context(folder)
        batches = read_all(source, context)
        assert as_rows(batches) == self.expected(table)
        assert context.rejects == []
        for batch in batches:
            assert batch.schema.equals(canonical_schema(batch.schema), check_metadata=True)
            assert batch.schema == batches[0].schema

    def test_reads_every_row_in_order_with_nulls_and_unicode(self, tmp_path: Path) -> None:
        self._same(tmp_path, self.table())

    def test_reads_a_wide_schema(self, tmp_path: Path) -> None:
        self._same(tmp_path, self.wide_table())

    def test_reads_a_source_without_rows(self, tmp_path: Path) -> None:
        self._same(tmp_path, self.table().slice(0, 0))

    def test_the_discovered_schema_is_the_one_read(self, tmp_path: Path) -> None:
        source, context = self.source(tmp_path, self.table()), make_context(tmp_path)
        found = source.discover(context)
        for split in source.plan(context):
            with closing(source.open(context, through_json(split), None)) as reader:
                assert found is None or reader.schema.equals(found)
                assert all(batch.schema.equals(reader.schema) for batch in read_batches(reader))

    def test_resumes_without_loss_at_every_position(self, tmp_path: Path) -> None:
        source = self.source(tmp_path, self.table())
        for rows in (1, 3):
            context = make_context(tmp_path, batch_rows=rows)
            assert as_rows(read_with_resume(source, context)) == self.expected(self.table())

    def test_no_batch_is_larger_than_asked(self, tmp_path: Path) -> None:
        context = make_context(tmp_path, batch_rows=3)
        sizes = [batch.num_rows for batch in read_all(self.source(tmp_path, self.table()), context)]
        assert max(sizes) <= 3
        assert sum(sizes) == len(self.expected(self.table()))

    def test_the_end_is_said_again(self, tmp_path: Path) -> None:
        source, context = self.source(tmp_path, self.table()), make_context(tmp_path)
        for split in source.plan(context):
            with closing(source.open(context, through_json(split), None)) as reader:
                list(read_batches(reader))
                for _ in range(2):
                    try:
                        reader.read()
                    except EndOfInput:
                        continue
                    raise AssertionError("read() after the end must raise EndOfInput")

    def test_a_reader_left_halfway_disturbs_no_other(self, tmp_path: Path) -> None:
        source, context = self.source(tmp_path, self.table()), make_context(tmp_path, batch_rows=2)
        split = through_json(source.plan(context)[0])
        with closing(source.open(context, split, None)) as reader:
            next(read_batches(reader))
            reader.applied(1)
        source.open(context, split, None).close()
        assert as_rows(read_all(source, context)) == self.expected(self.table())

    def test_cancelled_while_reading_it_stops_or_goes_on_and_stays_exact(self, tmp_path: Path) -> None:
        source, context = self.source(tmp_path, self.table()), make_context(tmp_path, batch_rows=2)
        rows: list[dict[str, Any]] = []
        for split in map(through_json, source.plan(context)):
            context.stopping = False
            with closing(source.open(context, split, None)) as reader:
                rows += as_rows(read_batches(reader, 1))
                context.cancel()
                rows += as_rows(read_batches(reader, 1))
                position = through_json(reader.position)
            context.stopping = False
            with closing(source.open(context, split, position)) as reader:
                rows += as_rows(read_batches(reader))
        assert rows == self.expected(self.table())
