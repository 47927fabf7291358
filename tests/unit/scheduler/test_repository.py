"""A repository is followed: each commit of its ref is a tree; what goes wrong is said, a password never."""

from __future__ import annotations

import contextlib
import logging
import os
import shutil
import socket
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from orchestrator.errors import FustgoError, UsageError
from orchestrator.scheduler.bundles import Interrupted, Source, Tree, source_of
from orchestrator.scheduler.bundles.command import Git, last_words
from orchestrator.scheduler.bundles.frozen import digest
from orchestrator.scheduler.bundles.git import Repository
from orchestrator.scheduler.bundles.remote import Remote, remote_of
from orchestrator.settings import BundleSettings
from tests.support.repositories import ENVIRONMENT, Bare, git, serving

DAG = "x = 1\n"
NO_ACCESS = """git@x: Permission denied (publickey).\r
fatal: Could not read from remote repository.

Please make sure you have the correct access rights
and the repository exists.
"""


@pytest.fixture(autouse=True)
def _environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, text in ENVIRONMENT.items():
        monkeypatch.setenv(name, text)


@pytest.fixture
def bare(tmp_path: Path) -> Bare:
    bare = Bare(tmp_path)
    bare.commit({"dags/a.py": DAG, "lib/b.py": "", "README.md": "read"})
    return bare


@pytest.fixture
def artifacts(tmp_path: Path) -> Path:
    return tmp_path / "artifacts"


def source(address: object, artifacts: Path, **settings: Any) -> Source:
    return source_of("default", BundleSettings(git=str(address), **settings), artifacts)


def look(source: Source) -> Tree:
    tree = source.look()
    assert tree is not None
    return tree


def fails(source: Source) -> str:
    with pytest.raises(FustgoError) as caught:
        source.look()
    return str(caught.value)


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
    bare.commit({"dags/.fustgoignore": "!a.py\n"})
    assert f"{bare.path}@HEAD/dags/.fustgoignore:1: '!a.py' takes nothing back" in fails(followed)


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


@pytest.fixture
def verbs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file in which git, which is the real one, writes what it is asked."""
    log, real = tmp_path / "asked", shutil.which("git")
    shim = tmp_path / "bin" / "git"
    shim.parent.mkdir()
    shim.write_text(f'#!/bin/sh\necho "$@" >> {log}\nexec {real} "$@"\n')
    shim.chmod(0o755)
    monkeypatch.setenv("PATH", f"{shim.parent}:{os.environ['PATH']}")
    return log


def test_two_processes_with_the_same_commit_make_one_checkout(
    bare: Bare, artifacts: Path, verbs: Path
) -> None:
    script = (
        "import sys; from pathlib import Path\n"
        "from orchestrator.settings import BundleSettings\n"
        "from orchestrator.scheduler.bundles import source_of\n"
        "sys.stdin.readline()\n"
        "print(source_of('x', BundleSettings(git=sys.argv[1]), Path(sys.argv[2])).look().version)\n"
    )
    command = [sys.executable, "-c", script, str(bare.path), str(artifacts)]
    both = [subprocess.Popen(command, stdin=-1, stdout=-1, text=True) for _ in range(2)]
    for process in both:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    versions = [process.communicate(timeout=60)[0].strip() for process in both]
    commit = bare.run("rev-parse", "HEAD")
    assert versions == [f"{commit}/dags"] * 2
    assert [verbs.read_text().count(verb) for verb in (" fetch ", " archive ")] == [1, 1]
    assert {path.name for path in (artifacts / "bundles").iterdir()} == {commit, ".lock"}


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


def test_without_git_it_is_said_what_to_install(
    bare: Bare, artifacts: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert "install git" in fails(source(bare.path, artifacts))


@pytest.fixture
def silent() -> Any:
    """The address of a server that takes every call and never says a word."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield f"http://127.0.0.1:{server.getsockname()[1]}/x.git"


