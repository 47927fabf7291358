"""Opening a store: created whole or not at all, by one of many at once, and never where it could be lost."""

from __future__ import annotations

import logging
import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from sqlalchemy import text

from orchestrator.errors import StoreError, UsageError
from orchestrator.store import HEAD, database, filesystems, migrate
from orchestrator.store.database import Database, open_database
from orchestrator.store.dialects import has_wal_reset_defect, sqlite_library
from tests.support.store import Command, ManualClock, gone_process, open_store, url_of

OPEN_AT_ONCE = """
import sys
from orchestrator.clock import SystemClock
from orchestrator.store.database import open_database
sys.stdin.readline()
store = open_database(sys.argv[1], clock=SystemClock())
with store.transaction() as connection:
    connection.exec_driver_sql("INSERT INTO pools VALUES (?, 1, '')", (sys.argv[2],))
assert "alembic" not in sys.modules
"""


def test_a_fresh_store_is_durable_and_readable_by_its_owner_only(database: Database) -> None:
    assert database.pragma("journal_mode") == "wal"
    assert database.pragma("synchronous") == 2  # FULL
    assert database.pragma("foreign_keys") == 1
    home = database.path.parent
    assert stat.S_IMODE(home.stat().st_mode) == 0o700
    with database.transaction() as connection:
        connection.execute(text("UPDATE pools SET slots = 1"))
        for file in home.iterdir():
            assert stat.S_IMODE(file.stat().st_mode) == 0o600, file


def test_the_library_has_no_wal_reset_defect(database: Database) -> None:
    assert not database.has_defect


@pytest.mark.parametrize(
    ("version", "defect"),
    [
        ((3, 6, 23), False),
        ((3, 40, 1), True),
        ((3, 44, 5), True),
        ((3, 44, 6), False),
        ((3, 45, 0), True),
        ((3, 50, 6), True),
        ((3, 50, 7), False),
        ((3, 51, 0), True),
        ((3, 51, 2), True),
        ((3, 51, 3), False),
        ((3, 53, 0), False),
    ],
)
def test_versions_with_the_defect_are_known(version: tuple[int, ...], defect: bool) -> None:
    assert has_wal_reset_defect(version) == defect


def test_a_library_with_the_defect_gets_the_rollback_journal_and_a_warning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    open_store(tmp_path).close()
    monkeypatch.setattr(database, "has_wal_reset_defect", lambda _: True)
    with caplog.at_level(logging.WARNING):
        store = open_store(tmp_path)
    assert store.pragma("journal_mode") == "delete"
    assert "rollback journal" in caplog.text
    store.close()
    monkeypatch.undo()
    store = open_store(tmp_path)
    assert store.pragma("journal_mode") == "wal"
    store.close()


def test_many_first_commands_at_once_on_an_empty_home_all_work(tmp_path: Path) -> None:
    command = [sys.executable, "-c", OPEN_AT_ONCE, url_of(tmp_path)]
    many = [subprocess.Popen([*command, f"pool{n}"], stdin=subprocess.PIPE) for n in range(4)]
    for process in many:
        assert process.stdin is not None
        process.stdin.write(b"go\n")
        process.stdin.close()
    assert [process.wait(60) for process in many] == [0] * 4
    store = open_store(tmp_path)
    with store.read() as connection:
        pools = connection.execute(text("SELECT name FROM pools ORDER BY name")).scalars().all()
    assert pools == ["default", "pool0", "pool1", "pool2", "pool3"]
    store.close()


def test_a_store_that_is_not_there_is_not_made_by_a_command_that_only_reads(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="there is no store at"):
        open_database(url_of(tmp_path), clock=ManualClock(), create=False)
    assert not (tmp_path / "home").exists()


@pytest.mark.parametrize("url", ["sqlite:///relative.db", "sqlite://", "postgresql://host/db", "/plain/path"])
def test_another_kind_of_url_is_refused(url: str) -> None:
    with pytest.raises(UsageError, match="is not a SQLite file"):
        open_database(url, clock=ManualClock())


