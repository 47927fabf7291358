"""The frozen copy: code and nothing else, called by its contents, there whole or not at all."""

from __future__ import annotations

from pathlib import Path

import pytest

from orchestrator.errors import StoreError, UsageError
from orchestrator.scheduler.bundle import Bundle, freeze
from orchestrator.store.artifacts import bundle_tree

CODE = {"a.py", "team/b.yaml", "q.sql", "c.json", "d.toml", "e.yml"}


@pytest.fixture
def dags(tmp_path: Path) -> Path:
    return write(
        tmp_path / "dags",
        {
            "a.py": "x = 1",
            "team/b.yaml": "id: b",
            "q.sql": "select 1",
            "c.json": "{}",
            "d.toml": "",
            "e.yml": "",
        },
    )


def write(folder: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    return folder


def copied(bundle: Bundle) -> set[str]:
    return {str(path.relative_to(bundle.tree)) for path in bundle.tree.rglob("*") if path.is_file()}


def test_code_is_copied_and_nothing_else(dags: Path, tmp_path: Path) -> None:
    other = {"data.csv": "1", ".git/x.py": "", ".hidden.py": "", "__pycache__/a.py": "", "README.md": ""}
    write(dags, {**other, "venv/pyvenv.cfg": "", "venv/lib/y.py": ""})
    bundle = freeze(dags, tmp_path / "artifacts")
    assert copied(bundle) == CODE
    assert bundle.tree == bundle_tree(tmp_path / "artifacts", bundle.version)
    assert (bundle.tree / "a.py").read_text() == "x = 1"


def test_patterns_add_and_an_ignore_file_leaves_out(dags: Path, tmp_path: Path) -> None:
    write(dags, {"templates/mail.html": "", "templates/x.txt": "", "drafts/z.py": "", "team/test_b.py": ""})
    write(dags, {".fustgoignore": "# not these\n\n/drafts/\ntest_*.py\nteam/*.yaml\n"})
    bundle = freeze(dags, tmp_path / "artifacts", ["templates/*.html"])
    assert copied(bundle) == CODE - {"team/b.yaml"} | {"templates/mail.html"}


def test_an_ignore_file_that_would_take_something_back_is_refused_with_its_line(
    dags: Path, tmp_path: Path
) -> None:
    write(dags, {".fustgoignore": "*.py\n!a.py\n"})
    with pytest.raises(UsageError, match=r"\.fustgoignore:2"):
        freeze(dags, tmp_path / "artifacts")


def test_a_file_over_a_mebibyte_is_left_out_and_said(
    dags: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    write(dags, {"large.json": "x" * ((1 << 20) + 1), "just.json": "x" * (1 << 20)})
    assert copied(freeze(dags, tmp_path / "artifacts")) == CODE | {"just.json"}
    assert "large.json" in caplog.text


def test_links_to_files_are_copied_as_files_and_links_to_nowhere_are_not(dags: Path, tmp_path: Path) -> None:
    (dags / "linked.py").symlink_to(dags / "a.py")
    (dags / "nowhere.py").symlink_to(dags / "gone.py")
    (dags / "round").symlink_to(dags)
    bundle = freeze(dags, tmp_path / "artifacts")
    assert copied(bundle) == CODE | {"linked.py"}
    assert not (bundle.tree / "linked.py").is_symlink()


def test_the_same_contents_are_the_same_version_and_others_are_another(dags: Path, tmp_path: Path) -> None:
    first = freeze(dags, tmp_path / "artifacts")
    write(dags, {"data.csv": "changed"})
    assert freeze(dags, tmp_path / "artifacts") == first
    write(dags, {"a.py": "x = 2"})
    second = freeze(dags, tmp_path / "artifacts")
    assert second.version != first.version
    assert (first.tree / "a.py").read_text() == "x = 1"
    (dags / "a.py").rename(dags / "z.py")
    assert freeze(dags, tmp_path / "artifacts").version not in (first.version, second.version)


def test_what_a_killed_process_had_begun_is_removed(dags: Path, tmp_path: Path) -> None:
    from orchestrator.store import processes

    left = tmp_path / "artifacts" / "bundles" / f".{processes.host()}.999999999.new"
    write(left, {"a.py": "half"})
    bundle = freeze(dags, tmp_path / "artifacts")
    assert [path.name for path in bundle.tree.parent.iterdir()] == [bundle.version]


def test_a_missing_folder_and_one_that_cannot_be_written_are_named(dags: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="there is no folder") as caught:
        freeze(tmp_path / "none", tmp_path / "artifacts")
    assert "bundle.dags" in caught.value.hint
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match="cannot copy the DAGs"):
        freeze(dags, tmp_path / "file")
