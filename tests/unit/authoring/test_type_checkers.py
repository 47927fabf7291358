"""What authors write passes the strictest type checks, and what is wrong fails them."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TypeAlias

import pytest

PIPELINES = Path(__file__).parent / "pipelines"
ROOT = Path(__file__).parents[3]
WRONG = """
from __future__ import annotations

from operators import CsvInput, Filter
from orchestrator import DAG

with DAG("wrong", schedul="@daily"):
    people = CsvInput("people", pth="x.csv")
    people >> Filter("adults", condition=18)
    people >> 5
"""


Checker: TypeAlias = Callable[..., subprocess.CompletedProcess[str]]


def mypy(*files: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "mypy", "--strict", "--follow-imports=silent", *map(str, files)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


def pyright(*files: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "pyright", "--pythonpath", sys.executable, *map(str, files)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("checker", [mypy, pyright])
def test_the_pipelines_pass(checker: Checker) -> None:
    done = checker(*sorted(PIPELINES.glob("*.py")))
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("checker", [mypy, pyright])
def test_a_misspelt_argument_a_wrong_type_and_a_wrong_end_are_found(checker: Checker, tmp_path: Path) -> None:
    file = tmp_path / "wrong.py"
    file.write_text(WRONG)
    done = checker(file)
    assert done.returncode == 1, done.stdout + done.stderr
    for line in (7, 8, 9, 10):
        assert f"wrong.py:{line}:" in done.stdout, done.stdout
