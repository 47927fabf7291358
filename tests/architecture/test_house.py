"""The floors of the house and the habits of its files (docs/design.md)."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.architecture.project import (
    PACKAGES,
    ROOT,
    files,
    imports,
    product_files,
    project,
    python_files,
    shown,
)

BANNED_NAMES = {"utils", "helpers", "common", "manager", "misc", "base"}
LONGEST_FILE = 400
LONGER_FOR_A_REASON = {
    "migrations/versions/0001_first.py": "the whole first schema, in the order of its keys",
    "tests/unit/engine/test_stage_runs.py": "one harness, one promise after the other",
    "tests/unit/operators/test_sqlite.py": "both ends of one system",
}
TOP_LEVEL = {
    *("orchestrator", "dags", "operators", "webui", "migrations", "tests", "deploy", "docs"),
    *("pyproject.toml", "requirements.lock", "dev.lock", "Makefile", ".ci", ".gitignore"),
    *("README.md", "CHANGELOG.md", "LICENSE", "NOTICE"),
}


def test_no_floor_imports_one_above_and_each_library_has_one_home() -> None:
    command = [str(Path(sys.executable).with_name("lint-imports")), "--no-cache"]
    linted = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert linted.returncode == 0, linted.stdout + linted.stderr


def test_every_room_of_the_orchestrator_stands_on_a_floor() -> None:
    (layers,) = [c["layers"] for c in project()["tool"]["importlinter"]["contracts"] if c["type"] == "layers"]
    placed = set(re.findall(r"[\w.]+", " ".join(layers)))
    rooms = {
        f"orchestrator.{path.relative_to(ROOT).parts[1].removesuffix('.py')}"
        for path in product_files()
        if path.is_relative_to(ROOT / "orchestrator") and not path.name.startswith("__")
    }
    assert rooms <= placed, f"not in the layers of pyproject.toml: {sorted(rooms - placed)}"


def test_no_module_is_named_after_nothing() -> None:
    named = [shown(path) for path in python_files() if {path.stem, *path.parent.parts} & BANNED_NAMES]
    assert not named, f"name them after what they hold: {named}"


def test_files_are_small_enough_to_be_read() -> None:
    lengths = {shown(path): len(path.read_bytes().splitlines()) for path in python_files()}
    long = {name: length for name, length in lengths.items() if length > LONGEST_FILE}
    assert long.keys() <= LONGER_FOR_A_REASON.keys(), (
        f"over {LONGEST_FILE} lines, is there another room? {long}"
    )
    assert long.keys() >= LONGER_FOR_A_REASON.keys(), "an exception that is no longer needed"


def test_the_top_level_holds_what_it_is_meant_to() -> None:
    assert {path.relative_to(ROOT).parts[0] for path in files()} <= TOP_LEVEL


def test_decisions_import_no_clock_thread_or_database() -> None:
    """Rules of `runs` are functions of state, event and now; so they can be explored by the million."""
    impure = {
        "asyncio",
        "multiprocessing",
        "os",
        "random",
        "socket",
        "sqlite3",
        "subprocess",
        "threading",
        "time",
    }
    found = [
        f"{shown(path, line)} imports {module}"
        for path in product_files()
        if path.is_relative_to(ROOT / "orchestrator" / "runs")
        for module, line in imports(path)
        if module.partition(".")[0] in impure or module == "orchestrator.clock"
    ]
    assert not found, found


def test_nothing_waits_in_sleep() -> None:
    """A sleeping thread neither stops when asked nor says what it waits for."""
    found = [
        shown(path, number)
        for path in python_files()
        if path.relative_to(ROOT).parts[0] in {*PACKAGES, "tests"} and path != Path(__file__)
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1)
        if re.search(r"\btime\.sleep\(", line)
    ]
    assert not found, found


@pytest.mark.parametrize("package", PACKAGES)
def test_packages_are_typed_for_who_uses_them(package: str) -> None:
    assert (ROOT / package / "py.typed").is_file()
