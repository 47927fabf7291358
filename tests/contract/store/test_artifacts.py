"""The folders of runs: named by uid, emptied by exact names."""

from __future__ import annotations

from pathlib import Path

import pytest

from orchestrator.errors import StoreError
from orchestrator.store import artifacts
from orchestrator.store.identity import uuid7
from tests.support.store import START


def folder_with(root: Path, uid: str, *names: str) -> Path:
    folder = artifacts.run_folder(root, uid, create=True)
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(name)
    return folder


def test_files_are_listed_and_removed_by_exact_names_only(tmp_path: Path) -> None:
    uid = uuid7(START)
    folder = folder_with(tmp_path, uid, "spool/1.part", "spool/11.part", "rejects.jsonl")
    artifacts.remove_files(tmp_path, uid, ["spool/1.part", "spool/gone.part"])
    assert artifacts.list_files(tmp_path, uid) == ["rejects.jsonl", "spool/11.part"]
    artifacts.remove_files(tmp_path, uid, ["spool/11.part"])
    assert not (folder / "spool").exists()


@pytest.mark.parametrize("name", ["../x", "/etc/passwd", "a/../../x", "."])
def test_a_name_that_leads_out_of_the_runs_folder_is_refused(tmp_path: Path, name: str) -> None:
    uid = uuid7(START)
    folder_with(tmp_path, uid, "kept")
    with pytest.raises(ValueError, match="is not a file of run"):
        artifacts.remove_files(tmp_path, uid, [name])
    assert artifacts.list_files(tmp_path, uid) == ["kept"]


@pytest.mark.parametrize("uid", ["", "..", "1", "x" * 36])
def test_only_a_uid_names_a_folder(tmp_path: Path, uid: str) -> None:
    with pytest.raises(ValueError, match="is not the uid of a run"):
        artifacts.run_folder(tmp_path, uid)


def test_removing_one_run_spares_every_other(tmp_path: Path) -> None:
    one, other = uuid7(START), uuid7(START)
    folder_with(tmp_path, one, "a/b/c")
    folder_with(tmp_path, other, "kept")
    artifacts.remove_run(tmp_path, one)
    artifacts.remove_run(tmp_path, one)
    assert artifacts.list_files(tmp_path, one) == []
    assert [path.name for path in (tmp_path / "runs").iterdir()] == [other]


def test_a_removal_that_was_stopped_half_way_is_finished_by_the_next(tmp_path: Path) -> None:
    uid = uuid7(START)
    leaving = folder_with(tmp_path, uid, "a").rename(tmp_path / "runs" / f".{uid}.leaving")
    artifacts.remove_run(tmp_path, uid)
    assert not leaving.exists()


def test_a_folder_that_cannot_be_made_is_named_with_the_reason(tmp_path: Path) -> None:
    (tmp_path / "runs").write_text("a file")
    with pytest.raises(StoreError, match="cannot create"):
        artifacts.run_folder(tmp_path, uuid7(START), create=True)


def test_uids_sort_by_the_time_at_which_they_were_given() -> None:
    from datetime import timedelta

    uids = [uuid7(START + timedelta(milliseconds=n)) for n in range(50)]
    assert uids == sorted(uids)
    assert len(set(uids)) == 50
    assert {uid[14] for uid in uids} == {"7"}
    assert {uid[19] for uid in uids} <= set("89ab")
