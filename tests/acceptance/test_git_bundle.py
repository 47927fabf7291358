"""Commits to a bare repository become runs of `standalone`, and each run keeps the code of its commit."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import pytest

from tests.support.services_site import ServicesSite, services_site

PROMISED = timedelta(seconds=6)
WORD = 'WORD = "{word}"\n'
DAG = """
from threading import Event

from {dag}_words import WORD
from orchestrator import DAG, action


@action
def waits(context):
    (context.project / f"{dag}.waits").touch()
    while not (context.project / "{dag}.go").exists():
        Event().wait(0.01)


@action
def speaks():
    print("it says", WORD)


with DAG("{dag}", schedule={schedule!r}):
    waits("waits") >> speaks("speaks")
"""


@dataclass(frozen=True)
class Repository:
    """A bare repository, and a clone in which somebody works on it."""

    bare: Path
    clone: Path

    def git(self, *words: str) -> str:
        """Run git in the clone."""
        who = ("-c", "user.name=Ada", "-c", "user.email=ada@example.org")
        done = subprocess.run(
            ["git", *who, *words], cwd=self.clone, check=True, capture_output=True, text=True
        )
        return done.stdout.strip()

    def push(self, **files: str) -> str:
        """Commit files of the folder of DAGs and push them; the commit."""
        for name, text in files.items():
            (self.clone / "dags" / f"{name}.py").write_text(text)
        self.git("add", "--all")
        self.git("commit", "--quiet", "--message", "A change")
        self.git("push", "--quiet", "origin", "HEAD:main")
        return self.git("rev-parse", "HEAD")


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Repository:
    """A repository with one commit that holds no DAG."""
    folder = tmp_path_factory.mktemp("repository")
    made = Repository(folder / "dags.git", folder / "clone")
    for words in (
        ["init", "--quiet", "--bare", "--initial-branch=main", "dags.git"],
        ["init", "--quiet", "clone"],
    ):
        subprocess.run(["git", *words], cwd=folder, check=True, capture_output=True)
    made.git("remote", "add", "origin", str(made.bare))
    (made.clone / "dags").mkdir()
    made.push(nothing="NOTHING = None\n")
    return made


@pytest.fixture(scope="module")
def site(repository: Repository, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServicesSite]:
    """A standalone that follows the repository."""
    bundle = {"GIT": str(repository.bare), "POLL": "1s", "PAUSE_NEW_DAGS": "false"}
    environ = {f"FUSTGO_BUNDLE__{name}": text for name, text in bundle.items()}
    with services_site(tmp_path_factory.mktemp("site"), {}, environ) as made:
        standalone = made.serving(made.service("standalone"))
        yield made
        standalone.end()


def pushed(repository: Repository, dag: str, word: str, schedule: str | None = None) -> str:
    """Commit a DAG and the module that it imports; the commit."""
    text = DAG.format(dag=dag, schedule=schedule)
    return repository.push(**{dag: text, f"{dag}_words": WORD.format(word=word)})


def commit_of(site: ServicesSite, dag: str) -> str:
    """The commit that a DAG's next run will have."""
    return str(site.loaded(dag).get("bundle_version")).partition("/")[0]


def commit_of_run(site: ServicesSite, run: int) -> str:
    return str(site.json("runs", "show", str(run))["bundle_version"]).partition("/")[0]


def said(site: ServicesSite, run: int) -> str:
    return site.fustgo("runs", "logs", str(run), "speaks").out


def test_a_commit_is_a_running_scheduled_run_within_six_seconds(
    site: ServicesSite, repository: Repository
) -> None:
    before = site.database.clock.now()
    commit = pushed(repository, "soon", "soon", schedule="@once")
    site.until((site.project / "soon.waits").exists, "the run of the commit")
    (run,) = site.scheduled("soon")
    (attempt,) = site.attempts(run.number)
    assert attempt.claimed_at is not None
    print("running after", attempt.claimed_at - before)
    assert attempt.claimed_at - before <= PROMISED
    assert (site.state(run.number), commit_of_run(site, run.number)) == ("running", commit)
    (site.project / "soon.go").touch()
    assert site.wait(run.number).state == "success"
    assert "it says soon" in said(site, run.number)


def test_a_run_keeps_the_code_of_its_commit_while_the_next_is_live(
    site: ServicesSite, repository: Repository
) -> None:
    old = pushed(repository, "kept", "old")
    site.until(lambda: commit_of(site, "kept") == old, "the first commit")
    begun = site.trigger("kept")
    site.until((site.project / "kept.waits").exists, "its first stage")
    new = pushed(repository, "kept", "new")
    site.until(lambda: commit_of(site, "kept") == new, "the second commit")
    (site.project / "kept.go").touch()
    later = site.trigger("kept")
    for run, commit, word in ((begun, old, "old"), (later, new, "new")):
        assert site.wait(run).state == "success"
        assert commit_of_run(site, run) == commit
        assert f"it says {word}" in said(site, run)


def test_a_broken_commit_keeps_the_last_good_version_until_a_good_one_comes(
    site: ServicesSite, repository: Repository
) -> None:
    (site.project / "mended.go").touch()
    good = pushed(repository, "mended", "good")
    site.until(lambda: commit_of(site, "mended") == good, "the good commit")
    repository.push(mended="with DAG(", mended_words=WORD.format(word="broken"))
    site.until(lambda: bool(site.json("dags", "errors")["files"]), "what is wrong")
    (error,) = site.json("dags", "errors")["files"]
    assert error["file"] == "mended.py"
    assert "mended.py:1" in error["message"], error
    run = site.trigger("mended")
    assert site.wait(run).state == "success"
    assert commit_of_run(site, run) == good
    assert "it says good" in said(site, run)
    mended = pushed(repository, "mended", "mended")
    site.until(lambda: commit_of(site, "mended") == mended, "the mended commit")
    assert site.json("dags", "errors") == {"files": [], "bundles": []}
    run = site.trigger("mended")
    assert site.wait(run).state == "success"
    assert "it says mended" in said(site, run)
