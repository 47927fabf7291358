"""Every service proves that it sees the one artifact store (rule 12)."""

from __future__ import annotations

from pathlib import Path

import pytest

from orchestrator.errors import SettingsError
from orchestrator.store.database import Database
from orchestrator.store.shared_folder import prove_shared


def test_who_sees_the_folder_of_the_first_service_may_begin(database: Database, tmp_path: Path) -> None:
    prove_shared(database, tmp_path / "shared")
    (tmp_path / "mounted").symlink_to(tmp_path / "shared")
    prove_shared(database, tmp_path / "mounted")


def test_who_sees_another_folder_is_refused_with_the_setting(database: Database, tmp_path: Path) -> None:
    prove_shared(database, tmp_path / "shared")
    with pytest.raises(SettingsError, match=r"artifacts\.path: .*own has no token") as caught:
        prove_shared(database, tmp_path / "own")
    assert "that the other services use" in caught.value.hint


def test_the_folder_of_another_database_is_refused(database: Database, tmp_path: Path) -> None:
    prove_shared(database, tmp_path / "shared")
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / ".fustgo-artifacts").write_text("another")
    with pytest.raises(SettingsError, match="of another database"):
        prove_shared(database, tmp_path / "other")


def test_a_folder_that_cannot_be_used_is_named(database: Database, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(SettingsError, match=r"artifacts\.path: .*file cannot be used"):
        prove_shared(database, tmp_path / "file")
