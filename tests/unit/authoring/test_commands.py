"""`fustgo dags show`, `schema` and `plugins`: what they print and how they end."""

from __future__ import annotations

import json
from pathlib import Path

import jsonschema
import pytest

from orchestrator.cli.main import main
from orchestrator.dag.discovery import load_one
from orchestrator.sdk.registry import Registry
from tests.support.plugin_files import BROKEN, VISITS, tree

PIPELINES = Path(__file__).parent / "pipelines"


def test_show_prints_header_nodes_edges_and_stages(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["dags", "show", str(PIPELINES / "fan_out.yaml")]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "scores"
    shown = {line.split()[0]: line.split()[1:] for line in lines if line.strip()}
    assert shown["timezone"] == ["Europe/Berlin"]
    assert shown["load/best"] == ["csv", "output", "people"] or "  load/best before again" in lines
    assert "  people.rejects >> refused" in lines
    assert "  route.high >> load/table" in lines
    assert "  critical path  people > again" in lines


def test_a_rule_other_than_the_usual_one_is_shown_beside_what_its_stage_comes_after(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    file = tmp_path / "tidy.yaml"
    file.write_text(
        "nodes:\n"
        "  - {id: a, type: generate, config: {rows: 1}}\n"
        "  - {id: b, type: discard, from: a}\n"
        "  - {id: c, type: generate, config: {rows: 1}, after: [b], trigger_rule: all_done}\n"
        "  - {id: d, type: discard, from: c}\n"
        "  - {id: e, type: generate, config: {rows: 1}, after: [d], trigger_rule: all_success}\n"
        "  - {id: f, type: discard, from: e}\n"
    )
    assert main(["dags", "show", str(file)]) == 0
    shown = [line.split() for line in capsys.readouterr().out.splitlines() if "0  default" in line]
    assert [line[:5] for line in shown] == [
        ["a", "a,", "b", "-", "0"],
        ["c", "c,", "d", "a", "(all_done)"],
        ["e", "e,", "f", "c", "0"],
    ]
    assert main(["plan", str(file)]) == 0
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith("stage ")]
    assert lines == ["stage a", "stage c, after a (all_done)", "stage e, after c"]


def test_show_yaml_prints_the_full_form(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert main(["dags", "show", "--yaml", str(PIPELINES / "linear.py")]) == 0
    printed = tmp_path / "printed.yaml"
    printed.write_text(capsys.readouterr().out, encoding="utf-8")
    registry = Registry()
    original = load_one(PIPELINES / "linear.yaml", registry=registry)
    assert load_one(printed, registry=registry).dag == original.dag


def test_show_tells_all_problems_of_all_dags_and_ends_with_2(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    file = tmp_path / "two.py"
    file.write_text(
        "from orchestrator import DAG\n"
        "from operators import Discard, Generate\n"
        'with DAG("one"):\n'
        '    Generate("a", row=1)\n'
        'with DAG("two"):\n'
        '    Discard("b")\n'
    )
    assert main(["dags", "show", str(file)]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert f"{file}:4:23: generate input 'a' has no field 'row' (found 1)" in captured.err
    assert "did you mean 'rows'?" in captured.err
    assert f"{file}:6:5: output 'b' has no input" in captured.err


@pytest.mark.parametrize("argument", ["missing.yaml", "folder", "notes.txt"])
def test_show_of_what_is_no_dag_file_ends_with_2(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, argument: str
) -> None:
    (tmp_path / "folder").mkdir()
    assert main(["dags", "show", str(tmp_path / argument)]) == 2
    assert capsys.readouterr().err.startswith(
        f"error: {'there is no file ' if argument == 'missing.yaml' else ''}"
    )


def test_schema_is_printed_and_accepts_the_pipelines(capsys: pytest.CaptureFixture[str]) -> None:
    from orchestrator.dag.yaml_reader import read_yaml

    assert main(["schema"]) == 0
    schema = json.loads(capsys.readouterr().out)
    jsonschema.Draft202012Validator.check_schema(schema)
    for file in sorted(PIPELINES.glob("*.yaml")):
        document, _ = read_yaml(file.read_text(encoding="utf-8"), file.name)
        jsonschema.Draft202012Validator(schema).validate(document)


def test_plugins_are_listed_with_what_they_do(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["plugins", "list"]) == 0
    out = capsys.readouterr().out
    rows = [line.split()[:2] for line in out.splitlines()]
    for row in (["filter", "processor"], ["csv", "input"], ["csv", "output"], ["python", "processor"]):
        assert row in rows


def test_a_plugin_is_shown_with_its_fields_and_promises(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["plugins", "show", "filter"]) == 0
    out = capsys.readouterr().out
    assert out.startswith("filter (processor)\n")
    assert "condition" in out
    assert "string, template" in out
    assert "required" in out
    assert "each row comes from one row, in order" in out


def test_an_unknown_plugin_names_the_nearest(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["plugins", "show", "filtr"]) == 2
    assert "did you mean 'filter'?" in capsys.readouterr().err


def test_a_plugin_that_cannot_be_imported_stops_nothing_else(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from importlib.metadata import EntryPoint

    from orchestrator.sdk import registry

    broken = EntryPoint("brokn", "no_such_package.module", registry.GROUP)
    sound = EntryPoint("discard", "operators.discard", registry.GROUP)
    monkeypatch.setattr(registry, "entry_points", lambda group: [broken, sound])
    assert main(["plugins", "list"]) == 0
    out = capsys.readouterr().out
    assert "discard" in out
    assert "brokn: cannot be used" in out
    assert "ModuleNotFoundError" in out
    assert main(["schema"]) == 0
    assert "warning: operator 'brokn' is left out: ModuleNotFoundError" in capsys.readouterr().err


def test_operators_of_plugins_are_shown_and_in_the_schema_of_their_folder(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tree(tmp_path, {"plugins/visits.py": VISITS, "plugins/broken.py": BROKEN})
    assert main(["schema", "--dags", str(folder)]) == 0
    said = capsys.readouterr()
    document = {
        "id": "v",
        "nodes": [{"id": "v", "type": "visits", "kind": "processor", "config": {"column": 3}}],
    }
    with pytest.raises(jsonschema.ValidationError, match="3 is not of type 'string'"):
        jsonschema.validate(document, json.loads(said.out))
    assert said.err.startswith(f"warning: {folder}/plugins/broken.py:7: NameError")
    assert main(["plugins", "list", "--dags", str(folder)]) == 0
    listed = capsys.readouterr().out
    assert "Number the rows of each value of a column." in listed
    assert f"plugins/broken.py: cannot be used\n  {folder}/plugins/broken.py:7: NameError" in listed
    assert main(["plugins", "show", "visits", "--dags", str(folder)]) == 0
    assert "Whose rows are numbered." in capsys.readouterr().out
    assert main(["plugins", "show", "visits"]) == 2
    assert main(["schema", "--dags", str(folder / "nowhere")]) == 2
