"""A repository is followed: each commit of its ref is a tree; what goes wrong is said, and mended."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from orchestrator.scheduler.bundles import Tree
from orchestrator.scheduler.bundles.frozen import digest
from tests.support.repositories import Bare, fails, git, look, source

DAG = "x = 1\n"


def test_a_commit_is_a_tree_with_the_commit_as_its_version(bare: Bare, artifacts: Path) -> None:
    followed = source(bare.path, artifacts)
    assert (followed.shown, followed.interval) == (f"{bare.path}@HEAD", 60)
    first = look(followed)
    commit = bare.run("rev-parse", "HEAD")
    assert first == Tree(
        f"{commit}/dags", artifacts / "bundles" / commit / "dags", {"a.py": digest(b"x = 1\n")}
    )
    assert (artifacts / "bundles" / commit / "README.md").read_text() == "read"
    assert followed.look() is None
    second = look(source(bare.path, artifacts, dags="."))
    assert second.version == commit
    assert second.digests.keys() == {"dags/a.py", "lib/b.py"}
    other = bare.commit({"dags/a.py": "x = 2\n"})
    assert look(followed).version == f"{other}/dags"
    assert (first.root / "a.py").read_text() == DAG


def test_a_ref_is_a_branch_a_tag_a_full_name_or_a_commit(bare: Bare, artifacts: Path) -> None:
    old = bare.run("rev-parse", "HEAD")
    bare.run("tag", "--annotate", "--message=one", "v1", old)
    new = bare.commit({"dags/a.py": "x = 2\n"}, branch="team/next")
    found = {
        "team/next": new,
        "v1": old,
        "refs/tags/v1": old,
        "refs/heads/team/next": new,
        old: old,
        "main": old,
    }
    for ref, commit in found.items():
        assert look(source(bare.path, artifacts, ref=ref)).version == f"{commit}/dags", ref
    bare.run("tag", "main", new)
    assert "write bundle.ref as refs/heads/main or refs/tags/main" in fails(
        source(bare.path, artifacts, ref="main")
    )
    tag = bare.run("rev-parse", "v1")
    assert f"write {old} as bundle.ref" in fails(source(bare.path, artifacts, ref=tag))
    assert "no branch or tag 'gone'" in fails(source(bare.path, artifacts, ref="gone"))


def test_a_commit_that_was_asked_for_needs_its_repository_only_once(bare: Bare, artifacts: Path) -> None:
    commit = bare.run("rev-parse", "HEAD")
    followed = source(bare.path, artifacts, ref=commit)
    look(followed)
    shutil.rmtree(bare.path)
    assert followed.look() is None
    assert look(source(bare.path, artifacts, ref=commit)).version == f"{commit}/dags"


@pytest.mark.parametrize("ids", ["sha1", "sha256"])
def test_a_repository_may_count_by_either_hash(tmp_path: Path, artifacts: Path, ids: str) -> None:
    bare = Bare(tmp_path / "counted", ids=ids)
    commit = bare.commit({"dags/a.py": DAG})
    for ref in ("main", commit):
        assert look(source(bare.path, artifacts / ref, ref=ref)).version == f"{commit}/dags"


def test_what_is_left_out_is_said_once(bare: Bare, artifacts: Path, caplog: pytest.LogCaptureFixture) -> None:
    followed = source(bare.path, artifacts)
    for text in ("1", "2"):
        bare.commit({"dags/a.py": text, "dags/large.json": " " * (1 << 20) + "1"})
        assert look(followed).digests.keys() == {"a.py"}
    assert [record.message for record in caplog.records] == [
        f"{bare.path}@HEAD/dags/large.json is larger than 1 MiB: it is not loaded with the DAGs"
    ]


def test_a_branch_that_was_rewritten_is_followed(bare: Bare, artifacts: Path) -> None:
    followed = source(bare.path, artifacts, ref="main")
    look(followed)
    commit = bare.commit({"dags/a.py": "x = 3\n"}, amend=True)
    assert look(followed).version == f"{commit}/dags"


def test_a_branch_that_is_gone_is_an_error_until_it_is_back(bare: Bare, artifacts: Path) -> None:
    followed = source(bare.path, artifacts, ref="main")
    tree = look(followed)
    bare.run("branch", "-m", "main", "main/next")
    assert "no branch or tag 'main'" in fails(followed)
    assert "no HEAD: it is empty" not in fails(followed)
    assert (tree.root / "a.py").read_text() == DAG
    assert source(bare.path, artifacts, ref="main/next").look() == tree
    commit = bare.commit({"dags/a.py": "x = 2\n"}, branch="main/next")
    assert look(source(bare.path, artifacts, ref="main/next")).version == f"{commit}/dags"


def test_an_empty_repository_and_one_that_is_none_say_so_until_they_are_mended(
    tmp_path: Path, artifacts: Path
) -> None:
    followed = source(tmp_path / "bare.git", artifacts)
    assert "does not appear to be a git repository" in fails(followed)
    bare = Bare(tmp_path)
    assert "it is empty" in fails(followed)
    bare.commit({"dags/a.py": DAG})
    look(followed)
    bare.path.rename(tmp_path / "away")
    assert "does not appear to be a git repository" in fails(followed)
    (tmp_path / "away").rename(bare.path)
    assert followed.look() is None


def test_a_broken_repository_is_an_error_and_a_mended_one_is_read(bare: Bare, artifacts: Path) -> None:
    followed = source(bare.path, artifacts)
    tree = look(followed)
    commit = bare.commit({"dags/a.py": "x = 2\n"})
    blob = bare.run("rev-parse", f"{commit}:dags/a.py")
    object_file = bare.path / "objects" / blob[:2] / blob[2:]
    object_file.rename(bare.path / "away")
    assert "git fetch: " in fails(followed)
    assert (tree.root / "a.py").read_text() == DAG
    (bare.path / "away").rename(object_file)
    assert look(followed).version == f"{commit}/dags"


def test_a_folder_that_the_commit_has_not_is_named_with_it(bare: Bare, artifacts: Path) -> None:
    commit = bare.run("rev-parse", "HEAD")
    followed = source(bare.path, artifacts, dags="other")
    assert f"{bare.path}@HEAD has no folder 'other' in commit {commit}" in fails(followed)
    bare.commit({"other/c.py": ""})
    assert look(followed).digests.keys() == {"c.py"}


def test_what_counts_as_code_is_what_counts_in_a_folder(bare: Bare, artifacts: Path) -> None:
    bare.commit(
        {"dags/.fustgoignore": "draft*\n", "dags/draft.py": "", "dags/mail.html": "", "dags/x.txt": ""}
    )
    followed = source(bare.path, artifacts, include=("*.html",))
    tree = look(followed)
    assert tree.digests.keys() == {"a.py", "mail.html"}
    assert (tree.root / "draft.py").exists()
    bare.commit({"dags/.fustgoignore": "[b-a]\n"})
    assert f"{bare.path}@HEAD/dags/.fustgoignore:1: '[b-a]': no pattern of git's" in fails(followed)


def test_a_checkout_has_the_bytes_of_the_commit_whatever_attributes_and_settings_say(
    bare: Bare, artifacts: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = tmp_path / "gitconfig"
    settings.write_text(
        f'[core]\n autocrlf = true\n[filter "evil"]\n smudge = touch {tmp_path}/smudged\n required = true\n'
    )
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(settings))
    attributes = "a.py export-ignore\nb.py export-subst ident\nc.py filter=evil\nd.py text eol=crlf\n"
    text = "$Format:%H$ $Id$\n"
    bare.commit({"dags/.gitattributes": attributes, **{f"dags/{name}.py": text for name in "abcd"}})
    tree = look(source(bare.path, artifacts))
    assert {path.name: path.read_bytes() for path in tree.root.glob("*.py")} == {
        f"{name}.py": text.encode() for name in "abcd"
    }
    assert not (tmp_path / "smudged").exists()


def test_links_that_lead_out_are_not_written_and_others_are(
    bare: Bare, artifacts: Path, caplog: pytest.LogCaptureFixture
) -> None:
    dags = bare.work / "dags"
    (dags / "inside.py").symlink_to("../lib/b.py")
    (dags / "absolute.py").symlink_to("/etc/passwd")
    (dags / "up.py").symlink_to("../../../up.py")
    (dags / "deep").symlink_to("../lib")
    (dags / "through.py").symlink_to("deep/../../x.py")
    bare.push()
    tree = look(source(bare.path, artifacts))
    assert {path.name for path in tree.root.iterdir()} == {"a.py", "inside.py", "deep"}
    assert tree.digests.keys() == {"a.py", "inside.py", "deep/b.py"}
    said = "".join(record.getMessage() for record in caplog.records)
    assert all(f"dags/{name} links to" in said for name in ("absolute.py", "up.py", "through.py"))


def test_files_of_a_checkout_are_read_only_and_programs_stay_programs(bare: Bare, artifacts: Path) -> None:
    (bare.work / "dags" / "a.py").chmod(0o755)
    (bare.work / "dags" / "b.py").touch()
    bare.push()
    root = look(source(bare.path, artifacts)).root
    assert [(root / name).stat().st_mode & 0o777 for name in ("a.py", "b.py")] == [0o555, 0o444]


def before_git(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, commands: str) -> None:
    """Have the shell do something before git, the real one, does what it is asked: `$*`."""
    shim = tmp_path / "bin" / "git"
    shim.parent.mkdir()
    shim.write_text(f'#!/bin/sh\n{commands}\nexec {shutil.which("git")} "$@"\n')
    shim.chmod(0o755)
    monkeypatch.setenv("PATH", f"{shim.parent}:{os.environ['PATH']}")


def looking(address: object, artifacts: Path) -> subprocess.Popen[str]:
    """A process that looks, once it is told to go, and prints the version."""
    script = (
        "import sys; from pathlib import Path\n"
        "from orchestrator.settings import BundleSettings\n"
        "from orchestrator.scheduler.bundles import source_of\n"
        "sys.stdin.readline()\n"
        "print(source_of('x', BundleSettings(git=sys.argv[1]), Path(sys.argv[2])).look().version)\n"
    )
    command = [sys.executable, "-c", script, str(address), str(artifacts)]
    return subprocess.Popen(command, stdin=-1, stdout=-1, text=True)


def test_two_processes_with_the_same_commit_make_one_checkout(
    bare: Bare, artifacts: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before_git(tmp_path, monkeypatch, f'echo "$*" >> {tmp_path}/asked')
    both = [looking(bare.path, artifacts) for _ in range(2)]
    for process in both:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    versions = [process.communicate(timeout=60)[0].strip() for process in both]
    commit = bare.run("rev-parse", "HEAD")
    assert versions == [f"{commit}/dags"] * 2
    asked = (tmp_path / "asked").read_text()
    assert [asked.count(verb) for verb in (" fetch ", " archive ")] == [1, 1]
    assert {path.name for path in (artifacts / "bundles").iterdir()} == {commit, ".lock"}


@pytest.mark.parametrize("verb", ["init", "fetch", "archive"])
def test_a_process_that_is_killed_half_way_leaves_nothing_that_holds_up_the_next(
    bare: Bare, artifacts: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, verb: str
) -> None:
    kill = f'case "$*" in *" {verb} "*) mkdir {tmp_path}/once && kill -9 $PPID;; esac'
    before_git(tmp_path, monkeypatch, kill)
    killed = looking(bare.path, artifacts)
    killed.communicate("go\n", timeout=60)
    assert killed.returncode == -9
    tree = look(source(bare.path, artifacts))
    assert (tree.root / "a.py").read_text() == DAG
    assert {path.name for path in (artifacts / "bundles").iterdir()} == {tree.root.parent.name}


def test_what_a_killed_process_left_in_the_mirror_holds_nothing_up(bare: Bare, artifacts: Path) -> None:
    followed = source(bare.path, artifacts)
    look(followed)
    (mirror,) = (path for path in (artifacts / "git").iterdir() if path.is_dir())
    (mirror / "shallow.lock").touch()
    (mirror / "HEAD").write_text("torn")
    commit = bare.commit({"dags/a.py": "x = 2\n"})
    assert look(followed).version == f"{commit}/dags"


def test_a_mirror_holds_no_history_and_does_not_grow_without_end(bare: Bare, artifacts: Path) -> None:
    bare.commit({"dags/a.py": "x = 2\n"})
    followed = source(bare.path, artifacts)
    look(followed)
    (mirror,) = (path for path in (artifacts / "git").iterdir() if path.is_dir())
    assert git("rev-list", "--all", "--count", folder=mirror) == "1"


def test_a_checkout_that_is_gone_is_made_anew(bare: Bare, artifacts: Path) -> None:
    followed = source(bare.path, artifacts)
    tree = look(followed)
    shutil.rmtree(artifacts / "bundles")
    assert look(followed) == tree
    assert (tree.root / "a.py").read_text() == DAG
