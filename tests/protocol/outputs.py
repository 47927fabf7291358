"""What every output of the model offers, whatever its target is; and the artifact store's spool."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

from . import names
from .store import Attempt, AttemptFailed, Checkpoint, Epoch, Token


class Row(NamedTuple):
    """A row by its place in the source. `epoch` and `attempt` sealed it: labels that no target reads."""

    run: str
    place: int
    number: int
    epoch: int
    attempt: int

    @property
    def key(self) -> int:
        """The key of an upsert: two rows of every run share one."""
        return self.place // 2


@dataclass
class File:
    """A file's rows; the same object under two names is one inode. `born`: the step it was created at."""

    rows: list[Row]
    born: int


@dataclass
class Work:
    """What an attempt knows. `memory` are the rows it wrote itself; it dies with the attempt."""

    attempt: Attempt
    now: Callable[[], int]
    spool: dict[str, File]
    dag_scoped: bool = False
    memory: dict[tuple[str, int], list[Row]] = field(default_factory=dict)

    @property
    def run(self) -> str:
        return self.attempt.run


def content(files: dict[str, File], work: Work, node: str, epoch: int, token: Token) -> list[Row]:
    """Rules 2.5 and 4.5: from the part, as long as was decided; never from memory."""
    if not token.name:
        return []
    file = files.get(token.name)
    if file is None or len(file.rows) < token.length:
        raise AttemptFailed(f"{token.name}, sealed on host {token.host}, is missing or short", retry=False)
    return file.rows[: token.length]


def remove_staged_before(files: dict[str, File], writer: str, base: int) -> None:
    """Rule 3.3."""
    for name in names.of_epochs_up_to(files, writer, base):
        del files[name]


def remove_staged_after(files: dict[str, File], writer: str, attempt: int) -> None:
    """Rule 2.7."""
    for name in names.of_attempts_up_to(files, writer, attempt):
        del files[name]


class Output:
    """One output node: its target is shared by all runs. Generators yield steps."""

    whole = False
    """Rules 6.4 and 7.4: published with the final epoch only, replacing what was there."""
    staged_files: dict[str, File]

    def __init__(self, node: str) -> None:
        self.node = node

    def writer(self, run: str) -> str:
        return names.writer(self.node, run)

    def prepare(self, work: Work) -> None:
        """Rule 3.2: `prepare_stage`, idempotent."""

    def take_ledger_row(self, work: Work) -> Iterator[str]:
        """Rule 3.2, for outputs with a ledger."""
        yield from ()

    def check(self, work: Work, checkpoint: Checkpoint) -> None:
        """Rules 3.5 and 4.3: what is looked at once the checkpoint is read."""

    def seal(self, work: Work, checkpoint: Checkpoint, number: int, rows: list[Row], final: bool) -> Token:
        """Rule 2.3."""
        raise NotImplementedError

    def apply(self, work: Work, checkpoint: Checkpoint, epoch: Epoch) -> Iterator[str]:
        """Rule 2.5; `checkpoint.epochs` ends with `epoch`."""
        raise NotImplementedError

    def give_up(self, work: Work, epoch: Epoch) -> Iterator[str]:
        """Section 3: nobody may apply the epoch after this."""
        raise NotImplementedError

    def forget_spool(self, epoch: Epoch) -> None:
        """Rule 2.6: spooled parts go when the epoch is marked applied."""

    def finish(self, work: Work) -> None:
        """Rule 7.3: `finish_stage` removes what a clear replaces."""

    def visible(self) -> list[Row]:
        """What a reader of the target sees now."""
        raise NotImplementedError
