"""A project folder with a small CSV, and a shell in it."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.commands import Shell


@pytest.fixture
def shell(tmp_path: Path, home: Path) -> Shell:
    folder = tmp_path / "project"
    (folder / "out").mkdir(parents=True)
    lines = "".join(f"{n},name {n},{n * 7 % 60}\n" for n in range(40))
    (folder / "people.csv").write_text("id,name,age\n" + lines)
    return Shell(folder, home)
