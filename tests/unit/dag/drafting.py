"""Short ways from a text to a checked DAG."""

from __future__ import annotations

import re
import textwrap
from pathlib import Path

from orchestrator.dag.discovery import LoadedDag, load_file
from orchestrator.dag.validation import Checked, check
from orchestrator.errors import Problem
from tests.unit.dag.sample_operators import REGISTRY

PYTHON_HEAD = """\
from orchestrator import DAG, Param, TaskGroup, chain
from tests.unit.dag.sample_operators import *
"""


def written(folder: Path, text: str, name: str = "dag.yaml") -> Path:
    """A file with the text; a Python one begins with the imports of `PYTHON_HEAD`."""
    file = folder / name
    head = PYTHON_HEAD if name.endswith(".py") else ""
    file.write_text(head + textwrap.dedent(text).lstrip("\n"), encoding="utf-8")
    return file


def load(folder: Path, text: str, name: str = "dag.yaml") -> LoadedDag:
    """The one DAG of a text, unchecked."""
    [loaded] = load_file(written(folder, text, name), registry=REGISTRY)
    return loaded


def checked(folder: Path, text: str, name: str = "dag.yaml") -> Checked:
    """What the validator says of a text."""
    loaded = load(folder, text, name)
    return check(loaded.dag, loaded.marks, REGISTRY)


def brief(problems: list[Problem]) -> list[str]:
    """Each problem as `line [what stands at its place] message`: columns that a reader can check."""
    return [f"{problem.line} [{_at(problem)}] {problem.message}" for problem in problems]


def _at(problem: Problem) -> str:
    lines = Path(problem.file).read_text(encoding="utf-8").splitlines()
    rest = lines[problem.line - 1][problem.column - 1 :]
    found = re.search(r"[\w.@/-]+", rest)
    return found[0] if found is not None else ""
