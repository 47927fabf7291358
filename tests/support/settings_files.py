"""Settings files that a test writes, and what is said of them."""

from __future__ import annotations

from pathlib import Path

import pytest

from orchestrator import settings
from orchestrator.errors import Problems

HOME = {"FUSTGO_HOME": "/srv/fustgo"}


def written(folder: Path, text: str, name: str = "fustgo.yaml") -> Path:
    """The file with this text."""
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


def problems_of(path: Path | None = None, **environ: str) -> list[str]:
    """What is wrong with it, and with these variables."""
    with pytest.raises(Problems) as caught:
        settings.load(path, environ=HOME | environ)
    return [str(problem) for problem in caught.value.problems]


def must_be_told(folder: Path, text: str, place: str, said: str) -> None:
    """One thing is wrong with a file of this text, at the place `line:column`."""
    path = written(folder, text)
    (problem,) = problems_of(path)
    assert problem.startswith(f"{path}:{place}: ")
    assert said in problem
