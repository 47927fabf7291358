"""Settings: what wins over what, and that everything wrong is said at once, with its place."""

from __future__ import annotations

import argparse
import json
import os
import stat
from datetime import timedelta
from pathlib import Path

import jsonschema
import pytest
import yaml

from orchestrator import settings
from orchestrator.cli import config
from orchestrator.errors import Problems, SettingsError
from orchestrator.units import format_size, parse_size
from tests.support.settings_files import HOME, must_be_told, problems_of, written

SAMPLE = Path(__file__).parents[2] / "deploy" / "config" / "default.yaml"


def test_defaults_lie_in_the_home() -> None:
    loaded = settings.load(environ=HOME)
    assert loaded.home == Path("/srv/fustgo")
    assert loaded.database.url == "sqlite:////srv/fustgo/fustgo.db"
    assert loaded.artifacts.path == Path("/srv/fustgo/artifacts")
    assert loaded.worker.lease == timedelta(seconds=30)
    assert loaded.log.folder == Path("/srv/fustgo/logs")
    assert set(loaded.sources.values()) == {"default", "environment variable FUSTGO_HOME"}


def test_the_home_is_in_the_users_folder_unless_given() -> None:
    assert settings.load(environ={"HOME": "/home/ada"}).home == Path("/home/ada/.fustgo")
    assert settings.load(environ={"HOME": "/home/ada", "FUSTGO_HOME": ""}).home == Path("/home/ada/.fustgo")


def test_a_relative_home_is_one_of_this_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    assert settings.load(environ={"FUSTGO_HOME": "here"}).home == tmp_path / "here"


def test_the_sample_equals_the_defaults_and_lists_every_key() -> None:
    loaded, defaults = settings.load(SAMPLE, environ=HOME), settings.load(environ=HOME)
    assert loaded.model_dump(exclude={"sources"}) == defaults.model_dump(exclude={"sources"})
    listed = {
        f"{section}.{key}" for section, keys in yaml.safe_load(SAMPLE.read_text()).items() for key in keys
    }
    assert listed == set(settings.KEYS)


def test_flags_win_over_variables_over_file_over_defaults(tmp_path: Path) -> None:
    path = written(tmp_path, "log:\n  level: ERROR\nworker:\n  lease: 1m\n")
    environ = HOME | {"FUSTGO_LOG__LEVEL": "WARNING", "FUSTGO_WORKER__LEASE": "2m"}
    loaded = settings.load(path, {"log.level": "debug"}, environ)
    assert (loaded.log.level, loaded.sources["log.level"]) == ("DEBUG", "flag")
    assert loaded.worker.lease == timedelta(minutes=2)
    assert loaded.sources["worker.lease"] == "environment variable FUSTGO_WORKER__LEASE"
    assert settings.load(path, environ=HOME).sources["worker.lease"] == f"{path}:4"
    assert loaded.sources["database.url"] == "default"


def test_a_file_may_be_named_by_a_variable(tmp_path: Path) -> None:
    path = written(tmp_path, "log: {level: error}\n")
    assert settings.load(environ=HOME | {"FUSTGO_CONFIG": str(path)}).log.level == "ERROR"


def test_toml_says_the_same(tmp_path: Path) -> None:
    path = written(tmp_path, 'log.level = "ERROR"\n[worker]\nlease = 45\n', "fustgo.toml")
    loaded = settings.load(path, environ=HOME)
    assert loaded.log.level == "ERROR"
    assert loaded.worker.lease == timedelta(seconds=45)
    assert loaded.sources["log.level"] == f"{path}:1"
    assert loaded.sources["worker.lease"] == f"{path}:3"


def test_a_worker_has_a_slot_for_each_core_unless_told() -> None:
    assert settings.load(environ=HOME).worker.slots == len(os.sched_getaffinity(0))
    assert settings.load(environ=HOME | {"FUSTGO_WORKER__SLOTS": "7"}).worker.slots == 7


