"""Outputs that are not files: each epoch is sealed as an Arrow file among the run's artifacts, and
the output's own applier carries whole parts into its target, in one step, by the key."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import IO

import pyarrow as pa

from orchestrator.crash import crash_point
from orchestrator.engine.durable import WriteBack, sync_file, sync_folder
from orchestrator.engine.parts import PartFolder, PartName
from orchestrator.engine.targets import Target
from orchestrator.errors import OperatorError
from orchestrator.runs.checkpoint import Checkpoint, Decision, Token
from orchestrator.sdk.output import Applier, ApplyOutput, Delivery, LedgerGone, Part

SUFFIX = ".arrow"


class SpoolTarget(Target):
    """One epoch, one Arrow file; applied by the output's applier."""

    def __init__(
        self,
        output: ApplyOutput,
        node: str,
        connect: Callable[[], Applier],
        spool: PartFolder,
        writer: str,
        file_writer: str,
        attempt: int,
    ) -> None:
        """`writer` is the key in the target, `file_writer` the same identity as it stands in file names."""
        self.node, self._output, self._connect, self._spool = node, output, connect, spool
        self._writer, self._file_writer, self._attempt = writer, file_writer, attempt
        self._applier: Applier | None = None
        self._file: IO[bytes] | None = None
        self._stream: pa.RecordBatchFileWriter | None = None
        self._write_back: WriteBack | None = None
        self._name, self._rows, self._next_epoch, self._base = "", 0, 1, 0

    def prepare(self, base: int) -> None:
        self._base = base
        self._spool.prepare()
        self.applier.prepare_stage(self._writer, base)

    @property
    def applier(self) -> Applier:
        """The connection to the target, made when it is first needed."""
        if self._applier is None:
            self._applier = self._connect()
        return self._applier

    def clean(self, base: int) -> None:
        self._spool.remove_up_to_epoch(self._file_writer, base)

    def check(self, checkpoint: Checkpoint) -> None:
        held = self.applier.held_epoch(self._writer)
        # What was applied before a clear does not count: the target starts anew from `base`.
        if held is not None and checkpoint.applied > checkpoint.base and held < checkpoint.applied:
            raise OperatorError(
                f"the target of {self.node!r} went back in time: it holds epoch {held}, "
                f"but epoch {checkpoint.applied} was applied",
                hint="was it restored from a backup? Bring it forward, or start over with --clear",
                retry=False,
            )

    def reopen(self, checkpoint: Checkpoint) -> None:
        self._next_epoch = checkpoint.highest + 1

    def write(self, batch: pa.RecordBatch) -> None:
        batch = self.applier.accept(batch)
        if batch.num_rows == 0:
            return
        if self._stream is None:
            self._open(batch.schema)
        assert self._stream is not None
        assert self._write_back is not None
        self._stream.write_batch(batch)
        self._rows += batch.num_rows
        self.spooled += batch.nbytes
        self._write_back.advance()

    def seal(self, epoch: int, *, final: bool) -> tuple[Token, ...]:
        self._next_epoch = epoch + 1
        if self._stream is None or self._file is None:
            return ()
        self._stream.close()
        sync_file(self._file)
        crash_point("part.sealed")
        sync_folder(self._spool.path)
        crash_point("folder.synced")
        token = Token(
            self.node, epoch, self._name, self._file.tell(), self._spool.id, self._spool.host, self._rows
        )
        self._close_file()
        self._rows = self.spooled = 0
        return (token,)

    def apply(self, decision: Decision, tokens: Sequence[Token]) -> None:
        whole = self._output.replaces_whole
        wanted = [token for token in tokens if (whole and decision.final) or token.epoch == decision.epoch]
        parts = [Part(token.epoch, self._spool.path / token.name) for token in wanted]
        delivery = Delivery(
            self._writer,
            decision.epoch,
            self._base,
            decision.final,
            _Present(parts, wanted, self._spool),
            self.schema,
        )
        try:
            self.applier.apply(delivery)
        except LedgerGone as error:
            raise OperatorError(
                f"the ledger row is gone: {error}",
                hint="the target was replaced or restored; start over with --clear once it is right",
                retry=False,
            ) from error

    def applied(self, decision: Decision, tokens: Sequence[Token]) -> None:
        """The epoch is marked applied: its parts have served, unless the whole is still to come."""
        if not self._output.replaces_whole or decision.final:
            for token in tokens:
                if token.epoch <= decision.epoch:
                    self._spool.remove(token)

    def finish(self, base: int) -> None:
        self.applier.finish_stage()

    def clean_up(self, attempt: int) -> None:
        self._spool.remove_up_to_attempt(self._file_writer, attempt)

    def give_up(self, decision: Decision, tokens: Sequence[Token]) -> None:
        self.applier.give_up(self._writer, decision.epoch)
        if decision.final or not self._output.replaces_whole:
            for token in tokens:
                if token.epoch == decision.epoch:
                    self._spool.remove(token)

    def close(self) -> None:
        self._close_file()
        if self._applier is not None:
            self._applier.close()
            self._applier = None

    def _open(self, schema: pa.Schema) -> None:
        self._name = str(PartName(self._file_writer, self._next_epoch, self._attempt, SUFFIX))
        self._file = (self._spool.path / self._name).open("xb")
        self._stream = pa.ipc.new_file(self._file, schema)
        self._write_back = WriteBack(self._file)

    def _close_file(self) -> None:
        if self._file is not None:
            self._file.close()
        self._file = self._stream = self._write_back = None


class _Present(Sequence[Part]):
    """Parts that are looked for only when they are read: a late applier sees the ledger first."""

    def __init__(self, parts: list[Part], tokens: list[Token], spool: PartFolder) -> None:
        self._parts, self._tokens, self._spool = parts, tokens, spool

    def __len__(self) -> int:
        return len(self._parts)

    def __getitem__(self, index: int) -> Part:  # type: ignore[override]  # parts are read one by one
        self._spool.need(self._tokens[index])
        return self._parts[index]
