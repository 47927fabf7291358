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
from orchestrator.store import HEAD, filesystems, migrate, sqlite
from orchestrator.store.database import open_database
from orchestrator.store.dialects import has_wal_reset_defect, sqlite_library
from orchestrator.store.sqlite import SqliteDatabase
from tests.support.store import Command, ManualClock, gone_process, open_store

OPEN_AT_ONCE = """
import sys
from orchestrator.clock import SystemClock
from orchestrator.store import pools
from orchestrator.store.database import open_database
sys.stdin.readline()
store = open_database(sys.argv[1], clock=SystemClock())
with store.transaction() as connection:
    pools.set_pool(connection, sys.argv[2], 1)
assert "alembic" not in sys.modules
"""


def test_a_fresh_store_is_durable_and_readable_by_its_owner_only(sqlite: SqliteDatabase) -> None:
    assert sqlite.pragma("journal_mode") == "wal"
    assert sqlite.pragma("synchronous") == 2  # FULL
    assert sqlite.pragma("foreign_keys") == 1
    home = sqlite.path.parent
    assert stat.S_IMODE(home.stat().st_mode) == 0o700
    with sqlite.transaction() as connection:
        connection.execute(text("UPDATE pools SET slots = 1"))
        for file in home.iterdir():
            assert stat.S_IMODE(file.stat().st_mode) == 0o600, file


def test_the_library_has_no_wal_reset_defect(sqlite: SqliteDatabase) -> None:
    assert not sqlite.has_defect


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
    monkeypatch.setattr(sqlite, "has_wal_reset_defect", lambda _: True)
    with caplog.at_level(logging.WARNING):
        store = open_store(tmp_path)
    assert store.pragma("journal_mode") == "delete"
    assert "rollback journal" in caplog.text
    store.close()
    monkeypatch.undo()
    store = open_store(tmp_path)
    assert store.pragma("journal_mode") == "wal"
    store.close()


def test_many_first_commands_at_once_on_an_empty_home_all_work(empty_url: str) -> None:
    command = [sys.executable, "-c", OPEN_AT_ONCE, empty_url]
    many = [subprocess.Popen([*command, f"pool{n}"], stdin=subprocess.PIPE) for n in range(4)]
    for process in many:
        assert process.stdin is not None
        process.stdin.write(b"go\n")
        process.stdin.close()
    assert [process.wait(60) for process in many] == [0] * 4
    store = open_database(empty_url, clock=ManualClock())
    with store.read() as connection:
        pools = connection.execute(text("SELECT name FROM pools ORDER BY name")).scalars().all()
    assert pools == ["default", "pool0", "pool1", "pool2", "pool3"]
    store.close()


def test_a_store_that_is_not_there_is_not_made_by_a_command_that_only_reads(
    empty_url: str, tmp_path: Path
) -> None:
    for _ in range(2):
        with pytest.raises(StoreError, match="there is no store"):
            open_database(empty_url, clock=ManualClock(), create=False)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("url", ["sqlite:///relative.db", "sqlite://", "mysql://host/db", "/plain/path"])
def test_another_kind_of_url_is_refused(url: str) -> None:
    with pytest.raises(UsageError, match=r"is not a SQLite file|names no database"):
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


def test_a_store_of_a_newer_version_is_refused(url: str) -> None:
    set_revision(url, "9999")
    with pytest.raises(StoreError, match="made by a newer version") as caught:
        open_database(url, clock=ManualClock())
    assert caught.value.exit_code == 2


def test_an_older_store_without_a_live_process_is_migrated_in_place(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    older(url, monkeypatch)
    migrated = []
    monkeypatch.setattr(migrate, "upgrade", lambda connection: migrated.append(connection))
    open_database(url, clock=ManualClock()).close()
    assert len(migrated) == 1


def test_an_older_store_in_use_by_a_live_process_is_not_migrated_under_its_feet(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = open_database(url, clock=ManualClock())
    Command(store, ManualClock(), *gone_process())
    Command(store, ManualClock())
    store.close()
    older(url, monkeypatch)
    with pytest.raises(StoreError, match=f"in use by process {os.getpid()}") as caught:
        open_database(url, clock=ManualClock())
    assert "fustgo db upgrade" in caught.value.hint


def older(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Make the store one of an older revision that this program knows."""
    set_revision(url, "0000")
    monkeypatch.setattr(migrate, "REVISIONS", ("0000", HEAD))


def set_revision(url: str, revision: str) -> None:
    store = open_database(url, clock=ManualClock())
    with store.transaction() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = :is"), {"is": revision})
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
