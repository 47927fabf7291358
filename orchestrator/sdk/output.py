"""Outputs: what carries an epoch's rows into a target, exactly once where the target allows.

Two kinds. A `FileOutput` gives an encoder and a suffix; the engine stages, seals and renames. Any
other is an `ApplyOutput`: the engine seals each epoch as an Arrow file, and the output's applier
carries whole parts into its target, idempotently by the key.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import Field, model_validator

from orchestrator.sdk.fields import Templated
from orchestrator.sdk.operator import Operator
from orchestrator.sdk.properties import Guarantee, Kind, Mode

if TYPE_CHECKING:
    from pathlib import Path

    import pyarrow as pa

    from orchestrator.sdk.context import Context


class Output(Operator):
    """Consumes batches. `guarantee` is what a reader of the target may rely on."""

    kind: ClassVar[Kind] = Kind.OUTPUT
    guarantee: ClassVar[Guarantee] = Guarantee.EXACTLY_ONCE

    @property
    def replaces_whole(self) -> bool:
        """Whether nothing shows in the target before the final epoch is applied."""
        return False

    @property
    def repeats(self) -> bool:
        """Whether starting over brings rows a second time: what is appended to a table is not taken back."""
        return False


class Encoder(ABC):
    """Writes batches into one open file, on one thread."""

    @abstractmethod
    def write(self, batch: pa.RecordBatch) -> None:
        """Append a batch; the file may be buffered until `close`."""

    def flush(self) -> None:
        """Hand everything written so far to the file (asked of formats that grow)."""

    def close(self) -> None:
        """Complete the file; the engine closes and syncs it."""


class FileOutput(Output):
    """Writes files: one (`overwrite`, `error_if_exists`), or a part an epoch into a folder (`append`).

    A path that ends in `/` is a folder. `grows` formats (CSV, JSON lines) keep one staged file an
    attempt, of which any decided length is a valid beginning; others seal a part an epoch, which
    `join` makes one file when the final epoch is sealed.
    """

    suffix: ClassVar[str] = ""
    grows: ClassVar[bool] = False

    path: Templated[str] = Field(description="A file, or a folder where it ends in /.", min_length=1)
    mode: Literal["append", "overwrite", "error_if_exists"] | None = Field(
        default=None,
        description="overwrite (default) or error_if_exists for a file, append (default) for a folder.",
    )

    @model_validator(mode="after")
    def _mode_fits_path(self) -> FileOutput:
        if self.mode is None or self.path.endswith(
            "}}"
        ):  # what a template ends with is known when it is rendered
            return self
        if self.is_folder and self.mode != "append":
            raise ValueError(
                f"mode {self.mode} of a folder is refused, since two runs would remove each other's parts: "
                "put {{ ds }} into the path, or write one file"
            )
        if not self.is_folder and self.mode == "append":
            raise ValueError(
                f"mode {self.mode} of one file is refused: write a folder (a path ending in /), or overwrite"
            )
        return self

    @property
    def is_folder(self) -> bool:
        """Whether the path names a folder."""
        return self.path.endswith("/")

    @property
    def effective_mode(self) -> Mode:
        """The mode, or its default for a file or folder."""
        if self.mode is not None:
            return Mode(self.mode)
        return Mode.APPEND if self.is_folder else Mode.OVERWRITE

    @property
    def replaces_whole(self) -> bool:
        return not self.is_folder

    @abstractmethod
    def encoder(self, file: IO[bytes], schema: pa.Schema, *, beginning: bool) -> Encoder:
        """An encoder into an open file; `beginning` is False where the file already has a header."""

    def join(self, parts: Sequence[Path], target: IO[bytes], schema: pa.Schema) -> None:
        """Join complete parts, in order, into one file; asked of formats that do not grow.

        With no parts: a valid file without rows.
        """
        raise NotImplementedError(f"{self.type} files cannot be joined")


@dataclass(frozen=True)
class Part:
    """An epoch's rows as an Arrow IPC file in the artifact store; `path` is absolute."""

    epoch: int
    path: Path
    schema: pa.Schema | None = None

    def batches(self) -> Iterator[pa.RecordBatch]:
        """The rows, memory-mapped: nothing is loaded before it is read."""
        import pyarrow as pa

        with pa.memory_map(str(self.path)) as source, pa.ipc.open_file(source) as reader:
            for index in range(reader.num_record_batches):
                yield reader.get_batch(index)


@dataclass(frozen=True)
class Delivery:
    """One call of `Applier.apply`.

    `writer` and `epoch` are the key by which it must be idempotent; `parts` are this epoch's, or all
    since `base` where the output replaces whole and `final` is set (with `final` unset it then only
    records the epoch). `schema` is that of the rows, None where no batch ever came.
    """

    writer: str
    epoch: int
    base: int
    final: bool
    parts: Sequence[Part]
    schema: pa.Schema | None


class LedgerGone(ValueError):
    """The ledger row of a writer is not there although it was inserted: the target was changed."""


class Applier(ABC):
    """An output that carries parts into its target, on one thread; holds the connection."""

    def prepare_stage(self, writer: str, base: int) -> None:
        """Make the target ready, before anything is read; may run again and must be idempotent.

        Inserts the writer's ledger row at `base` where it is absent, and raises its `base` where lower.
        """

    def accept(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        """The rows of a batch that the target can hold; called before they are sealed, and nowhere else.

        Here rows that could never be written are refused (`context.reject`), and an `OperatorError` says
        what is wrong with the columns: once an epoch is decided, its rows must go in. The schema stays.
        """
        return batch

    @abstractmethod
    def apply(self, delivery: Delivery) -> None:
        """Carry an epoch into the target in one step; done already: do nothing.

        Raises `LedgerGone` where the target no longer knows the writer.
        """

    def held_epoch(self, writer: str) -> int | None:
        """The epoch that the target holds for a writer; None where the target cannot tell."""
        return None

    def give_up(self, writer: str, epoch: int) -> None:
        """Raise the ledger to an epoch that was given up, so that no late attempt applies it."""

    def finish_stage(self) -> None:
        """After the final epoch was applied; may run again."""

    def close(self) -> None:
        """Let go of everything; called once, whatever happened."""


class ApplyOutput(Output):
    """An output that is not files; gives the `Applier`."""

    @property
    def repeats(self) -> bool:
        return getattr(self, "mode", Mode.APPEND) == Mode.APPEND

    @abstractmethod
    def open(self, context: Context) -> Applier:
        """Connect to the target."""


@contextmanager
def closing(applier: Applier) -> Iterator[Applier]:
    """Close an applier whatever happens."""
    try:
        yield applier
    finally:
        applier.close()


def describe_mode(output: Any) -> str:
    """The mode as `plan` shows it."""
    mode = getattr(output, "effective_mode", None) or getattr(output, "mode", None)
    return str(mode) if mode else ""
