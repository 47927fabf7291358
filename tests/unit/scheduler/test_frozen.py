"""Frozen trees are there whole or not at all, share what is the same, and go when nobody names them."""

from __future__ import annotations

import os
import tempfile
from datetime import timedelta
from pathlib import Path

import pytest

from orchestrator.scheduler.bundles import Tree
from orchestrator.scheduler.bundles.frozen import claim, digest, freeze, prune, unnamed
from orchestrator.store import processes

HOUR = timedelta(hours=1)


@pytest.fixture
def artifacts(tmp_path: Path) -> Path:
    return tmp_path / "artifacts"


def frozen(artifacts: Path, files: dict[str, str], last: Tree | None = None) -> Tree:
    contents = {path: text.encode() for path, text in files.items()}
    return freeze(artifacts, {path: digest(content) for path, content in contents.items()}, contents, last)


def age(artifacts: Path) -> None:
    """Make everything beside the trees, and these, old."""
    for folder in (artifacts / "bundles").iterdir():
        os.utime(folder, (0, 0))


def names(artifacts: Path) -> set[str]:
    return {path.name for path in (artifacts / "bundles").iterdir()} - {".lock"}


def test_what_a_killed_process_had_begun_is_removed(artifacts: Path) -> None:
    left = artifacts / "bundles" / f".{processes.host()}.999999999.abc.new" / "a.py"
    mine = artifacts / "bundles" / f".{processes.host()}.{os.getpid()}.abc.new" / "a.py"
    for file in (left, mine):
        file.parent.mkdir(parents=True)
        file.touch()
    tree = frozen(artifacts, {"a.py": ""})
    assert names(artifacts) == {tree.version, mine.parent.name}


def test_a_file_that_cannot_be_linked_is_copied_from_the_last_tree(artifacts: Path) -> None:
    """As where it has as many names as the disk allows; here they are on two disks."""
    with tempfile.TemporaryDirectory(dir="/dev/shm") as other:
        last = frozen(Path(other), {"a.py": "x = 1"})
        tree = freeze(artifacts, last.digests, {}, last)
        assert (tree.root / "a.py").read_text() == "x = 1"
        assert (tree.root / "a.py").stat().st_nlink == 1


def test_trees_that_nobody_names_are_pruned_when_they_are_old(artifacts: Path) -> None:
    trees = [frozen(artifacts, {"a.py": text, "b.py": "b"}) for text in ("1", "2")]
    trees.append(frozen(artifacts, {"a.py": "3", "b.py": "b"}, trees[0]))
    commit, gone = "a" * 40, "b" * 40
    for name in (commit, gone, "mine", f".{'c' * 40}.leaving", ".elsewhere.1.x.new"):
        (artifacts / "bundles" / name / "dags").mkdir(parents=True)
    before = names(artifacts)
    assert prune(artifacts, [], HOUR) == []
    assert names(artifacts) == before
    age(artifacts)
    kept = [trees[2].version, f"{commit}/dags"]
    assert prune(artifacts, kept, HOUR) == sorted([trees[0].version, trees[1].version, gone])
    assert names(artifacts) == {trees[2].version, commit, "mine"}
    assert (trees[2].root / "b.py").read_text() == "b"
    assert prune(artifacts, kept, HOUR) == []


def test_what_may_go_is_a_tree_that_is_old_and_not_named() -> None:
    old, young, named = "a" * 20, "b" * 20, "c" * 40
    ages = [(old, 1.0), (young, 5.0), (named, 1.0), ("notes", 1.0), (".lock", 1.0), ("d" * 21, 1.0)]
    assert unnamed(ages, [f"{named}/team/dags"], before=2.0) == [old]


def test_a_tree_that_is_made_again_or_claimed_counts_as_new(artifacts: Path) -> None:
    trees = [frozen(artifacts, {"a.py": text}) for text in ("1", "2", "3")]
    age(artifacts)
    assert frozen(artifacts, {"a.py": "1"}) == trees[0]
    assert claim(artifacts, f"{trees[1].version}/sub")
    assert not claim(artifacts, "d" * 20)
    assert prune(artifacts, [], HOUR) == [trees[2].version]


def test_where_there_are_no_trees_there_is_nothing_to_prune(artifacts: Path) -> None:
    assert prune(artifacts, [], HOUR) == []
    assert not artifacts.exists()
