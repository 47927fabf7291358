"""Patterns mean what git's mean: checked against git itself."""

from __future__ import annotations

from pathlib import Path

import pytest

from orchestrator.scheduler.bundles.ignore import Patterns
from orchestrator.scheduler.bundles.scan import scan
from tests.support.repositories import git

FILES = (
    *("a.py", "b.py", "test_a.py", "x/a.py", "x/y/a.py", "x/y/z/a.py", "x/test_b.py", "draft/a.py"),
    *(
        "x/draft/a.py",
        "x/draft.py",
        "[a].py",
        "ab.py",
        "a-b.py",
        "x/y.py",
        "éa.py",
        "a*.py",
        "#a.py",
        "a b.py",
    ),
)
PATTERNS = (
    *("a.py", "/a.py", "x/a.py", "*.py", "test_*", "x/*.py", "x/*", "x/**", "**/a.py", "x/**/a.py", "**/y"),
    *(
        "draft/",
        "/draft/",
        "draft",
        "x/draft/",
        "[ab].py",
        "[!a].py",
        "[^b].py",
        "?.py",
        "a[-b]b.py",
        "[a-b].py",
    ),
    *(
        "\\[a\\].py",
        "[]a[]*",
        "éa.py",
        "a\\*.py",
        "\\#a.py",
        "a b.py",
        "y/a.py",
        "x/y/",
        "**",
        "*/*/",
        "*.py\n!a.py",
        "x/\n!x/a.py",
        "# not these\n\nx/",
    ),
)


@pytest.mark.parametrize("pattern", PATTERNS)
def test_a_pattern_leaves_out_what_git_leaves_out(pattern: str, tmp_path: Path) -> None:
    for name in FILES:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    git("init", "--quiet", folder=tmp_path)
    (tmp_path / ".fustgoignore").write_text(pattern)
    (tmp_path / ".gitignore").write_text(pattern + "\n/.*\n")
    listing = git(
        "-c", "core.quotePath=false", "ls-files", "--others", "--exclude-standard", "-z", folder=tmp_path
    )
    assert set(scan(tmp_path, Patterns()).files) == set(filter(None, listing.split("\0")))


def test_any_of_several_is_enough_and_none_names_nothing() -> None:
    patterns = Patterns(["a.py", "x/"])
    assert patterns.names_file("y/a.py")
    assert patterns.names_folder("x")
    assert patterns.names_file("x/b.py")
    assert not patterns.names_file("x")
    assert not Patterns().names_file("a.py")