def test_a_home_that_cannot_be_made_is_named_with_the_reason(tmp_path: Path) -> None:
    (tmp_path / "home").write_text("a file where the folder should be")
    with pytest.raises(StoreError, match=r"cannot open the store .*: File exists") as caught:
        open_store(tmp_path)
    assert "FUSTGO_HOME" in caught.value.hint


def test_a_file_that_is_no_database_is_left_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "home" / "fustgo.db"
    path.parent.mkdir()
    path.write_bytes(b"rows, but not of a database\n" * 100)
    before = path.read_bytes()
    with pytest.raises(StoreError, match="not a database"):
        open_store(tmp_path)
    assert path.read_bytes() == before


def test_somebody_elses_database_is_not_filled_with_our_tables(tmp_path: Path) -> None:
    path = tmp_path / "home" / "fustgo.db"
    path.parent.mkdir()
    library = sqlite_library()
    other = library.connect(str(path))
    other.execute("CREATE TABLE theirs (x)")
    other.close()
    with pytest.raises(StoreError, match=r"holds other tables \(theirs\)"):
        open_store(tmp_path)


def test_a_store_of_a_newer_version_is_refused(tmp_path: Path) -> None:
    set_revision(tmp_path, "9999")
    with pytest.raises(StoreError, match="made by a newer version") as caught:
        open_store(tmp_path)
    assert caught.value.exit_code == 2


def test_an_older_store_without_a_live_process_is_migrated_in_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    older(tmp_path, monkeypatch)
    migrated = []
    monkeypatch.setattr(migrate, "upgrade", lambda connection: migrated.append(connection))
    store = open_store(tmp_path)
    assert len(migrated) == 1
    store.close()


def test_an_older_store_in_use_by_a_live_process_is_not_migrated_under_its_feet(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = open_store(tmp_path)
    Command(store, ManualClock(), *gone_process())
    Command(store, ManualClock())
    store.close()
    older(tmp_path, monkeypatch)
    with pytest.raises(StoreError, match=f"in use by process {os.getpid()}") as caught:
        open_store(tmp_path)
    assert "fustgo db upgrade" in caught.value.hint


def older(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Make the store one of an older revision that this program knows."""
    set_revision(folder, "0000")
    monkeypatch.setattr(migrate, "REVISIONS", ("0000", HEAD))


def set_revision(folder: Path, revision: str) -> None:
    store = open_store(folder)
    with store.transaction() as connection:
        connection.exec_driver_sql("UPDATE alembic_version SET version_num = ?", (revision,))
    store.close()


MOUNTS = """\
22 1 254:0 / / rw,relatime shared:1 - ext4 /dev/vda rw
30 22 0:40 / /mnt/share rw,relatime shared:2 - nfs4 server:/export rw
31 22 0:41 / /mnt/with\\040space rw - cifs //server/share rw
32 30 254:1 / /mnt/share/local rw - xfs /dev/vdb rw
33 22 0:42 / /mnt/ssh rw - fuse.sshfs me@host:/ rw
34 22 0:43 / /over rw - ext4 /dev/vdc rw
35 22 0:44 / /over rw - nfs server:/x rw
36 22 0:45 / /podman rw - fuse.fuse-overlayfs fuse-overlayfs rw
"""


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/home/me", "ext4"),
        ("/mnt/share/home", "nfs4"),
        ("/mnt/shared", "ext4"),
        ("/mnt/with space/home", "cifs"),
        ("/mnt/share/local/home", "xfs"),
        ("/mnt/ssh", "fuse.sshfs"),
        ("/over/home", "nfs"),
        ("/podman", "fuse.fuse-overlayfs"),
    ],
)
def test_the_store_is_refused_on_a_network_and_nowhere_else(path: str, kind: str) -> None:
    assert filesystems.type_of(Path(path), MOUNTS) == kind
    if kind in ("ext4", "xfs", "fuse.fuse-overlayfs"):
        filesystems.refuse_network(Path(path), MOUNTS)
    else:
        with pytest.raises(StoreError, match=f"network file system \\({kind}\\)"):
            filesystems.refuse_network(Path(path), MOUNTS)


def test_this_machines_mounts_are_read() -> None:
    assert filesystems.type_of(Path("/proc/self")) == "proc"