def test_a_bundle_lies_where_the_service_is_started(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "repo").mkdir()
    monkeypatch.chdir(tmp_path / "repo")
    bundle = settings.load(environ=HOME).bundle
    assert (bundle.path, bundle.dags, bundle.project) == (tmp_path / "repo", Path("dags"), tmp_path / "repo")
    moved = {"FUSTGO_BUNDLE__PATH": "../other", "FUSTGO_BUNDLE__PROJECT": "data"}
    bundle = settings.load(environ=HOME | moved).bundle
    assert (bundle.path, bundle.project) == (tmp_path / "other", tmp_path / "other" / "data")
    assert settings.load(environ=HOME | {"FUSTGO_BUNDLE__PROJECT": "/data"}).bundle.project == Path("/data")


def test_a_folder_that_is_gone_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    assert "does not exist any more" in problems_of()[0]


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.yaml", "worker: {labels: [gpu, big, gpu], memory_limit: 2GiB}\n"),
        ("a.yaml", "worker: {labels: 'gpu, big', memory_limit: 2147483648}\n"),
        ("a.toml", 'worker.labels = ["gpu", "big"]\nworker.memory_limit = "2GiB"\n'),
    ],
)
def test_lists_and_sizes_are_read_from_files(tmp_path: Path, name: str, text: str) -> None:
    worker = settings.load(written(tmp_path, text, name), environ=HOME).worker
    assert (worker.labels, worker.memory_limit) == (("gpu", "big"), 2 << 30)


def test_lists_and_none_are_text_in_variables(tmp_path: Path) -> None:
    path = written(tmp_path, "worker: {labels: [gpu], memory_limit: 2GiB}\n")
    environ = HOME | {"FUSTGO_WORKER__LABELS": "", "FUSTGO_WORKER__MEMORY_LIMIT": "none"}
    worker = settings.load(path, environ=environ).worker
    assert (worker.labels, worker.memory_limit) == ((), None)
    assert settings.load(environ=HOME | {"FUSTGO_WORKER__LABELS": "a,b"}).worker.labels == ("a", "b")


@pytest.mark.parametrize(
    ("size", "text"), [(0, "0B"), (1023, "1023B"), (1 << 10, "1KiB"), (3 << 29, "1536MiB"), (1 << 40, "1TiB")]
)
def test_a_size_is_written_as_it_is_read(size: int, text: str) -> None:
    assert (format_size(size), parse_size(text)) == (text, size)


def test_the_lease_spares_a_worker_that_misses_one_beat(tmp_path: Path) -> None:
    path = written(tmp_path, "worker:\n  heartbeat_interval: 15s\n  recycle_above: 1GiB\n")
    (problem,) = problems_of(path)
    assert problem.startswith(f"{path}:2:3: worker.lease must be more than twice worker.heartbeat_interval")
    assert settings.load(path, {"worker.lease": "31s"}, HOME).worker.lease == timedelta(seconds=31)


def test_a_collector_is_an_address(tmp_path: Path) -> None:
    environ = HOME | {"FUSTGO_TELEMETRY__OTLP_ENDPOINT": "https://ada:secret@host:4318/api/default"}
    loaded = settings.load(environ=environ)
    assert loaded.telemetry.otlp_endpoint == "https://ada:secret@host:4318/api/default"
    shown = {name: value for name, value, _ in loaded.rows()}
    assert shown["telemetry.otlp_endpoint"] == "https://ada:***@host:4318/api/default"


@pytest.mark.parametrize("text", ["", "# nothing\n", "log:\n", "log: {}\n", "\ufefflog:\n"])
def test_an_empty_file_or_section_changes_nothing(tmp_path: Path, text: str) -> None:
    assert settings.load(written(tmp_path, text), environ=HOME).log.level == "INFO"


