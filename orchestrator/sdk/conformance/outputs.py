"""The suites of both kinds of output."""

from __future__ import annotations

import io
from abc import abstractmethod
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

from orchestrator.sdk.conformance.operators import OperatorConformance
from orchestrator.sdk.operator import Operator
from orchestrator.sdk.output import ApplyOutput, Delivery, FileOutput, LedgerGone
from orchestrator.sdk.properties import Guarantee
from orchestrator.sdk.testing import (
    deliver,
    deliveries,
    encode,
    encode_epochs,
    make_context,
)

if TYPE_CHECKING:
    import pyarrow as pa


class FileOutputConformance(OperatorConformance):
    """A file holds every row, in order, whether written at once, by epochs, or gone on with after a kill."""

    @abstractmethod
    def output(self, path: str) -> FileOutput:
        """The output under test, into that path."""

    @abstractmethod
    def read(self, path: Path, schema: pa.Schema) -> list[dict[str, Any]]:
        """The rows of a file that it wrote, read by something else than its own input."""

    def example(self, folder: Path) -> Operator:
        return self.output(str(folder / "out"))

    def _written(self, folder: Path, data: bytes) -> Path:
        path = folder / f"written{self.output('out').suffix}"
        path.write_bytes(data)
        return path

    def _same(self, folder: Path, table: pa.Table, epochs: list[list[pa.RecordBatch]]) -> None:
        path = encode_epochs(self.output("out"), epochs, table.schema, folder)
        assert self.read(path, table.schema) == table.to_pylist()

    def test_the_suffix_starts_with_a_dot(self) -> None:
        assert self.output("out").suffix.startswith(".")

    def test_writes_every_row_with_nulls_and_unicode(self, tmp_path: Path) -> None:
        table = self.table()
        data = encode(self.output("out"), table.to_batches(max_chunksize=3))
        assert self.read(self._written(tmp_path, data), table.schema) == table.to_pylist()

    def test_writes_a_wide_schema(self, tmp_path: Path) -> None:
        self._same(tmp_path, self.wide_table(), [self.wide_table().to_batches()])

    def test_writes_a_valid_file_without_rows(self, tmp_path: Path) -> None:
        empty = self.table().slice(0, 0)
        self._same(tmp_path, empty, [])
        self._same(tmp_path, empty, [[]])
        self._same(tmp_path, empty, [empty.to_batches(), []])

    def test_several_epochs_make_one_file(self, tmp_path: Path) -> None:
        batches = self.table().to_batches(max_chunksize=1)
        self._same(tmp_path, self.table(), [[batch] for batch in batches])
        self._same(tmp_path, self.table(), [[], batches[:2], [], batches[2:], []])

    def test_slices_of_larger_batches_are_written_as_they_are(self, tmp_path: Path) -> None:
        [batch] = self.table().combine_chunks().to_batches()
        middle = batch.slice(2, 4)
        data = encode(self.output("out"), [middle])
        assert self.read(self._written(tmp_path, data), batch.schema) == middle.to_pylist()

    def test_what_was_flushed_is_a_beginning_to_go_on_from(self, tmp_path: Path) -> None:
        """A fresh attempt copies the decided length and goes on; the dead one's rows do not show."""
        output, table = self.output("out"), self.table()
        if not output.grows:
            return
        first, dead, *rest = table.to_batches(max_chunksize=2)
        file = io.BytesIO()
        encoder = output.encoder(file, table.schema, beginning=True)
        encoder.write(first)
        encoder.flush()
        decided = file.tell()
        encoder.write(dead)
        encoder.flush()
        file = io.BytesIO(file.getvalue()[:decided])
        file.seek(decided)
        encoder = output.encoder(file, table.schema, beginning=False)
        for batch in (dead, *rest):
            encoder.write(batch)
        encoder.close()
        assert self.read(self._written(tmp_path, file.getvalue()), table.schema) == table.to_pylist()


