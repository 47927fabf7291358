"""From files to DAGs: what a file is, how it is imported, and what is no DAG file."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from orchestrator.dag.discovery import load_file, load_one
from orchestrator.errors import FustgoError, Problems, UsageError
from orchestrator.sdk.importing import import_file
from tests.unit.dag.drafting import written
from tests.unit.dag.sample_operators import REGISTRY

DAG = """
with DAG("{name}"):
    CsvInput("a", path="x") >> CsvOutput("o", path="y")
"""


@pytest.mark.parametrize(
    ("name", "content", "message", "hint"),
    [
        ("missing.yaml", None, "there is no file", ""),
        ("folder.yaml", None, "is a folder", "name one DAG file"),
        ("dag.txt", b"id: x", "is no DAG file", ".yaml"),
        ("empty.py", b"", "is empty", ""),
        ("blank.json", b" \n", "is empty", ""),
        ("binary.yaml", b"\xff\xfe\x00", "is not UTF-8 text (byte 1)", ""),
        ("binary.py", b"\x80", "is not UTF-8 text (byte 1)", ""),
        ("zero.yaml", b"a: \x00", "zero bytes", ""),
        ("nothing.py", b"x = 1", "defines no DAG", "with DAG"),
    ],
)
def test_what_cannot_be_read_is_one_clear_error(
    tmp_path: Path, name: str, content: bytes | None, message: str, hint: str
) -> None:
    file = tmp_path / name
    if name == "folder.yaml":
        file.mkdir()
    elif content is not None:
        file.write_bytes(content)
    with pytest.raises(UsageError) as caught:
        load_file(file, registry=REGISTRY)
    assert str(file) in str(caught.value)
    assert message in str(caught.value)
    assert hint in str(caught.value)
    assert caught.value.exit_code == 2


def test_a_missing_file_names_a_neighbour_of_nearly_that_name(tmp_path: Path) -> None:
    (tmp_path / "adults.yaml").write_text("id: x")
    with pytest.raises(UsageError, match=r"did you mean 'adults\.yaml'"):
        load_file(tmp_path / "adult.yaml", registry=REGISTRY)


def test_a_file_that_may_not_be_read_is_a_clear_error(tmp_path: Path) -> None:
    file = written(tmp_path, "id: x")
    file.chmod(0)
    code = f"""
import os, sys
from pathlib import Path
from orchestrator.dag.discovery import load_file
from orchestrator.errors import UsageError
from orchestrator.sdk.registry import Registry
if os.getuid() == 0:  # root may read everything
    os.setgid(65534)
    os.setuid(65534)
try:
    load_file(Path({str(file)!r}), registry=Registry())
except UsageError as error:
    print(error)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == f"{file} cannot be read: Permission denied"


def test_a_python_file_is_imported_by_its_path_and_its_tree_is_searched_last(tmp_path: Path) -> None:
    (tmp_path / "team").mkdir()
    (tmp_path / "json.py").write_text("raise AssertionError('a file of a tree took the place of a module')")
    (tmp_path / "names.py").write_text("NAME = 'imported'")
    (tmp_path / "team" / "sibling.py").write_text("PREFIX = 'from_sibling_'")
    text = f"""
    import json
    import names
    from .sibling import PREFIX
    from fustgo_dags.team import sibling
    assert sibling.PREFIX is PREFIX
    {DAG.format(name="x").replace('"x"', "PREFIX + names.NAME", 1).strip().replace(chr(10), chr(10) + "    ")}
    HERE = __name__
    """
    written(tmp_path / "team", text, "load.py")
    loaded = load_one(tmp_path / "team" / "load.py", registry=REGISTRY, tree=tmp_path)
    assert loaded.dag.id == "from_sibling_imported"
    module = sys.modules["fustgo_dags.team.load"]
    assert vars(module)["HERE"] == "fustgo_dags.team.load"
    assert import_file(tmp_path, "team/load.py") is module
    assert sys.path[0] != str(tmp_path)


def test_a_file_that_changed_is_read_anew(tmp_path: Path) -> None:
    assert load_one(written(tmp_path, DAG.format(name="one"), "dag.py"), registry=REGISTRY).dag.id == "one"
    assert load_one(written(tmp_path, DAG.format(name="two"), "dag.py"), registry=REGISTRY).dag.id == "two"


def test_one_dag_of_several_is_chosen_by_its_id(tmp_path: Path) -> None:
    file = written(tmp_path, DAG.format(name="one") + DAG.format(name="two"), "dag.py")
    assert load_one(file, registry=REGISTRY, dag_id="two").dag.id == "two"
    with pytest.raises(UsageError, match="holds several DAGs: one, two"):
        load_one(file, registry=REGISTRY)
    with pytest.raises(UsageError, match="holds no DAG 'three'"):
        load_one(file, registry=REGISTRY, dag_id="three")


def test_a_file_outside_its_tree_is_refused(tmp_path: Path) -> None:
    (tmp_path / "tree").mkdir()
    file = written(tmp_path, DAG.format(name="one"), "dag.py")
    with pytest.raises(UsageError, match="lies outside the tree"):
        load_file(file, registry=REGISTRY, tree=tmp_path / "tree")


def test_an_error_in_an_imported_neighbour_stands_at_its_line(tmp_path: Path) -> None:
    (tmp_path / "neighbour.py").write_text("x = 1\ny = x / 0\n")
    with pytest.raises(Problems) as caught:
        load_file(written(tmp_path, "import neighbour", "dag.py"), registry=REGISTRY)
    [problem] = caught.value.problems
    assert (Path(problem.file).name, problem.line) == ("neighbour.py", 2)
    assert isinstance(caught.value, FustgoError)


def test_a_fault_in_an_imported_file_is_placed_once(tmp_path: Path) -> None:
    (tmp_path / "inner.py").write_text(
        "from orchestrator import processor\n\n\n@processor\ndef broken():\n    return 1\n", encoding="utf-8"
    )
    main = tmp_path / "main.py"
    main.write_text("import inner\n", encoding="utf-8")
    with pytest.raises(Problems) as caught:
        load_file(main, registry=REGISTRY)
    [problem] = caught.value.problems
    assert (problem.file, problem.message) == (str(tmp_path / "inner.py"), "broken takes no batch")
