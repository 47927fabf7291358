"""Parts: files that hold an epoch before it is published, under names that say whose they are.

A part's name holds writer, epoch and attempt, and is read back whole: removal compares each of the
three exactly and never goes by a beginning of the name (rules 1.6, 3.3). The hidden folder beside a
target carries a random id, which every token repeats (rule 4.4).
"""

from __future__ import annotations

import os
import re
import secrets
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from orchestrator.engine.durable import make_folder, sync_folder
from orchestrator.errors import OperatorError
from orchestrator.runs.checkpoint import Token

HIDDEN = ".fustgo"
_NAME = re.compile(r"(?P<writer>.+)@(?P<epoch>\d+)@(?P<attempt>\d+)(?P<suffix>\.[a-z0-9.]+)?")
_DRAFTS = "id." + "[0-9a-f]" * 16  # of an id, as a pattern of files


@dataclass(frozen=True)
class PartName:
    """Whose part a file is. `suffix` starts with a dot or is empty."""

    writer: str
    epoch: int
    attempt: int
    suffix: str = ""

    def __str__(self) -> str:
        return f"{self.writer}@{self.epoch:06d}@{self.attempt}{self.suffix}"

    @classmethod
    def parse(cls, name: str) -> PartName | None:
        """The name read back, or None where it is not a part's."""
        match = _NAME.fullmatch(name)
        if match is None:
            return None
        return cls(match["writer"], int(match["epoch"]), int(match["attempt"]), match["suffix"] or "")


def file_writer(node: str, run_uid: str, map_index: int) -> str:
    """A writer as it stands in file names; node ids hold no `~`, so the change of `/` cannot collide."""
    copy = f".{map_index}" if map_index >= 0 else ""
    return f"{node.replace('/', '~')}-{run_uid}{copy}"


class PartFolder:
    """A folder of parts: the hidden one beside a target, or one of the run's in the artifact store."""

    def __init__(self, path: Path, host: str) -> None:
        self.path, self.host = path, host
        self.id = ""

    def prepare(self) -> None:
        """Create the folder and its id where they are absent; safe beside another that does the same."""
        make_folder(self.path)
        identity = self.path / "id"
        if not identity.exists():
            draft = self.path / f"id.{secrets.token_hex(8)}"
            try:
                draft.write_text(secrets.token_hex(16), encoding="ascii")
                with draft.open("rb") as file:
                    os.fsync(file.fileno())
                os.link(draft, identity)
            except (FileExistsError, FileNotFoundError):  # another was faster, and may have tidied up already
                pass
            finally:
                draft.unlink(missing_ok=True)
            sync_folder(self.path)
        self.id = identity.read_text(encoding="ascii").strip()

    def parts(self) -> Iterator[tuple[Path, PartName]]:
        """Every part in the folder, with its name read."""
        with os.scandir(self.path) as entries:
            for entry in entries:
                name = PartName.parse(entry.name)
                if name is not None:
                    yield Path(entry.path), name

    def remove_up_to_epoch(self, writer: str, epoch: int) -> None:
        """Remove this writer's parts of epochs up to one (restore step 3)."""
        self._remove(path for path, name in self.parts() if name.writer == writer and name.epoch <= epoch)

    def remove_up_to_attempt(self, writer: str, attempt: int) -> None:
        """Remove this writer's parts of attempts up to one (rule 2.7); a clear's have a higher one.

        Drafts of the id go too: it is there, and whoever left one was killed, or comes too late with it.
        """
        self._remove(path for path, name in self.parts() if name.writer == writer and name.attempt <= attempt)
        self._remove(self.path.glob(_DRAFTS))

    def remove(self, token: Token) -> None:
        """Remove one part by the name in its token; gone already is done."""
        (self.path / token.name).unlink(missing_ok=True)

    def find(self, token: Token) -> Path | None:
        """The part of a token; None where its source is gone, which means published.

        Raises `OperatorError` where this is not the folder that it was sealed in, or it is too short.
        """
        if token.folder != self.id:
            raise OperatorError(
                f"part {token.name} was sealed on host {token.host} in another {HIDDEN}, not visible here",
                hint=f"run on a host that sees the same {self.path}, or restore that folder",
                retry=False,
            )
        path = self.path / token.name
        try:
            length = path.stat().st_size
        except FileNotFoundError:
            return None
        if length < token.length:
            raise OperatorError(
                f"part {path} has {length} bytes, {token.length} were decided on host {token.host}",
                hint="the file was cut after it was sealed: restore it, or give the epoch up with --abandon",
                retry=False,
            )
        return path

    def need(self, token: Token) -> Path:
        """The part of a token whose content is needed; `OperatorError` where it is gone."""
        path = self.find(token)
        if path is None:
            raise OperatorError(
                f"part {self.path / token.name}, sealed on host {token.host}, is missing",
                hint="restore the file, or start over with --clear",
                retry=False,
            )
        return path

    def _remove(self, paths: Iterator[Path]) -> None:
        for path in list(paths):
            path.unlink(missing_ok=True)
