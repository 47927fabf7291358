"""The examples in `docs/dag-authoring.md` are what they say: files without a problem, and pass mypy."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from orchestrator.dag.discovery import load_one
from orchestrator.dag.validation import check
from orchestrator.sdk.registry import Registry

ROOT = Path(__file__).parents[3]
PAGE = ROOT / "docs" / "dag-authoring.md"
TEXT = PAGE.read_text(encoding="utf-8")
FILES = dict(re.findall(r"<!-- file: (\S+) -->\n```\w+\n(.*?)```", TEXT, re.DOTALL))
EXAMPLES = [name for name in FILES if name.endswith((".py", ".yaml")) and not name.startswith("plugins/")]


@pytest.fixture
def reader(tmp_path: Path) -> Path:
    """A folder in which somebody has written down every file of the page."""
    for name, text in FILES.items():
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return tmp_path


def test_every_python_and_yaml_block_is_a_file_of_the_reader() -> None:
    plugins = [name for name in FILES if name.startswith("plugins/")]
    assert len([*EXAMPLES, *plugins]) == len(re.findall(r"^```(?:python|yaml)$", TEXT, re.MULTILINE)) > 10
    assert {Path(name).suffix for name in EXAMPLES} == {".py", ".yaml"}


@pytest.mark.parametrize("name", EXAMPLES)
def test_an_example_has_no_problem(name: str, reader: Path) -> None:
    loaded = load_one(reader / name, registry=Registry())
    assert check(loaded.dag, loaded.marks, loaded.registry).problems == []


@pytest.mark.parametrize("name", EXAMPLES)
def test_an_example_is_run_by_a_command_of_the_page(name: str) -> None:
    assert f"$ fustgo run {name}" in TEXT


def test_the_examples_in_python_pass_the_strictest_type_check(reader: Path) -> None:
    options = ["--strict", "--follow-imports=silent", "--explicit-package-bases"]
    files = [str(path) for path in sorted(reader.rglob("*.py"))]
    environ = {**os.environ, "MYPYPATH": str(reader)}
    done = subprocess.run(
        [sys.executable, "-m", "mypy", *options, *files],
        cwd=ROOT,
        env=environ,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
