"""What can go wrong, split by who must act. Every error says what, where, and what to do.

`FustgoError` carries a message and a hint; the command line and the pages render the same two.
A `Problem` is one finding in a file; `Problems` carries all that were found at once.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from difflib import get_close_matches


class FustgoError(Exception):
    """Base of all errors that a user is meant to read.

    `hint` says what to do; it may be empty where the message already does.
    """

    exit_code = 1

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message}\n  hint: {self.hint}" if self.hint else self.message


class UsageError(FustgoError):
    """The command, its arguments or a setting is wrong: the person at the terminal must act."""

    exit_code = 2


class SettingsError(UsageError):
    """A settings file, variable or flag is wrong."""


class StoreError(FustgoError):
    """The metadata database or the artifact store cannot be used as asked."""

    exit_code = 2


class RefusedError(FustgoError):
    """A verb is refused in the present state; the message says why, the hint what is allowed."""

    exit_code = 2


class AttemptLost(FustgoError):
    """The attempt was taken away: a store write of it found nothing to update. It must stop."""


class OperatorError(FustgoError):
    """An operator failed; the engine adds the node, the batch and the row.

    `retry` is False where another try cannot help (the author must change something).
    """

    def __init__(self, message: str, *, hint: str = "", retry: bool = True) -> None:
        super().__init__(message, hint=hint)
        self.retry = retry


class RejectLimitPassed(OperatorError):
    """More rejects than `error_limit` allows."""

    exit_code = 3

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message, hint=hint, retry=False)


@dataclass(frozen=True, order=True)
class Problem:
    """One finding in a file. Lines and columns count from 1; 0 means unknown."""

    file: str
    line: int
    column: int
    message: str
    hint: str = ""
    value: str = ""

    def __str__(self) -> str:
        place = ":".join([self.file, *(str(number) for number in (self.line, self.column) if number)])
        text = f"{place}: {self.message}" if place else self.message
        if self.value:
            text += f" (found {self.value})"
        return f"{text}\n  hint: {self.hint}" if self.hint else text


class Problems(UsageError):
    """Everything that is wrong with a file, found at once."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = sorted(set(problems))
        super().__init__("\n".join(str(problem) for problem in self.problems))


def nearest(word: str, known: Iterable[str]) -> str:
    """A "did you mean" hint for a misspelt word, or the list of what is known (at most twelve)."""
    names = sorted(known)
    close = get_close_matches(word, names, n=1, cutoff=0.6)
    if close:
        return f"did you mean {close[0]!r}?"
    shown = ", ".join(names[:12]) + (", ..." if len(names) > 12 else "")
    return f"known: {shown}" if names else ""