class ApplyOutputConformance(OperatorConformance):
    """A target holds each epoch once, however often and by whomever it is applied."""

    @abstractmethod
    def output(self, folder: Path) -> ApplyOutput:
        """The output under test; each call in one folder gives the same target."""

    @abstractmethod
    def read(self, folder: Path) -> list[dict[str, Any]]:
        """The rows of the target, in any order; none where it is not there yet."""

    def lose_ledger(self, folder: Path) -> None:
        """Take every writer's ledger row away, as a restore of the target from a backup would.

        Asked of exactly-once outputs only, as is all that speaks of the ledger.
        """
        raise NotImplementedError("say how the ledger rows of this target are taken away")

    def _once(self, folder: Path) -> bool:
        return self.output(folder).guarantee is Guarantee.EXACTLY_ONCE

    def example(self, folder: Path) -> Operator:
        return self.output(folder)

    def _epochs(self, table: pa.Table | None = None) -> list[list[pa.RecordBatch]]:
        return [[batch] for batch in (table or self.table()).combine_chunks().to_batches(max_chunksize=3)]

    def _deliveries(self, folder: Path, **wanted: Any) -> list[Delivery]:
        return deliveries(self.output(folder), self._epochs(), folder / "parts", **wanted)

    def _holds(self, folder: Path, rows: list[dict[str, Any]]) -> None:
        assert sorted(self.read(folder), key=repr) == sorted(rows, key=repr)

    def _apply(self, folder: Path, *made: Delivery, prepare: bool = True) -> None:
        """By a fresh applier, as another process would."""
        with closing(self.output(folder).open(make_context(folder))) as applier:
            if prepare:
                applier.prepare_stage(made[0].writer, made[0].base)
            for delivery in made:
                applier.apply(delivery)
            if made[-1].final:
                applier.finish_stage()

    def test_carries_every_row_with_nulls_and_unicode(self, tmp_path: Path) -> None:
        deliver(self.output(tmp_path), self._epochs(), make_context(tmp_path))
        self._holds(tmp_path, self.table().to_pylist())

    def test_carries_a_wide_schema(self, tmp_path: Path) -> None:
        table = self.wide_table()
        deliver(self.output(tmp_path), self._epochs(table), make_context(tmp_path))
        self._holds(tmp_path, table.to_pylist())

    def test_epochs_without_rows_change_nothing(self, tmp_path: Path) -> None:
        epochs: list[list[pa.RecordBatch]] = [[], *self._epochs(), []]
        deliver(self.output(tmp_path), epochs, make_context(tmp_path), schema=self.table().schema)
        self._holds(tmp_path, self.table().to_pylist())

    def test_a_run_without_rows_succeeds(self, tmp_path: Path) -> None:
        deliver(self.output(tmp_path), [[]], make_context(tmp_path), schema=self.table().schema)
        self._holds(tmp_path, [])

    def test_a_run_that_saw_no_batch_and_no_schema_succeeds(self, tmp_path: Path) -> None:
        deliver(self.output(tmp_path), [[]], make_context(tmp_path))
        self._holds(tmp_path, [])

    def test_applied_twice_it_shows_once(self, tmp_path: Path) -> None:
        if not self._once(tmp_path):
            return
        made = self._deliveries(tmp_path)
        for delivery in made:
            self._apply(tmp_path, delivery, delivery)
        self._holds(tmp_path, self.table().to_pylist())

    def test_applied_again_by_a_fresh_applier_it_shows_once(self, tmp_path: Path) -> None:
        if not self._once(tmp_path):
            return
        for delivery in self._deliveries(tmp_path):
            self._apply(tmp_path, delivery)
            self._apply(tmp_path, delivery)
        self._holds(tmp_path, self.table().to_pylist())

    def test_a_late_applier_of_an_earlier_epoch_changes_nothing(self, tmp_path: Path) -> None:
        if not self._once(tmp_path):
            return
        made = self._deliveries(tmp_path)
        self._apply(tmp_path, *made)
        self._apply(tmp_path, made[0], prepare=False)
        self._holds(tmp_path, self.table().to_pylist())

    def test_the_held_epoch_only_goes_up(self, tmp_path: Path) -> None:
        if not self._once(tmp_path):
            return
        made = self._deliveries(tmp_path)
        with closing(self.output(tmp_path).open(make_context(tmp_path))) as applier:
            applier.prepare_stage("writer", 0)
            held = []
            for delivery in (made[0], made[1], made[0], made[-1], made[1]):
                applier.apply(delivery)
                held.append(applier.held_epoch("writer"))
            assert held == [1, 2, 2, len(made), len(made)]
            assert applier.held_epoch("stranger") is None

    def test_prepared_again_it_forgets_nothing(self, tmp_path: Path) -> None:
        first, *rest = self._deliveries(tmp_path)
        self._apply(tmp_path, first)
        self._apply(tmp_path, *rest)
        self._holds(tmp_path, self.table().to_pylist())

    def test_a_ledger_that_is_gone_stops_the_apply(self, tmp_path: Path) -> None:
        if not self._once(tmp_path):
            return
        first, second, *_ = self._deliveries(tmp_path)
        self._apply(tmp_path, first)
        before = self.read(tmp_path)
        self.lose_ledger(tmp_path)
        for delivery in (first, second):
            try:
                self._apply(tmp_path, delivery, prepare=False)
            except LedgerGone:
                continue
            raise AssertionError("apply without a ledger row must raise LedgerGone")
        self._holds(tmp_path, before)

    def test_an_epoch_that_was_given_up_is_not_applied_late(self, tmp_path: Path) -> None:
        if not self._once(tmp_path):
            return
        first, second, *_ = self._deliveries(tmp_path)
        self._apply(tmp_path, first)
        before = self.read(tmp_path)
        with closing(self.output(tmp_path).open(make_context(tmp_path))) as applier:
            applier.give_up("writer", second.epoch)
            assert applier.held_epoch("writer") == second.epoch
            applier.give_up("writer", first.epoch)
            assert applier.held_epoch("writer") == second.epoch
        self._apply(tmp_path, second, prepare=False)
        self._holds(tmp_path, before)

    def test_writers_do_not_skip_each_others_epochs(self, tmp_path: Path) -> None:
        """Two runs into one target: what replaces shows the last, what appends or upserts shows both."""
        one, other = (self._deliveries(tmp_path, writer=name) for name in ("one", "other"))
        for left, right in zip(one, other, strict=True):
            self._apply(tmp_path, left)
            self._apply(tmp_path, right)
        self._holds(tmp_path, self.after_two_runs())

    def after_two_runs(self) -> list[dict[str, Any]]:
        """What the target holds after the same rows came from two writers; override where it appends."""
        return self.table().to_pylist()

    def test_a_clear_goes_on_above_its_base(self, tmp_path: Path) -> None:
        """Started over, a run applies epochs above `base`; what its mode repeats comes again."""
        self._apply(tmp_path, *self._deliveries(tmp_path))
        self._apply(tmp_path, *self._deliveries(tmp_path, base=10))
        self._holds(tmp_path, self.after_two_runs())
