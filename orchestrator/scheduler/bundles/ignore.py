"""Patterns of files as `.gitignore` has them (gitignore(5)), but for `!`: nothing is taken back.

A pattern with a slash before its end counts from the top, one without in any folder; one that ends in a slash
names folders only. `*`, `?` and `[...]` stay within a name, `**` does not.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from functools import lru_cache
from pathlib import Path

from orchestrator.errors import UsageError

FILE = ".fustgoignore"
_TOKEN = re.compile(
    r"(?P<folders>\*\*/)|(?P<all>\*\*)|(?P<part>\*)|(?P<one>\?)"
    r"|\[(?P<no>[!^]?)(?P<range>\]?[^\]]*)\]|\\(?P<escaped>.)|(?P<letter>.)",
    re.DOTALL,
)


class Patterns:
    """Some patterns; paths are relative, with slashes. Raises ValueError for one that is none."""

    def __init__(self, patterns: Iterable[str] = ()) -> None:
        given = list(patterns)
        self._folder = _any_of(given)
        self._file = _any_of(pattern for pattern in given if not pattern.endswith("/"))

    def names_file(self, path: str) -> bool:
        """Whether one of them is the name of this file."""
        return self._file is not None and self._file.fullmatch(path) is not None

    def names_folder(self, path: str) -> bool:
        """Whether one of them is the name of this folder."""
        return self._folder is not None and self._folder.fullmatch(path) is not None


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
    patterns = []
    for number, line in enumerate(text.splitlines(), start=1):
        pattern = line.strip()
        if pattern.startswith("!"):
            raise UsageError(
                f"{file}:{number}: {pattern!r} takes nothing back",
                hint="write patterns of what is left out only",
            )
        if pattern and not pattern.startswith("#"):
            try:
                Patterns([pattern])
            except ValueError as error:
                raise UsageError(f"{file}:{number}: {error}", hint="write it as in .gitignore") from error
            patterns.append(pattern)
    return Patterns(patterns)


def _any_of(patterns: Iterable[str]) -> re.Pattern[str] | None:
    expressions = [_expression(pattern) for pattern in patterns]
    return re.compile("|".join(f"(?:{one})" for one in expressions), re.DOTALL) if expressions else None


def _expression(pattern: str) -> str:
    """The regular expression that a pattern means."""
    whole = pattern.rstrip("/")
    expression = "".join(_translated(token) for token in _TOKEN.finditer(whole.lstrip("/")))
    try:
        re.compile(expression)
    except re.error as error:
        raise ValueError(f"{pattern!r} is no pattern: {error}") from error
    return expression if "/" in whole else f"(?:.*/)?{expression}"


def _translated(token: re.Match[str]) -> str:
    match token.lastgroup:
        case "folders":
            return "(?:.*/)?"
        case "all":
            return ".*"
        case "part":
            return "[^/]*"
        case "one":
            return "[^/]"
        case "range":
            inside = token["range"].replace("\\", r"\\").replace("[", r"\[").replace("]", r"\]")
            return f"(?!/)[{'^' if token['no'] else ''}{inside}]"
    return re.escape(token["escaped"] or token["letter"])