def test_all_problems_come_at_once_with_line_and_column(tmp_path: Path) -> None:
    path = written(
        tmp_path,
        "log: {level: LOUD}\nworker:\n  leese: 3s\n  lease: 5 parsecs\ndatabas:\n  url: 3\nartifacts: hello\n"
        "worker.lease: 1m\n",
    )
    assert problems_of(path, FUSTGO_LGO__LEVEL="INFO", FUSTGO_DATABASE__URL="mysql://host/db") == [
        f"{path}:1:7: log.level: Input should be 'DEBUG', 'INFO', 'WARNING' or 'ERROR' (found LOUD)",
        f"{path}:3:3: unknown setting 'worker.leese'\n  hint: did you mean 'worker.lease'?",
        f"{path}:4:3: worker.lease: not a duration: write it like 30s, 5m, 2h or 1h30m (found 5 parsecs)",
        f"{path}:5:1: unknown section 'databas'\n  hint: did you mean 'database'?",
        f"{path}:7:1: artifacts must be a section with settings below it",
        f"{path}:8:1: unknown section 'worker.lease'\n  hint: write 'lease' below a section 'worker'",
        (
            "environment variable FUSTGO_DATABASE__URL: database.url: write sqlite:////absolute/path.db, "
            "sqlite:///{home}/name.db, or postgresql://user:password@host/database (found mysql://host/db)"
        ),
        (
            "environment variable FUSTGO_LGO__LEVEL: no setting has this name\n"
            "  hint: did you mean 'FUSTGO_LOG__LEVEL'?"
        ),
    ]


def test_toml_problems_name_their_lines(tmp_path: Path) -> None:
    path = written(tmp_path, '[log]\nlevel = "LOUD"\n[worker]\nlease = "nix"\nx = {}\n', "fustgo.toml")
    assert [problem.split(": ")[0] for problem in problems_of(path)] == [f"{path}:{n}:1" for n in (2, 4, 5)]


@pytest.mark.parametrize(
    ("text", "place", "said"),
    [
        ("log:\n  level: INFO\n  level: ERROR\n", "3:3", "given twice, first in line 2"),
        ("log:\n  level: [INFO]\n", "2:3", "must be one value"),
        ("log:\n  level:\n", "2:3", "must be one value"),
        ("log:\n  ? [a]\n  : b\n", "2:5", "unknown setting"),
        ("- log\n", "1:1", "holds sections"),
        ("log: [\n", "2:1", "not YAML"),
        ("log: a\n---\nlog: b\n", "2:1", "not YAML"),
        ("log: &loop\n  level: *loop\n", "2:3", "must be one value"),
        ("worker: {lease: -3s}\n", "1:10", "not a duration"),
        ("worker: {lease: 0}\n", "1:10", "at least 5s"),
        ("artifacts: {path: here}\n", "1:13", "must be absolute"),
        ("log: {folder: here}\n", "1:7", "must be absolute"),
        ("log: {max_bytes: 1kB}\n", "1:7", "greater than or equal to 4096"),
        ("log: {max_bytes: much}\n", "1:7", "not a size"),
        ("bundle: {dags: /dags}\n", "1:10", "inside the bundle"),
        ("bundle: {include: [ok, ../x]}\n", "1:10", "'../x' leads out"),
        ("bundle: {include: [[a]]}\n", "1:10", "valid string"),
        ("bundle: {path: [a]}\n", "1:10", "must be one value"),
        ("telemetry: {otlp_endpoint: 'host:4318'}\n", "1:13", "http://host:4318"),
        ("telemetry: {otlp_endpoint: 'http://host:4318/v1/traces'}\n", "1:13", "leave the /v1/... away"),
        ("telemetry: {interval: 10ms}\n", "1:13", "at least 1s"),
        ("worker: {slots: 0}\n", "1:10", "greater than or equal to 1"),
        ("worker: {slots: all}\n", "1:10", "integer"),
        ("worker: {labels: ['a b']}\n", "1:10", "'a b' is no label"),
        ("worker: {heartbeat_interval: 0}\n", "1:10", "at least 100ms"),
        ("worker: {memory_limit: 1MiB}\n", "1:10", "at least 64MiB"),
        ("worker: {lease: 30d}\n", "1:10", "at most 20d"),
        ("database: {url: 'sqlite:///here.db'}\n", "1:12", "absolute/path"),
    ],
)
def test_what_yaml_can_get_wrong_is_said_where_it_is(
    tmp_path: Path, text: str, place: str, said: str
) -> None:
    must_be_told(tmp_path, text, place, said)


def test_broken_toml_names_the_line(tmp_path: Path) -> None:
    path = written(tmp_path, "[log\n", "fustgo.toml")
    assert problems_of(path)[0].startswith(f"{path}:1:5: not TOML")


