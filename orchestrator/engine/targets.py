"""Targets: how an output's epochs become durable parts, and parts become what readers see.

Seal, apply and clean-up of files; `spool` has the same for every other output. What is applied comes
from the parts alone, never from memory, so it may be applied twice, late, or by another process.
"""

from __future__ import annotations

import os
import stat
from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import IO, TYPE_CHECKING

import pyarrow as pa

from orchestrator.crash import crash_point
from orchestrator.engine.durable import WriteBack, copy_beginning, make_folder, sync_file, sync_folder
from orchestrator.engine.parts import HIDDEN, PartFolder, PartName
from orchestrator.errors import OperatorError
from orchestrator.runs.checkpoint import Checkpoint, Decision, Token
from orchestrator.sdk.properties import Mode

if TYPE_CHECKING:
    from orchestrator.sdk.output import Encoder, FileOutput


class EpochGivenUp(OperatorError):
    """The decided final epoch can never be applied: it ends with the stage."""

    def __init__(self, message: str, *, hint: str) -> None:
        super().__init__(message, hint=hint, retry=False)


class Target(ABC):
    """One output of a stage, seen from the protocol. The verbs come in this order."""

    node: str
    schema: pa.Schema | None = None
    spooled: int = 0

    def prepare(self, base: int) -> None:
        """Restore step 2: make the target ready; may run again."""

    def clean(self, base: int) -> None:
        """Restore step 3: remove staged parts of epochs up to `base`."""

    def check(self, checkpoint: Checkpoint) -> None:
        """Restore step 5: refuse a target that went back in time."""

    def reopen(self, checkpoint: Checkpoint) -> None:
        """Restore step 7: go on after the last decided epoch."""

    @abstractmethod
    def write(self, batch: pa.RecordBatch) -> None:
        """Take a batch into the open epoch."""

    @abstractmethod
    def seal(self, epoch: int, *, final: bool) -> tuple[Token, ...]:
        """Close the epoch into durable parts."""

    @abstractmethod
    def apply(self, decision: Decision, tokens: Sequence[Token]) -> None:
        """Publish a decided epoch; `tokens` are this node's since `base`, oldest first."""

    def finish(self, base: int) -> None:
        """After the final epoch: remove what a start before `base` had published, and the like."""

    def clean_up(self, attempt: int) -> None:
        """Remove this writer's staged parts of attempts up to this one."""

    def give_up(self, decision: Decision, tokens: Sequence[Token]) -> None:
        """See to it that nobody applies this epoch any more; what a later final epoch needs is kept."""

    def close(self) -> None:
        """Let go of files and connections; what was not sealed is left to the next clean-up."""


class DiscardTarget(Target):
    """Takes rows and keeps nothing."""

    def __init__(self, node: str) -> None:
        self.node = node

    def write(self, batch: pa.RecordBatch) -> None:
        """Nothing: the edge has counted it."""

    def seal(self, epoch: int, *, final: bool) -> tuple[Token, ...]:
        return ()

    def apply(self, decision: Decision, tokens: Sequence[Token]) -> None:
        """Nothing to publish."""


