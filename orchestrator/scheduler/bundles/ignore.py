"""Patterns of files as `.gitignore` has them (gitignore(5)), also with `!`."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from functools import lru_cache
from pathlib import Path

from pathspec import GitIgnoreSpec

from orchestrator.errors import UsageError

FILE = ".fustgoignore"


class Patterns:
    """Some patterns; paths are relative, with slashes. Raises ValueError for one that is none."""

    def __init__(self, patterns: Iterable[str] = ()) -> None:
        try:
            self._spec = GitIgnoreSpec.from_lines(patterns)
        except re.error as error:
            raise ValueError(f"no pattern of git's: {error.msg}") from error

    def names_file(self, path: str) -> bool:
        """Whether they name this file, or a folder that it is in."""
        return bool(self._spec) and self._spec.match_file(path)  # asked of every file at each look

    def names_folder(self, path: str) -> bool:
        """Whether they name this folder, or one that it is in."""
        return self._spec.match_file(f"{path}/")


def included(patterns: Sequence[str]) -> Patterns:
    """The patterns of `bundle.include`. Raises UsageError."""
    try:
        return Patterns(patterns)
    except ValueError as error:
        raise UsageError(f"bundle.include: {error}", hint="write it as in .gitignore") from error


def read_ignored(folder: Path) -> Patterns:
    """What the `.fustgoignore` of a folder leaves out; nothing where there is none.

    Raises UsageError with the line of a pattern that cannot be meant.
    """
    file = folder / FILE
    try:
        text = file.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        return Patterns()
    except UnicodeDecodeError as error:
        raise UsageError(f"{file} is not UTF-8: {error}", hint="save it as UTF-8") from error
    except OSError as error:
        raise UsageError(f"{file} cannot be read: {error.strerror}", hint="make it readable") from error
    return _parsed(text, str(file))


@lru_cache(maxsize=16)
def _parsed(text: str, file: str) -> Patterns:
    lines = text.splitlines()
    for number, line in enumerate(lines, start=1):
        try:
            Patterns([line])
        except ValueError as error:
            raise UsageError(
                f"{file}:{number}: {line!r}: {error}", hint="write it as in .gitignore"
            ) from error
    return Patterns(lines)