def test_a_binary_file_is_said_to_be_no_text(tmp_path: Path) -> None:
    path = tmp_path / "fustgo.yaml"
    path.write_bytes(b"log: \xff\xfe")
    with pytest.raises(SettingsError, match=r"not UTF-8 text \(byte 6\)"):
        settings.load(path, environ=HOME)
    path.write_bytes(b"log: \x00")
    assert "not YAML" in problems_of(path)[0]


@pytest.mark.parametrize(
    ("name", "said"), [("absent.yaml", "No such file"), (".", "a directory"), ("x.ini", "neither")]
)
def test_a_file_that_cannot_be_read_is_named(tmp_path: Path, name: str, said: str) -> None:
    written(tmp_path, "", "x.ini")
    with pytest.raises(SettingsError, match=said) as caught:
        settings.load(tmp_path / name, environ=HOME)
    assert str(tmp_path) in str(caught.value)
    assert caught.value.exit_code == 2


def test_what_shares_the_prefix_is_no_setting() -> None:
    others = {"FUSTGO_CONN_CRM": "x", "FUSTGO_VAR_REGION": "eu", "FUSTGO_CRASH": "", "FUSTGO_CRASH_LOG": ""}
    assert settings.load(environ=HOME | others) == settings.load(environ=HOME)


def test_an_unknown_flag_is_a_problem() -> None:
    with pytest.raises(Problems, match="flag: unknown setting 'log.levl'\n  hint: did you mean 'log.level'"):
        settings.load(flags={"log.levl": "INFO"}, environ=HOME)


def test_settings_are_immutable() -> None:
    with pytest.raises(ValueError, match="frozen"):
        settings.load(environ=HOME).log.level = "DEBUG"


def test_the_schema_accepts_the_sample_and_refuses_what_loading_refuses() -> None:
    schema = settings.json_schema()
    jsonschema.Draft202012Validator.check_schema(schema)
    jsonschema.validate(yaml.safe_load(SAMPLE.read_text()), schema)
    worker = schema["$defs"]["WorkerSettings"]["properties"]
    defaults = {
        "lease": "30s",
        "memory_limit": "none",
        "recycle_above": "256MiB",
        "slots": "cores",
        "labels": [],
    }
    assert {name: worker[name]["default"] for name in defaults} == defaults
    wrongs: list[dict[str, object]] = [
        {"log": {"level": "LOUD"}},
        {"log": {"levl": "INFO"}},
        {"lgo": {}},
        {"worker": {"lease": []}},
    ]
    for wrong in wrongs:
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate(wrong, schema)


def test_the_home_is_created_for_its_owner_only(tmp_path: Path) -> None:
    home = tmp_path / "a" / "b"
    settings.create_home(home)
    settings.create_home(home)
    assert stat.S_IMODE(home.stat().st_mode) == 0o700


def test_a_home_that_cannot_be_is_said(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="cannot create the home"):
        settings.create_home(written(tmp_path, "") / "home")


def command(*words: str, file: Path | None = None) -> int:
    parser = argparse.ArgumentParser()
    parser.set_defaults(config=file)
    config.register(parser)
    args = parser.parse_args(words)
    code: int = args.run(args)
    return code


def test_config_show_prints_value_and_source(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = written(tmp_path, "log: {level: error}\n")
    assert command("show", file=path) == 0
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert ["log.level", "=", "ERROR", "#", f"{path}:1"] in lines
    assert ["worker.lease", "=", "30s", "#", "default"] in lines
    assert ["worker.recycle_above", "=", "256MiB", "#", "default"] in lines
    assert ["worker.memory_limit", "=", "none", "#", "default"] in lines
    assert [line[0] for line in lines] == ["home", *settings.KEYS]


def test_config_show_json_is_for_programs(capsys: pytest.CaptureFixture[str]) -> None:
    assert command("show", "--json") == 0
    shown = json.loads(capsys.readouterr().out)
    assert shown["worker.lease"] == {"value": "30s", "source": "default"}


def test_config_schema_prints_the_schema(capsys: pytest.CaptureFixture[str]) -> None:
    assert command("schema") == 0
    assert json.loads(capsys.readouterr().out) == settings.json_schema()
