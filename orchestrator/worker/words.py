"""What an attempt says of its end, fit to be kept and shown: without secrets, of bounded size."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from orchestrator.kept import fitting
from orchestrator.runs.report import Report
from orchestrator.sdk.secrets import Secrets

LAST_WORDS = 5  # lines that a death is told with
_FATAL = "Fatal Python error"
_FAULTING = "Current thread"
_FRAME = "  File "
_HOUSE = Path(__file__).parents[2]
_NOT_AUTHORS = (
    f"{_HOUSE}/orchestrator/",
    f"{_HOUSE}/operators/",
    f"{Path(os.__file__).parent}/",
    "/site-packages/",
    '"<',
)


def fit(report: Report, secrets: Secrets) -> Report:
    """The report as it may leave its process. Results and effects are the author's, and stay as they are."""
    message, hint = (_fit(text, secrets) for text in (report.message, report.hint))
    if message is report.message and hint is report.hint:
        return report
    return replace(report, message=message, hint=hint)


def last_words(lines: Sequence[str]) -> list[str]:
    """Of the last lines of a log those that may tell why its process died.

    Where native code crashed these are the error, and the author's frames of the thread that did it.
    """
    crashes = [number for number, line in enumerate(lines) if line.startswith(_FATAL)]
    if not crashes:
        return list(lines[-LAST_WORDS:])
    said = lines[crashes[-1] :]
    start = next((number for number, line in enumerate(said) if line.startswith(_FAULTING)), len(said))
    frames: list[str] = []
    for line in said[start + 1 :]:
        if not line.startswith(_FRAME):
            break
        frames.append(line.strip())
    authors = [frame for frame in frames if not any(part in frame for part in _NOT_AUTHORS)]
    return [said[0], *(authors or frames)[:LAST_WORDS]]


def _fit(text: str, secrets: Secrets) -> str:
    return fitting(secrets.masked(text))
