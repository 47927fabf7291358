"""Settings of bundles: one or several by name, in a folder or in git; what is wrong with them, and where."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import jsonschema
import pytest
import yaml

from orchestrator import settings
from orchestrator.cli import services
from tests.support.settings_files import HOME, must_be_told, problems_of, written

BUNDLES = """
bundles:
  sales: {path: /srv/sales, project: data, pause_new_dags: no}
  finance:
    git: https://ada:secret@host/finance.git
    ref: main
    poll: 10s
"""
BUNDLES_TOML = """
[bundles.sales]
path = "/srv/sales"
project = "data"
pause_new_dags = false
[bundles.finance]
git = "https://ada:secret@host/finance.git"
ref = "main"
poll = 10
"""


@pytest.mark.parametrize(("name", "text"), [("a.yaml", BUNDLES), ("a.toml", BUNDLES_TOML)])
def test_several_bundles_have_names(tmp_path: Path, name: str, text: str) -> None:
    bundles = settings.load(written(tmp_path, text, name), environ=HOME).all_bundles()
    assert list(bundles) == ["sales", "finance"]
    sales, finance = bundles.values()
    assert (sales.path, sales.project) == (Path("/srv/sales"), Path("/srv/sales/data"))
    assert (sales.interval, sales.pauses) == (timedelta(milliseconds=500), False)
    assert (finance.git, finance.ref) == ("https://ada:secret@host/finance.git", "main")
    assert (finance.interval, finance.pauses, finance.dags) == (timedelta(seconds=10), True, Path("dags"))


def test_one_bundle_is_the_default(tmp_path: Path) -> None:
    loaded = settings.load(written(tmp_path, "bundles: {}\n"), environ=HOME)
    assert loaded.all_bundles() == {"default": loaded.bundle}


def test_variables_spell_the_one_bundle(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    environ = {"GIT": "../repo.git", "REF": "v1.0", "POLL": "1s", "PAUSE_NEW_DAGS": "false", "DAGS": "."}
    bundle = settings.load(
        environ=HOME | {f"FUSTGO_BUNDLE__{key}": text for key, text in environ.items()}
    ).bundle
    assert (bundle.git, bundle.ref, bundle.pauses) == (f"{tmp_path.parent}/repo.git", "v1.0", False)
    path = written(tmp_path, BUNDLES)
    assert problems_of(path, FUSTGO_BUNDLE__GIT="/repo", FUSTGO_BUNDLES__SALES__GIT="/repo") == [
        (
            "environment variable FUSTGO_BUNDLES__SALES__GIT: no setting has this name\n  hint: "
            "bundles by name stand in the settings file; FUSTGO_BUNDLE__KEY is of the one bundle"
        ),
        (
            "environment variable FUSTGO_BUNDLE__GIT: bundle.git holds for none of the file's bundles\n"
            "  hint: move it below a name in bundles"
        ),
    ]


@pytest.mark.parametrize(
    "url",
    ["https://host/a.git", "ssh://git@host:22/a.git", "git@host:a/b.git", "file:///srv/a.git", "/srv/a.git"],
)
def test_a_repository_is_named_as_git_names_it(url: str) -> None:
    assert settings.load(environ=HOME | {"FUSTGO_BUNDLE__GIT": url}).bundle.git == url


def test_every_bundle_is_shown_without_the_password_of_its_repository(
    tmp_path: Path,
) -> None:
    path = written(tmp_path, BUNDLES + "  more: {git: 'https://token@host/x'}\n")
    rows = list(settings.load(path, environ=HOME).rows())
    assert ("bundles.finance.git", "https://ada:***@host/finance.git", f"{path}:5") in rows
    assert ("bundles.more.git", "https://***@host/x", f"{path}:8") in rows
    assert ("bundles.sales.pause_new_dags", "false", f"{path}:3") in rows
    assert ("bundles.sales.poll", "none", "default") in rows
    assert "bundle.path" not in [name for name, _, _ in rows]
    secret = written(tmp_path, "bundle: {git: 'hg://ada:secret@host/x'}\n")
    assert all("secret" not in problem for problem in problems_of(secret))


def test_the_schema_covers_bundles_by_name() -> None:
    schema = settings.json_schema()
    jsonschema.validate({"bundles": yaml.safe_load(BUNDLES)["bundles"]}, schema)
    wrongs: list[object] = [{"a b": {}}, {"a": {"gti": "x"}}, []]
    for wrong in wrongs:
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate({"bundles": wrong}, schema)


def test_new_dags_of_folders_run_at_once_in_standalone_alone(tmp_path: Path) -> None:
    text = "bundles: {a: {}, b: {git: /r}, c: {pause_new_dags: yes}}\n"
    loaded = settings.load(written(tmp_path, text), environ=HOME)
    assert [bundle.pauses for bundle in loaded.all_bundles().values()] == [True, True, True]
    resolved = services._at_work_at_once(loaded)
    assert [bundle.pauses for bundle in resolved.all_bundles().values()] == [False, True, True]
    assert not services._at_work_at_once(settings.load(environ=HOME)).bundle.pauses


@pytest.mark.parametrize(
    ("text", "place", "said"),
    [
        ("bundle: {git: ''}\n", "1:10", "the URL of a repository"),
        ("bundle: {git: -x}\n", "1:10", "the URL of a repository"),
        ("bundle: {git: 'ext::sh -c true'}\n", "1:10", "a helper program"),
        ("bundle: {git: 'fd::7'}\n", "1:10", "a helper program"),
        ("bundle: {git: 'hg://host/repo'}\n", "1:10", "the URL of a repository"),
        ("bundle: {git: 'ssh://-oProxyCommand=true/x'}\n", "1:10", "the URL of a repository"),
        ("bundle: {git: 'git@-oProxyCommand=true:x'}\n", "1:10", "the URL of a repository"),
        ("bundle: {git: /r, ref: a b}\n", "1:19", "no spaces"),
        ("bundle: {git: /r, ref: --upload-pack=x}\n", "1:19", "no spaces"),
        ("bundle: {git: /r, ref: 'a:b'}\n", "1:19", "no spaces"),
        ("bundle: {ref: main}\n", "1:10", "set git beside it"),
        ("bundle: {poll: 99ms}\n", "1:10", "at least 100ms for a folder"),
        ("bundle: {git: /r, poll: 999ms}\n", "1:19", "at least 1s for a git repository"),
        ("bundle: {parse_timeout: 0}\n", "1:10", "at least 1s"),
        ("bundle: {parse_timeout: 25d}\n", "1:10", "at most 20d"),
        ("bundle: {pause_new_dags: perhaps}\n", "1:10", "valid boolean"),
        ("bundle: {path: a}\nbundles: {b: {path: c}}\n", "1:10", "bundle.path holds for none"),
        ("bundles: [a]\n", "1:1", "must hold names"),
        ("bundles: {a: b}\n", "1:11", "bundles.a must be a section"),
        ("bundles: {1a: {}}\n", "1:11", "'1a' is no name of a bundle"),
        ("bundles: {a.b: {}}\n", "1:11", "'a.b' is no name of a bundle"),
        ("bundles:\n  a:\n    gti: x\n", "3:5", "did you mean 'bundles.a.git'"),
        ("bundles:\n  a:\n    dags: ../x\n", "3:5", "inside the bundle"),
        ("bundles:\n  a: {git: /r}\n  b: {ref: x}\n", "3:7", "bundles.b.ref: is of a git repository"),
        ("bundles:\n  a: {path: b, path: c}\n", "2:16", "bundles.a.path is given twice"),
    ],
)
def test_what_is_wrong_with_a_bundle_is_said_where_it_is(
    tmp_path: Path, text: str, place: str, said: str
) -> None:
    must_be_told(tmp_path, text, place, said)
