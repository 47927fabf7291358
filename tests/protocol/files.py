"""File targets (section 4 of the protocol): a folder, and a single file that grows or is joined."""

from __future__ import annotations

from collections.abc import Iterator

from . import names
from .outputs import File, Output, Row, Work, content
from .store import AttemptFailed, Checkpoint, Epoch, Token


class TargetExists(AttemptFailed):
    """`error_if_exists` found a file of somebody else."""

    def __init__(self, node: str, epoch: int | None = None) -> None:
        super().__init__(f"{node} exists", retry=False)
        self.epoch = epoch


class FileOutput(Output):
    """The hidden folder beside the target, with its random id."""

    def __init__(self, node: str) -> None:
        super().__init__(node)
        self.folder = f"folder-of-{node}"
        self.hidden: dict[str, File] = {}
        self.staged_files = self.hidden

    def token(self, work: Work, name: str, length: int) -> Token:
        return Token(name, length, self.folder, work.attempt.host)

    def expect_folder(self, token: Token) -> None:
        """Rule 4.4: only with the right id does "source gone" mean published."""
        if token.folder != self.folder:
            raise AttemptFailed(f"sealed on host {token.host}, not visible here", retry=False)

    def decided_part(self, token: Token) -> File | None:
        """The sealed file under its staged name; None once it is published."""
        self.expect_folder(token)
        file = self.hidden.get(token.name)
        if file is not None and len(file.rows) < token.length:
            raise AttemptFailed(f"{token.name}, sealed on host {token.host}, is short", retry=False)
        return file

    def give_up(self, work: Work, epoch: Epoch) -> Iterator[str]:
        token = epoch.decision.tokens[self.node]
        self.expect_folder(token)
        self.hidden.pop(token.name, None)
        yield from ()


class FolderOutput(FileOutput):
    """Rule 4.2: one part an epoch, each published by a rename."""

    def __init__(self, node: str) -> None:
        super().__init__(node)
        self.parts: dict[str, File] = {}

    def seal(self, work: Work, checkpoint: Checkpoint, number: int, rows: list[Row], final: bool) -> Token:
        if not rows:
            return self.token(work, "", 0)
        name = names.staged(self.writer(work.run), number, work.attempt.id, "part")
        self.hidden[name] = File(list(rows), work.now())
        return self.token(work, name, len(rows))

    def apply(self, work: Work, checkpoint: Checkpoint, epoch: Epoch) -> Iterator[str]:
        token = epoch.decision.tokens[self.node]
        part = self.decided_part(token)
        if part is not None:
            rows = content(self.hidden, work, self.node, epoch.decision.number, token)
            del self.hidden[token.name]
            self.parts[names.published(self.node, work.run, epoch.decision.number)] = File(rows, part.born)
            yield "file.renamed"

    def finish(self, work: Work) -> None:
        """Rules 7.3 and 6.5: this writer's parts of earlier lives go; what a cursor passed stays."""
        if work.dag_scoped:
            return
        for number in range(1, work.attempt.base + 1):
            self.parts.pop(names.published(self.node, work.run, number), None)

    def visible(self) -> list[Row]:
        return [row for part in self.parts.values() for row in part.rows]


class SingleFileOutput(FileOutput):
    """Rule 4.3: nothing before the final epoch, whose token is one whole file; then one rename."""

    whole = True

    def __init__(self, node: str, *, error_if_exists: bool = False) -> None:
        super().__init__(node)
        self.error_if_exists = error_if_exists
        self.file: File | None = None

    def check(self, work: Work, checkpoint: Checkpoint) -> None:
        if (
            self.error_if_exists
            and not checkpoint.epochs
            and self.file is not None
            and work.attempt.only is None
        ):
            raise TargetExists(self.node)

    def apply(self, work: Work, checkpoint: Checkpoint, epoch: Epoch) -> Iterator[str]:
        token = epoch.decision.tokens[self.node]
        self.expect_folder(token)
        if not epoch.decision.final:
            return
        part = self.decided_part(token)
        if part is None or part is self.file:
            return
        if self.error_if_exists:
            if self.file is not None:
                raise TargetExists(self.node, epoch.decision.number)
        else:
            del self.hidden[token.name]
        part.rows = content({token.name: part}, work, self.node, epoch.decision.number, token)
        self.file = part
        yield "file.renamed"

    def give_up(self, work: Work, epoch: Epoch) -> Iterator[str]:
        """Of another epoch a late attempt publishes nothing, and a resume needs the parts."""
        if epoch.decision.final:
            yield from super().give_up(work, epoch)

    def visible(self) -> list[Row]:
        return list(self.file.rows) if self.file else []


class GrowingFileOutput(SingleFileOutput):
    """CSV and JSONL: one file an attempt; a retry copies what was decided of its predecessor's."""

    def seal(self, work: Work, checkpoint: Checkpoint, number: int, rows: list[Row], final: bool) -> Token:
        writer = self.writer(work.run)
        mine = [name for name in self.hidden if self._is_mine(name, writer, work)]
        if not mine:
            mine = [names.staged(writer, number, work.attempt.id, "grown")]
            self.hidden[mine[0]] = File(self._decided_so_far(work, checkpoint), work.now())
        file = self.hidden[mine[0]]
        file.rows.extend(rows)
        return self.token(work, mine[0], len(file.rows))

    @staticmethod
    def _is_mine(name: str, writer: str, work: Work) -> bool:
        parsed = names.parse(name)
        return (parsed.writer, parsed.attempt, parsed.kind) == (writer, work.attempt.id, "grown")

    def _decided_so_far(self, work: Work, checkpoint: Checkpoint) -> list[Row]:
        tokens = checkpoint.tokens(self.node)
        if not tokens:
            return []
        self.expect_folder(tokens[-1])
        return list(content(self.hidden, work, self.node, checkpoint.epochs[-1].decision.number, tokens[-1]))


class JoinedFileOutput(SingleFileOutput):
    """Parquet and Arrow: a part an epoch, joined when the final one is sealed."""

    def seal(self, work: Work, checkpoint: Checkpoint, number: int, rows: list[Row], final: bool) -> Token:
        writer = self.writer(work.run)
        name = names.staged(writer, number, work.attempt.id, "part")
        self.hidden[name] = File(list(rows), work.now())
        if not final:
            return self.token(work, name, len(rows))
        joined: list[Row] = []
        for epoch in checkpoint.epochs:
            token = epoch.decision.tokens[self.node]
            self.expect_folder(token)
            joined += content(self.hidden, work, self.node, epoch.decision.number, token)
        whole = names.staged(writer, number, work.attempt.id, "whole")
        self.hidden[whole] = File(joined + rows, work.now())
        return self.token(work, whole, len(joined) + len(rows))
