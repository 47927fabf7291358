"""How git is asked: nobody is asked back, nothing is waited for without end, and no password is told."""

from __future__ import annotations

import contextlib
import fcntl
import logging
import os
import socket
import threading
from pathlib import Path
from typing import Any

import pytest

from orchestrator.errors import FustgoError, UsageError
from orchestrator.scheduler.bundles import Interrupted, source_of
from orchestrator.scheduler.bundles.command import Git, last_words
from orchestrator.scheduler.bundles.git import Repository
from orchestrator.scheduler.bundles.mirror import Mirror
from orchestrator.scheduler.bundles.remote import Remote, remote_of
from orchestrator.settings import BundleSettings
from tests.support.repositories import Bare, fails, look, serving, source

NO_ACCESS = """git@x: Permission denied (publickey).\r
fatal: Could not read from remote repository.

Please make sure you have the correct access rights
and the repository exists.
"""


def test_an_address_of_ssh_is_read_as_the_user_has_set_it_up(
    bare: Bare, artifacts: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ssh = tmp_path / "ssh"
    ssh.write_text(f'#!/bin/sh\necho "$1" > {tmp_path}/host\nexec sh -c "$2"\n')
    ssh.chmod(0o755)
    monkeypatch.setenv("GIT_SSH_COMMAND", str(ssh))
    monkeypatch.setenv("GIT_SSH_VARIANT", "simple")
    followed = source(f"git@example.org:{bare.path}", artifacts)
    assert look(followed).digests.keys() == {"a.py"}
    assert (tmp_path / "host").read_text() == "git@example.org\n"
    assert followed.shown == f"git@example.org:{bare.path}@HEAD"


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


def test_a_mirror_that_another_holds_for_long_is_an_error_that_says_so(bare: Bare, artifacts: Path) -> None:
    remote = Remote(str(bare.path))
    mirror = Mirror(Git(remote), artifacts, patience=0.1)
    commit = bare.run("rev-parse", "HEAD")
    (artifacts / "git").mkdir(parents=True)
    with (artifacts / "git" / f"{remote.key}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(FustgoError, match="another process has its mirror .* for more than 0.1 s"):
            mirror.check_out("refs/heads/main", commit)
    assert mirror.check_out("refs/heads/main", commit) == commit


def test_a_password_is_used_and_told_to_nobody(
    bare: Bare, artifacts: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    caplog.set_level(logging.DEBUG)
    monkeypatch.setenv("GIT_CONFIG_COUNT", "1")  # what the user has set beside it stays
    monkeypatch.setenv("GIT_CONFIG_KEY_0", "http.userAgent")
    monkeypatch.setenv("GIT_CONFIG_VALUE_0", "mine/1")
    secret = "s3cr#t/pass"
    with serving(bare.path.parent, "me@here", secret) as server:
        host = f"127.0.0.1:{server.server_port}"
        followed = source(f"http://me%40here:s3cr%23t%2Fpass@{host}/bare.git", artifacts)
        tree = look(followed)
        assert server.answered >= 3
        assert server.agents == {"mine/1"}
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
    remote = remote_of("https://git:hidden@example.org/x.git")
    said = "https://example.org/x.git: git fetch: fatal: hidden of git@example.org"
    assert remote.masked(said) == "https://example.org/x.git: git fetch: fatal: *** of ***@example.org"
    assert remote_of("git@example.org:x.git").url == "git@example.org:x.git"
    assert remote_of("ssh://git@example.org/x.git").url == "ssh://git@example.org/x.git"
    with pytest.raises(UsageError, match="takes no password") as caught:
        remote_of("ssh://git:hidden@example.org/x.git")
    assert "hidden" not in str(caught.value)
    with pytest.raises(UsageError, match="no number for a port") as caught:
        remote_of("https://me:hid/den@example.org/x.git")
    assert "hid" not in str(caught.value)


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