def are_gone(text: str) -> bool:
    """Whether the processes with this in their arguments end, which takes a moment once they are killed."""
    return any(not arguments_with(text) or threading.Event().wait(0.02) for _ in range(250))


def arguments_with(text: str) -> list[str]:
    """The arguments of the processes of this machine that hold a text."""
    found = []
    for process in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            found.append(process.read_bytes().decode(errors="replace"))
    return [arguments for arguments in found if text in arguments]


def test_a_server_that_says_nothing_is_given_up_with_all_processes_that_listen(
    silent: str, artifacts: Path
) -> None:
    followed = Repository("default", Remote(silent), None, Path("dags"), artifacts, silence=0.3)
    assert f"{silent}: git ls-remote: nothing was heard for 0.3 s" in fails(followed)
    assert are_gone(silent)


def test_a_look_that_waits_is_ended_when_told_to_stop(silent: str, artifacts: Path) -> None:
    receiving, sending = os.pipe()
    followed = source_of("default", BundleSettings(git=silent), artifacts, receiving)
    timer = threading.Timer(0.2, os.write, (sending, b"s"))
    timer.start()
    with pytest.raises(Interrupted):
        followed.look()
    timer.join()
    assert are_gone(silent)
    os.close(receiving)
    os.close(sending)


def test_a_password_is_used_and_told_to_nobody(
    bare: Bare, artifacts: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    secret = "s3cr#t/pass"
    with serving(bare.path.parent, "me@here", secret) as server:
        host = f"127.0.0.1:{server.server_port}"
        followed = source(f"http://me%40here:s3cr%23t%2Fpass@{host}/bare.git", artifacts)
        tree = look(followed)
        assert server.answered >= 3
        assert followed.look() is None
        server.allowed = "other"
        bare.commit({"dags/a.py": "x = 2\n"})
        wrong = fails(followed)
    assert f"http://{host}/bare.git: git ls-remote: fatal: Authentication failed" in wrong
    assert followed.shown == f"http://{host}/bare.git@HEAD"
    told = [
        wrong,
        followed.shown,
        followed.folder,
        repr(vars(followed)),
        tree.version,
        caplog.text,
        *server.seen,
    ]
    written = [path.read_bytes().decode(errors="replace") for path in artifacts.rglob("*") if path.is_file()]
    for text in [*told, *written]:
        assert not any(part in text for part in ("s3cr", "me@here", "me%40here"))


def test_an_address_shows_no_secret_and_a_password_for_ssh_is_refused() -> None:
    remote = remote_of("https://token@example.org/x.git")
    assert (remote.url, remote.user) == ("https://example.org/x.git", "token")
    assert remote.masked("https://token@example.org: token") == "https://***@example.org: ***"
    assert remote_of("git@example.org:x.git").url == "git@example.org:x.git"
    assert remote_of("ssh://git@example.org/x.git").url == "ssh://git@example.org/x.git"
    with pytest.raises(UsageError, match="takes no password") as caught:
        remote_of("ssh://git:hidden@example.org/x.git")
    assert "hidden" not in str(caught.value)


def test_other_helpers_of_git_are_not_run_even_where_an_address_gets_that_far(tmp_path: Path) -> None:
    with pytest.raises(FustgoError, match="transport 'ext' not allowed"):
        Git(Remote(f"ext::touch {tmp_path}/run")).run("ls-remote", "--", f"ext::touch {tmp_path}/run")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("said", "words"),
    [
        (
            "remote: Repository not found.\nfatal: repository 'https://x/' not found\n",
            "fatal: repository 'https://x/' not found",
        ),
        (
            NO_ACCESS,
            "git@x: Permission denied (publickey).",
        ),
        ("remote: Counting\rremote: Counting: 100%\r\nfatal: early EOF\n", "fatal: early EOF"),
        ("", ""),
    ],
)
def test_the_line_of_git_that_says_what_is_wrong_is_found(said: str, words: str) -> None:
    assert last_words(said) == words
