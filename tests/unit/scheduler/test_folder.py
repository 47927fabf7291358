"""A folder of DAGs is copied when its code has changed: code and nothing else, there whole or not at all."""

from __future__ import annotations

import logging
import os
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from orchestrator.errors import FustgoError, StoreError, UsageError
from orchestrator.scheduler.bundles import Interrupted, Tree
from orchestrator.scheduler.bundles.folder import Folder
from orchestrator.scheduler.bundles.frozen import digest
from orchestrator.store.artifacts import bundle_tree

CODE = {"a.py", "team/b.yaml", "q.sql", "c.json", "d.toml", "e.yml"}


@pytest.fixture
def dags(tmp_path: Path) -> Path:
    texts = {"a.py": "x = 1", "team/b.yaml": "id: b", "q.sql": "select 1", "c.json": "{}"}
    return write(tmp_path / "dags", {**texts, "d.toml": "", "e.yml": ""})


@pytest.fixture
def source(dags: Path, tmp_path: Path) -> Folder:
    return Folder("default", dags, tmp_path / "artifacts")


def write(folder: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    return folder


def copied(tree: Tree) -> set[str]:
    """The files of a tree; they are those that it says it has."""
    found = {str(path.relative_to(tree.root)) for path in tree.root.rglob("*") if path.is_file()}
    assert {file: digest((tree.root / file).read_bytes()) for file in found} == tree.digests
    return found


def look(source: Folder) -> Tree:
    tree = source.look()
    assert tree is not None
    return tree


def test_code_is_copied_and_nothing_else(source: Folder, dags: Path, tmp_path: Path) -> None:
    other = {"data.csv": "1", ".git/x.py": "", ".hidden.py": "", "__pycache__/a.py": "", "README.md": ""}
    write(dags, {**other, "venv/pyvenv.cfg": "", "venv/lib/y.py": ""})
    tree = look(source)
    assert copied(tree) == CODE
    assert tree.root == bundle_tree(tmp_path / "artifacts", tree.version)
    assert (tree.root / "a.py").read_text() == "x = 1"


def test_an_edit_is_seen_at_the_next_look_and_an_old_tree_stays_as_it_was(source: Folder, dags: Path) -> None:
    first = look(source)
    assert source.look() is None
    write(dags, {"a.py": "x = 2"})
    second = look(source)
    assert second.version != first.version
    assert [(tree.root / "a.py").read_text() for tree in (first, second)] == ["x = 1", "x = 2"]
    (dags / "a.py").rename(dags / "z.py")
    third = look(source)
    assert copied(third) == CODE - {"a.py"} | {"z.py"}
    assert third.version not in (first.version, second.version)


def test_the_same_content_is_the_same_version_and_no_second_copy(
    source: Folder, dags: Path, tmp_path: Path
) -> None:
    first = look(source)
    write(dags, {"data.csv": "1", "a.py": "x = 1"})
    os.utime(dags / "q.sql", ns=(1, 1))
    assert source.look() is None
    other = Folder("other", dags, tmp_path / "artifacts")
    assert look(other) == first
    write(dags, {"a.py": "x = 2"})
    look(source)
    write(dags, {"a.py": "x = 1"})
    assert look(source).version == first.version


def test_unchanged_files_are_links_to_the_last_copy_and_never_to_the_source(
    source: Folder, dags: Path
) -> None:
    first = look(source)
    write(dags, {"team/new.py": ""})
    (dags / "a.py").rename(dags / "moved.py")
    second = look(source)
    for before, after in {"q.sql": "q.sql", "a.py": "moved.py", "team/b.yaml": "team/b.yaml"}.items():
        assert (first.root / before).samefile(second.root / after)
        assert not (dags / after).samefile(second.root / after)
    assert (second.root / "q.sql").stat().st_mode & 0o777 == 0o444


def test_links_that_lead_to_one_another_hang_nothing_and_are_named(source: Folder, dags: Path) -> None:
    for one in range(12):
        (dags / f"d{one}").mkdir()
        for other in range(12):
            (dags / f"d{one}" / f"l{other}").symlink_to(dags / f"d{other}")
    with pytest.raises(FustgoError, match="lead into folders for the 1000th time") as caught:
        source.look()
    assert ".fustgoignore" in caught.value.hint
    write(dags, {".fustgoignore": "d*/"})
    assert copied(look(source)) == CODE


@pytest.fixture
def before_open() -> Iterator[list[Callable[[str], None]]]:
    """What is called with the path of each file that is opened, before it is."""
    calls: list[Callable[[str], None]] = []

    def hear(event: str, arguments: tuple[object, ...]) -> None:
        if event == "open":
            for call in calls:
                call(str(arguments[0]))

    sys.addaudithook(hear)  # there is no taking it back
    yield calls
    calls.clear()


def test_unchanged_files_are_not_read_again(
    source: Folder, dags: Path, before_open: list[Callable[[str], None]]
) -> None:
    look(source)
    write(dags, {"a.py": "x = 2"})
    opened: list[str] = []
    before_open.append(opened.append)
    look(source)
    code = {f"{dags}/a.py", f"{dags}/.fustgoignore"}
    assert {path for path in opened if path.startswith(f"{dags}/")} == code
    opened.clear()
    assert source.look() is None
    assert {path for path in opened if path.startswith(f"{dags}/")} == {f"{dags}/.fustgoignore"}


def test_a_file_that_changes_when_it_is_about_to_be_read_is_read_when_that_is_over(
    source: Folder, dags: Path, before_open: list[Callable[[str], None]]
) -> None:
    versions = ["x = 5", "x ="]

    def change(path: str) -> None:
        if path == f"{dags}/a.py" and versions:
            before_open.clear()  # else it would hear itself
            (dags / "a.py").write_text(versions.pop())
            before_open.append(change)

    before_open.append(change)
    tree = look(source)
    assert (tree.root / "a.py").read_text() == "x = 5"
    assert not versions
    assert source.look() is None


def test_a_file_whose_name_is_no_text_is_left_out_and_said(
    source: Folder, dags: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (dags / os.fsdecode(b"\xff.py")).touch()
    (dags / "new\nline.py").touch()
    (dags / "ünïcode\u00a0.py").touch()
    assert copied(look(source)) == {*CODE, "ünïcode\u00a0.py"}
    assert [record.message.partition(" has ")[2] for record in caplog.records] == [
        "a name that is no UTF-8 text: it is not loaded with the DAGs"
    ] * 2


def test_patterns_add_and_an_ignore_file_leaves_out(dags: Path, tmp_path: Path) -> None:
    write(dags, {"templates/mail.html": "", "templates/x.txt": "", "drafts/z.py": "", "team/test_b.py": ""})
    write(dags, {".fustgoignore": "# not these\n\n/drafts/\ntest_*.py\nteam/*.yaml\n"})
    source = Folder("default", dags, tmp_path / "artifacts", ["templates/*.html"])
    assert copied(look(source)) == CODE - {"team/b.yaml"} | {"templates/mail.html"}
    write(dags, {".fustgoignore": "team/\n"})
    assert copied(look(source)) == CODE - {"team/b.yaml"} | {"templates/mail.html", "drafts/z.py"}
    write(dags, {".fustgoignore": "*.py\n!/a.py\n"})
    assert copied(look(source)) == {"a.py", *(path for path in CODE if not path.endswith(".py"))} | {
        "templates/mail.html"
    }


def test_a_bad_ignore_file_or_a_folder_that_is_gone_is_an_error_until_it_is_mended(
    source: Folder, dags: Path
) -> None:
    look(source)
    write(dags, {".fustgoignore": "*.sql\n[b-a]\n", "new.py": ""})
    for _ in range(2):
        with pytest.raises(UsageError, match=r"\.fustgoignore:2: '\[b-a\]': no pattern of git's"):
            source.look()
    (dags / ".fustgoignore").unlink()
    assert copied(look(source)) == {*CODE, "new.py"}
    dags.rename(dags.with_name("away"))
    for _ in range(2):
        with pytest.raises(UsageError, match="there is no folder") as caught:
            source.look()
        assert "bundle.dags" in caught.value.hint
    dags.with_name("away").rename(dags)
    assert source.look() is None


def test_a_pattern_that_is_none_is_refused_with_its_place(source: Folder, dags: Path, tmp_path: Path) -> None:
    write(dags, {".fustgoignore": "a\n[z-a].py\n"})
    with pytest.raises(UsageError, match=r"\.fustgoignore:2: '\[z-a\]\.py': no pattern of git's"):
        source.look()
    with pytest.raises(UsageError, match=r"bundle\.include: "):
        Folder("default", dags, tmp_path, ["[z-a]"])


def test_a_folder_that_cannot_be_listed_is_an_error_since_its_files_are_not_gone(
    source: Folder, dags: Path
) -> None:
    """One with a path too long to be opened: not even root can."""
    look(source)
    folder = os.open(dags, os.O_RDONLY)
    for _ in range(20):
        os.mkdir("d" * 250, dir_fd=folder)
        inner = os.open("d" * 250, os.O_RDONLY, dir_fd=folder)
        os.close(folder)
        folder = inner
    os.close(folder)
    with pytest.raises(FustgoError, match="cannot be listed: File name too long") as caught:
        source.look()
    assert ".fustgoignore" in caught.value.hint
    write(dags, {".fustgoignore": "ddd*/"})
    assert source.look() is None


def test_a_file_over_a_mebibyte_is_left_out_and_said_once(
    source: Folder, dags: Path, caplog: pytest.LogCaptureFixture
) -> None:
    write(dags, {"large.json": "x" * ((1 << 20) + 1), "just.json": "x" * (1 << 20)})
    assert copied(look(source)) == CODE | {"just.json"}
    assert source.look() is None
    write(dags, {"a.py": ""})
    look(source)
    assert [record.message for record in caplog.records if "large.json" in record.message] == [
        f"{dags}/large.json is larger than 1 MiB: it is not loaded with the DAGs"
    ]


def test_links_are_followed_but_for_those_to_nowhere_and_to_a_folder_they_are_in(
    source: Folder, dags: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    write(tmp_path / "shared", {"s.py": "", "deeper/t.py": ""})
    (tmp_path / "shared" / "back").symlink_to(dags)
    (dags / "linked.py").symlink_to(dags / "a.py")
    (dags / "nowhere.py").symlink_to(dags / "gone.py")
    (dags / "itself.py").symlink_to("itself.py")
    (dags / "round").symlink_to(dags)
    (dags / "lib").symlink_to(tmp_path / "shared")
    tree = look(source)
    assert copied(tree) == CODE | {"linked.py", "lib/s.py", "lib/deeper/t.py"}
    assert not any(path.is_symlink() for path in tree.root.rglob("*"))
    assert "nowhere.py cannot be read" in caplog.text
    write(tmp_path / "shared", {"s.py": "x = 3"})
    assert "lib/s.py" in copied(look(source))


class Writer(threading.Thread):
    """Somebody who appends to a file again and again."""

    def __init__(self, file: Path) -> None:
        super().__init__()
        self._file, self._over = file, threading.Event()

    def run(self) -> None:
        with self._file.open("w") as file:
            while not self._over.wait(0.02):
                file.write("x = 1\n")
                file.flush()

    def ends(self) -> None:
        self._over.set()
        self.join()


@pytest.fixture
def writer(dags: Path) -> Iterator[Writer]:
    writer = Writer(dags / "slow.py")
    writer.start()
    yield writer
    writer.ends()


def test_a_file_that_is_being_written_settles_first(source: Folder, dags: Path, writer: Writer) -> None:
    timer = threading.Timer(0.3, writer.ends)
    timer.start()
    tree = look(source)
    timer.join()
    assert (tree.root / "slow.py").read_bytes() == (dags / "slow.py").read_bytes()
    assert source.look() is None


def test_a_file_that_never_settles_holds_nothing_up_and_is_told(
    source: Folder, dags: Path, writer: Writer, caplog: pytest.LogCaptureFixture
) -> None:
    assert copied(look(source)) == {*CODE, "slow.py"}
    tree = look(source)
    assert copied(tree) == {*CODE, "slow.py"}
    assert [record.message for record in caplog.records] == [
        f"{dags}/slow.py is written all the time, and the DAGs loaded each time: name it in .fustgoignore"
    ]
    writer.ends()
    tree = source.look() or tree
    assert (tree.root / "slow.py").read_bytes() == (dags / "slow.py").read_bytes()


def test_a_look_that_waits_is_ended_when_told_to_stop(dags: Path, tmp_path: Path) -> None:
    receiving, sending = os.pipe()
    source = Folder("default", dags, tmp_path / "artifacts", stop=receiving)
    os.write(sending, b"s")
    with pytest.raises(Interrupted):
        source.look()
    os.close(receiving)
    os.close(sending)


def test_a_tree_that_is_gone_is_made_anew(source: Folder, tmp_path: Path) -> None:
    first = look(source)
    first.root.rename(tmp_path / "away")
    assert look(source) == first
    assert copied(first) == CODE


def test_a_store_that_cannot_be_written_is_named_and_tried_again(dags: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    source = Folder("default", dags, tmp_path / "file")
    for _ in range(2):
        with pytest.raises(StoreError, match="cannot copy the DAGs"):
            source.look()
    (tmp_path / "file").unlink()
    assert copied(look(source)) == CODE


def test_the_pause_between_looks_grows_with_their_cost(dags: Path, tmp_path: Path) -> None:
    source = Folder("default", dags, tmp_path / "artifacts", poll=1e-9)
    assert source.interval == 1e-9
    look(source)
    assert 0.0001 < source.interval < 1
    assert Folder("default", dags, tmp_path / "artifacts").interval == 0.5


def test_a_file_that_cannot_be_read_is_an_error_that_says_which(source: Folder, dags: Path) -> None:
    """`/proc/self/mem` is a regular file that nobody can read from its start, not even root."""
    look(source)
    (dags / "mem.py").symlink_to("/proc/self/mem")
    with pytest.raises(FustgoError, match=r"mem\.py cannot be read: Input/output error"):
        source.look()
    (dags / "mem.py").unlink()
    assert source.look() is None


def test_nothing_is_logged_of_a_plain_folder(source: Folder, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    look(source)
    assert not caplog.records


def test_what_was_written_into_a_tree_gets_into_no_other(source: Folder, dags: Path) -> None:
    """Only root can, to whom no mode of a file means anything."""
    tree = look(source)
    spoiled = tree.root / "a.py"
    spoiled.chmod(0o644)
    spoiled.write_bytes(b"spoiled")
    write(dags, {"new.py": ""})
    tree = look(source)
    assert copied(tree) == {*CODE, "new.py"}
    assert (tree.root / "a.py").read_bytes() == (dags / "a.py").read_bytes()
    assert not (tree.root / "a.py").samefile(spoiled)
