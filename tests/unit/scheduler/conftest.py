"""What tests of repositories begin with."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.repositories import ENVIRONMENT, Bare


@pytest.fixture
def bare(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Bare:
    """A repository with a folder of DAGs; git heeds no settings of the developer."""
    for name, text in ENVIRONMENT.items():
        monkeypatch.setenv(name, text)
    bare = Bare(tmp_path)
    bare.commit({"dags/a.py": "x = 1\n", "lib/b.py": "", "README.md": "read"})
    return bare


@pytest.fixture
def artifacts(tmp_path: Path) -> Path:
    return tmp_path / "artifacts"