class FileTarget(Target):
    """What files have in common: the hidden folder, and one open part with its encoder."""

    def __init__(
        self, output: FileOutput, node: str, path: Path, writer: str, attempt: int, host: str
    ) -> None:
        self.node, self._output, self._writer, self._attempt = node, output, writer, attempt
        self.path = Path(os.path.realpath(path))
        folder = self.path if output.is_folder else self.path.parent
        self.parts = PartFolder(folder / HIDDEN, host)
        self._file: IO[bytes] | None = None
        self._encoder: Encoder | None = None
        self._write_back: WriteBack | None = None
        self._name = ""
        self._next_epoch = 1
        self._rows = 0

    def prepare(self, base: int) -> None:
        self._refuse_misfit()
        self.parts.prepare()

    def clean(self, base: int) -> None:
        self.parts.remove_up_to_epoch(self._writer, base)

    def reopen(self, checkpoint: Checkpoint) -> None:
        self._next_epoch = checkpoint.highest + 1

    def write(self, batch: pa.RecordBatch) -> None:
        if self._encoder is None:
            self._open(batch.schema)
        assert self._encoder is not None
        assert self._write_back is not None
        self._encoder.write(batch)
        self._rows += batch.num_rows
        self._write_back.advance()

    def clean_up(self, attempt: int) -> None:
        self.parts.remove_up_to_attempt(self._writer, attempt)

    def give_up(self, decision: Decision, tokens: Sequence[Token]) -> None:
        if decision.final or not self._output.replaces_whole:
            for token in tokens:
                if token.epoch == decision.epoch:
                    self.parts.remove(token)

    def close(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = self._encoder = None

    def _refuse_misfit(self) -> None:
        """A path of the wrong sort is an error before anything is read."""
        try:
            found = self.path.stat().st_mode
        except FileNotFoundError:
            return
        if self._output.is_folder and not stat.S_ISDIR(found):
            raise OperatorError(
                f"{self.path} is a file", hint="leave the / off to write one file", retry=False
            )
        if not self._output.is_folder and stat.S_ISDIR(found):
            raise OperatorError(
                f"{self.path} is a folder", hint="end the path in / to write a folder", retry=False
            )
        if not (stat.S_ISDIR(found) or stat.S_ISREG(found)):
            raise OperatorError(
                f"{self.path} is neither a file nor a folder", hint="choose a path", retry=False
            )

    def _part_name(self, suffix: str) -> str:
        return str(PartName(self._writer, self._next_epoch, self._attempt, suffix))

    def _open(self, schema: pa.Schema, *, beginning: bool = True) -> None:
        if self._file is None:
            self._name = self._part_name(self._output.suffix)
            self._file = (self.parts.path / self._name).open("xb")
        self._encoder = self._output.encoder(self._file, schema, beginning=beginning)
        self._write_back = WriteBack(self._file, self._file.tell())

    def _sync(self, file: IO[bytes]) -> None:
        sync_file(file)
        crash_point("part.sealed")
        sync_folder(self.parts.path)
        crash_point("folder.synced")

    def _token(self, epoch: int, name: str, length: int) -> Token:
        rows, self._rows = self._rows, 0
        return Token(self.node, epoch, name, length, self.parts.id, self.parts.host, rows)

    def _seal_part(self, epoch: int) -> tuple[Token, ...]:
        """Complete the open part; none where the epoch had no rows."""
        self._next_epoch = epoch + 1
        if self._encoder is None or self._file is None:
            return ()
        self._encoder.close()
        self._sync(self._file)
        token = self._token(epoch, self._name, self._file.tell())
        self.close()
        return (token,)


class FolderTarget(FileTarget):
    """A folder: one part an epoch, renamed to its published name when the epoch is applied."""

    def prepare(self, base: int) -> None:
        super().prepare(base)
        make_folder(self.path)

    def seal(self, epoch: int, *, final: bool) -> tuple[Token, ...]:
        return self._seal_part(epoch)

    def apply(self, decision: Decision, tokens: Sequence[Token]) -> None:
        for token in tokens:
            if token.epoch == decision.epoch:
                source = self.parts.find(token)
                if source is not None:
                    source.replace(self.path / self._published(token.epoch))
                    crash_point("file.renamed")
        sync_folder(self.path)

    def finish(self, base: int) -> None:
        """A start before a clear had published epochs up to `base`; this one replaces them."""
        mine = {self._published(epoch) for epoch in self._epochs_published() if epoch <= base}
        for name in mine:
            (self.path / name).unlink(missing_ok=True)

    def _published(self, epoch: int) -> str:
        return f"{self._writer}@{epoch:06d}{self._output.suffix}"

    def _epochs_published(self) -> Iterable[int]:
        for name in os.listdir(self.path):
            stem, _, rest = name.removesuffix(self._output.suffix).rpartition("@")
            if stem == self._writer and rest.isdigit():
                yield int(rest)


class SingleFileTarget(FileTarget):
    """One file: nothing shows before the final epoch, then one rename (or link) puts it there."""

    def reopen(self, checkpoint: Checkpoint) -> None:
        super().reopen(checkpoint)
        if (
            self._output.effective_mode is Mode.ERROR_IF_EXISTS
            and checkpoint.last is None
            and self.path.exists()
        ):
            raise OperatorError(
                f"{self.path} exists already, and the mode is error_if_exists",
                hint="remove it, choose another path, or use mode: overwrite",
                retry=False,
            )

    def apply(self, decision: Decision, tokens: Sequence[Token]) -> None:
        if not decision.final:
            return
        source = self.parts.find(tokens[-1])
        if source is None:
            return
        if self._output.effective_mode is Mode.ERROR_IF_EXISTS:
            self._publish_by_link(source)
        else:
            if self.path.exists():
                source.chmod(stat.S_IMODE(self.path.stat().st_mode))
            source.replace(self.path)
        crash_point("file.renamed")
        sync_folder(self.path.parent)

    def _publish_by_link(self, source: Path) -> None:
        try:
            os.link(source, self.path)
        except FileExistsError:
            if not source.samefile(self.path):
                raise EpochGivenUp(
                    f"{self.path} was made by somebody else meanwhile, and the mode is error_if_exists",
                    hint="remove it or choose another path, then start over with --clear",
                ) from None


class GrowingFileTarget(SingleFileTarget):
    """A format of which any decided length is a valid beginning: one staged file an attempt grows."""

    def reopen(self, checkpoint: Checkpoint) -> None:
        super().reopen(checkpoint)
        mine = [token for token in checkpoint.tokens if token.node == self.node]
        if mine:
            predecessor = self.parts.need(mine[-1])
            self._name = self._part_name(self._output.suffix)
            self._file = (self.parts.path / self._name).open("xb")
            copy_beginning(predecessor, self._file, mine[-1].length)

    def write(self, batch: pa.RecordBatch) -> None:
        if self._encoder is None:
            self._open(batch.schema, beginning=self._file is None or self._file.tell() == 0)
        super().write(batch)

    def seal(self, epoch: int, *, final: bool) -> tuple[Token, ...]:
        if final and self._encoder is None and (self._file is None or self._file.tell() == 0):
            self._open(self.schema if self.schema is not None else pa.schema([]))
        if self._file is None:
            self._next_epoch = epoch + 1
            return ()
        if self._encoder is not None:
            self._encoder.flush()
            if final:
                self._encoder.close()
        self._sync(self._file)
        return (self._token(epoch, self._name, self._file.tell()),)


class JoinedFileTarget(SingleFileTarget):
    """A format whose parts are joined into one file when the final epoch is sealed."""

    def __init__(
        self, output: FileOutput, node: str, path: Path, writer: str, attempt: int, host: str
    ) -> None:
        super().__init__(output, node, path, writer, attempt, host)
        self._sealed: list[Token] = []

    def reopen(self, checkpoint: Checkpoint) -> None:
        super().reopen(checkpoint)
        self._sealed = [token for token in checkpoint.tokens if token.node == self.node]

    def seal(self, epoch: int, *, final: bool) -> tuple[Token, ...]:
        tokens = self._seal_part(epoch)
        self._sealed.extend(tokens)
        return (self._joined(epoch),) if final else tokens

    def _joined(self, epoch: int) -> Token:
        sources = [self.parts.need(token) for token in self._sealed]
        name = str(PartName(self._writer, epoch, self._attempt, f".whole{self._output.suffix}"))
        rows = sum(token.rows for token in self._sealed if token.epoch == epoch)
        with (self.parts.path / name).open("xb") as whole:
            self._output.join(sources, whole, self.schema if self.schema is not None else pa.schema([]))
            self._sync(whole)
            length = whole.tell()
        return Token(self.node, epoch, name, length, self.parts.id, self.parts.host, rows)


def file_target(
    output: FileOutput, node: str, path: Path, writer: str, attempt: int, host: str
) -> FileTarget:
    """The target that fits a file output's path and format."""
    if output.is_folder:
        kind: type[FileTarget] = FolderTarget
    else:
        kind = GrowingFileTarget if output.grows else JoinedFileTarget
    return kind(output, node, path, writer, attempt, host)
