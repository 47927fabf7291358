"""The suite of processors."""

from __future__ import annotations

from abc import abstractmethod
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

from orchestrator.sdk.conformance.operators import OperatorConformance
from orchestrator.sdk.operator import Operator
from orchestrator.sdk.processor import Processor
from orchestrator.sdk.testing import (
    as_rows,
    make_context,
    process_all,
    process_with_restore,
)
from orchestrator.sdk.types import canonical_schema

if TYPE_CHECKING:
    import pyarrow as pa


class ProcessorConformance(OperatorConformance):
    """A processor gives the same rows whatever the batches' bounds, and after any restore."""

    @abstractmethod
    def processor(self) -> Processor:
        """The processor under test; it takes the batches of `table` and of `wide_table`."""

    def wide_table(self) -> pa.Table:
        """`table` with as many columns more as make it wide."""
        table, wide = self.table(), super().wide_table()
        import pyarrow as pa

        rows = pa.array([n % wide.num_rows for n in range(table.num_rows)], pa.int64())
        for name in wide.column_names[table.num_columns :]:
            table = table.append_column(name, wide[name].take(rows))
        return table

    def example(self, folder: Path) -> Operator:
        return self.processor()

    def _fed(self, table: pa.Table, rows: int = 3) -> list[tuple[str, pa.RecordBatch]]:
        batches = table.combine_chunks().to_batches(max_chunksize=rows)
        return [(port, batch) for batch in batches for port in self.processor().input_ports()]

    def _rows(self, folder: Path, table: pa.Table, rows: int) -> dict[str, list[dict[str, Any]]]:
        given = process_all(self.processor(), self._fed(table, rows), make_context(folder))
        return {port: as_rows(batches) for port, batches in given.items()}

    def test_a_fresh_one_gives_the_same_again(self, tmp_path: Path) -> None:
        assert self._rows(tmp_path, self.table(), 3) == self._rows(tmp_path, self.table(), 3)

    def test_a_restore_after_any_batch_changes_no_row(self, tmp_path: Path) -> None:
        if self.processor().can_snapshot:
            process_with_restore(self.processor(), self._fed(self.table(), 2), make_context(tmp_path))

    def test_where_batches_end_changes_no_row_of_a_row_local_one(self, tmp_path: Path) -> None:
        if self.processor().row_local:
            assert self._rows(tmp_path, self.table(), 1) == self._rows(tmp_path, self.table(), 8)

    def test_the_schemas_are_the_declared_ones(self, tmp_path: Path) -> None:
        fed = self._fed(self.table())
        declared = self.processor().output_schemas({port: batch.schema for port, batch in fed})
        given = process_all(self.processor(), fed, make_context(tmp_path))
        assert set(given) == set(self.processor().output_ports())
        for port, batches in given.items():
            for batch in batches:
                wanted = declared[port] or batches[0].schema
                assert batch.schema.equals(wanted), f"port {port}"
                assert batch.schema.equals(canonical_schema(batch.schema))

    def test_an_empty_batch_gives_no_rows_and_changes_none(self, tmp_path: Path) -> None:
        fed = self._fed(self.table())
        empty = [(port, batch.slice(0, 0)) for port, batch in fed[:1]]
        with_empty = process_all(self.processor(), [*empty, *fed, *empty], make_context(tmp_path))
        without = process_all(self.processor(), fed, make_context(tmp_path))
        for port, batches in without.items():
            assert as_rows(with_empty[port]) == as_rows(batches)

    def test_no_batch_at_all_is_no_error(self, tmp_path: Path) -> None:
        process_all(self.processor(), [], make_context(tmp_path))

    def test_takes_a_wide_schema(self, tmp_path: Path) -> None:
        context = make_context(tmp_path)
        process_all(self.processor(), self._fed(self.wide_table()), context)

    def test_two_at_once_share_nothing(self, tmp_path: Path) -> None:
        processor, context = self.processor(), make_context(tmp_path)
        with closing(processor.open(context)) as left:
            for port, batch in self._fed(self.table()):
                list(left.process(batch, port))
            again = process_all(processor, self._fed(self.table()), context)
        straight = process_all(self.processor(), self._fed(self.table()), context)
        assert {p: as_rows(b) for p, b in again.items()} == {p: as_rows(b) for p, b in straight.items()}
