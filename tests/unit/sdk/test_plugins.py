"""Plugins of a tree: which operators they give, to whom, and what a broken one costs."""

from __future__ import annotations

import importlib
import os
import pickle
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from orchestrator.dag.discovery import LoadedDag, load_one
from orchestrator.dag.validation import check
from orchestrator.sdk import plugin_modules
from orchestrator.sdk.conformance import ProcessorConformance
from orchestrator.sdk.decorated import find_function, functions_of
from orchestrator.sdk.function import ProcessorFunction
from orchestrator.sdk.plugins import load_plugins
from orchestrator.sdk.processor import Processor
from orchestrator.sdk.properties import Kind
from orchestrator.sdk.registry import Registry, UnknownOperator
from tests.support.plugin_files import BROKEN, DAG_PYTHON, DAG_YAML, VISITS, tree

PLUGINS = {"plugins/visits.py": VISITS, "visits.yaml": DAG_YAML, "visits.py": DAG_PYTHON}


@pytest.fixture(autouse=True)
def nobody_elses() -> Iterator[None]:
    """Nothing of a tree is left in this process."""
    path = list(sys.path)
    yield
    plugin_modules.forget()
    sys.path[:] = path


def problems(loaded: LoadedDag) -> list[str]:
    return list(map(str, check(loaded.dag, loaded.marks, loaded.registry).problems))


def declaring(*types: str) -> str:
    classes = (f"@operator({name!r})\nclass {name.title()}(Processor):\n    pass\n" for name in types)
    return (
        "from orchestrator.sdk.operator import operator\nfrom orchestrator.sdk.processor import Processor\n"
        + "\n".join(classes)
    )


@pytest.mark.parametrize("name", ["visits.yaml", "visits.py"])
def test_a_dag_uses_the_plugins_of_its_tree_by_type_and_by_import(tmp_path: Path, name: str) -> None:
    loaded = load_one(tree(tmp_path, PLUGINS) / name, registry=Registry())
    assert problems(loaded) == []
    assert [node.type for node in loaded.dag.nodes] == ["csv", "visits", "python", "csv"]
    assert loaded.dag.nodes[2].config["function"] == "plugins/visits.py:same"


def test_the_plugins_of_a_tree_are_nobody_elses(tmp_path: Path) -> None:
    other = tree(tmp_path / "other", {"visits.yaml": DAG_YAML.replace("plugins/visits.py:same", "a.b:c")})
    mine = tree(tmp_path / "mine", PLUGINS)
    plain = Registry()
    assert plain.of_tree(mine).find("visits", Kind.PROCESSOR).__name__ == "Visits"
    for registry in (plain, plain.of_tree(other), plain.of_tree(mine).of_tree(other)):
        with pytest.raises(UnknownOperator, match="unknown operator 'visits'"):
            registry.kinds("visits")
    [said, *_] = problems(load_one(other / "visits.yaml", registry=plain.of_tree(mine)))
    assert "unknown operator 'visits'" in said


def test_nothing_is_imported_before_a_type_is_asked_for_that_nobody_else_has(tmp_path: Path) -> None:
    registry = Registry().of_tree(tree(tmp_path, {"plugins/loud.py": "raise AssertionError('imported')"}))
    registry.find("csv", Kind.INPUT)
    assert "fustgo_dags.plugins.loud" not in sys.modules
    assert "loud.py:1: AssertionError: imported" in registry.plugins.errors["plugins/loud.py"]


def test_a_module_is_one_object_under_both_names_and_leaves_no_bytecode(tmp_path: Path) -> None:
    files = {
        "plugins/a.py": "from plugins import b\nfrom plugins.geo.shapes import ROUND\nNAME = b.NAME",
        "plugins/b.py": "import plugins.a\nNAME = __name__",
        "plugins/geo/__init__.py": "from .shapes import ROUND",
        "plugins/geo/shapes.py": "ROUND = object()",
    }
    assert not load_plugins(tree(tmp_path, files)).errors
    for name in ("a", "b", "geo", "geo.shapes"):
        module = importlib.import_module(f"plugins.{name}")
        assert module is importlib.import_module(f"fustgo_dags.plugins.{name}")
        assert module.__spec__ is not None
        assert module.__spec__.name == module.__name__ == f"fustgo_dags.plugins.{name}"
    assert not list(tmp_path.rglob("__pycache__"))


def test_an_installed_package_of_that_name_keeps_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    installed = tree(tmp_path / "installed", {"plugins/__init__.py": "", "plugins/visits.py": "MINE = 1"})
    monkeypatch.syspath_prepend(installed)
    monkeypatch.delitem(sys.modules, "plugins", raising=False)
    registry = Registry().of_tree(tree(tmp_path / "tree", PLUGINS))
    visits = registry.find("visits", Kind.PROCESSOR)
    try:
        assert importlib.import_module("plugins.visits").MINE == 1
        assert vars(importlib.import_module("fustgo_dags.plugins.visits"))["Visits"] is visits
    finally:
        del sys.modules["plugins"], sys.modules["plugins.visits"]


def test_functions_and_classes_of_plugins_are_found_again_and_pickled(tmp_path: Path) -> None:
    package = {"plugins/geo/__init__.py": VISITS.replace('"visits"', '"geo"')}
    registry = Registry().of_tree(tree(tmp_path, PLUGINS | package))
    visits: Any = registry.find("visits", Kind.PROCESSOR).model_validate({"column": "a"})
    again = pickle.loads(pickle.dumps(visits))
    assert (type(again), again.column) == (type(visits), "a")
    with functions_of(tmp_path):
        for place in ("plugins/visits.py", "plugins/geo/__init__.py"):
            found: ProcessorFunction[Any] = find_function(f"{place}:same", ProcessorFunction)
            assert found.reference == f"{place}:same"
            module = importlib.import_module(
                place.removesuffix(".py").removesuffix("/__init__").replace("/", ".")
            )
            assert found is module.same


def test_a_plugin_that_fails_costs_only_who_uses_its_types(tmp_path: Path) -> None:
    files = PLUGINS | {
        "plugins/broken.py": BROKEN,
        "plugins/syntax.py": "def (",
        "plugins/ends.py": "raise SystemExit(3)",
        "plugins/no-name.py": "",
        "plugins/deep.py": "import helper",
        "helper.py": "\nimport nowhere_at_all",
    }
    registry = Registry().of_tree(tree(tmp_path, files))
    assert registry.find("visits", Kind.PROCESSOR)
    first = {file: text.splitlines()[0] for file, text in registry.plugins.errors.items()}
    folder = tmp_path.resolve()
    assert first == {
        "plugins/broken.py": f"{folder}/plugins/broken.py:7: NameError: name 'undefined' is not defined",
        "plugins/deep.py": f"{folder}/helper.py:2: ModuleNotFoundError: No module named 'nowhere_at_all'",
        "plugins/ends.py": f"{folder}/plugins/ends.py:1: SystemExit: 3",
        "plugins/no-name.py": (
            f"{folder}/plugins/no-name.py:0: ImportError: its name is no module's: letters, digits, '_'"
        ),
        "plugins/syntax.py": f"{folder}/plugins/syntax.py:1: SyntaxError: invalid syntax",
    }
    assert "plugins/deep.py" in registry.plugins.errors["plugins/deep.py"].split("\n", 1)[1]
    said = "unknown operator 'sessions': plugins/broken.py could not be imported: .*broken.py:7: NameError"
    with pytest.raises(UnknownOperator, match=said):
        registry.kinds("sessions")
    with pytest.raises(UnknownOperator, match="unknown operator 'visit'\n") as caught:
        registry.kinds("visit")
    assert caught.value.hint == "did you mean 'visits'?"


def test_a_type_of_two_plugins_is_nobodys_and_both_places_are_named(tmp_path: Path) -> None:
    files = {"plugins/a.py": declaring("fine", "twice"), "plugins/b.py": declaring("twice")}
    registry = Registry().of_tree(tree(tmp_path, files))
    assert registry.find("fine", Kind.PROCESSOR)
    with pytest.raises(UnknownOperator, match=r"two plugins give .*/a.py:7 and .*/b.py:3"):
        registry.kinds("twice")
    assert sorted(registry.plugins.errors) == ["plugins/a.py", "plugins/b.py"]


def test_what_is_installed_keeps_its_meaning_beside_a_plugin_of_its_type(tmp_path: Path) -> None:
    registry = Registry().of_tree(tree(tmp_path, {"plugins/a.py": declaring("csv", "fine")}))
    assert set(registry.kinds("csv")) == {Kind.INPUT, Kind.OUTPUT}
    assert registry.find("fine", Kind.PROCESSOR)
    assert "/plugins/a.py:3: operator 'csv' is there already: " in registry.plugins.errors["plugins/a.py"]
    assert "csv" in registry.plugins.errors["plugins/a.py"]


def test_a_changed_plugin_is_imported_anew(tmp_path: Path) -> None:
    file = tree(tmp_path, PLUGINS) / "visits.py"
    assert problems(load_one(file, registry=Registry())) == []
    tree(tmp_path, {"plugins/visits.py": VISITS.replace('operator("visits")', 'operator("visited")')})
    loaded = load_one(file, registry=Registry())
    assert problems(loaded) == []
    assert loaded.dag.nodes[1].type == "visited"
    with pytest.raises(UnknownOperator, match="unknown operator 'visits'"):
        loaded.registry.kinds("visits")


def test_a_script_beside_its_plugins_tests_its_dag_with_the_classes_that_it_has_imported(
    tmp_path: Path,
) -> None:
    tree(tmp_path, PLUGINS | {"people.csv": "name\nAda\nBo\nAda\n"})
    script = f"{DAG_PYTHON}\nassert dag.test().succeeded\nassert Visits.__module__ == 'plugins.visits'\n"
    tree(tmp_path, {"script.py": script})
    done = subprocess.run(
        [sys.executable, "script.py"],
        cwd=tmp_path,
        env=os.environ,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "out.csv").read_text() == "name,visit\nAda,1\nBo,1\nAda,2\n"


class TestVisitsConform(ProcessorConformance):
    """The suite that every operator passes, on one of a plugin."""

    @pytest.fixture(autouse=True)
    def _of_a_tree(self, tmp_path_factory: pytest.TempPathFactory) -> None:
        registry = Registry().of_tree(tree(tmp_path_factory.mktemp("tree"), PLUGINS))
        self.visits: Any = registry.find("visits", Kind.PROCESSOR)

    def processor(self) -> Processor:
        made: Processor = self.visits("x", column="text")
        return made

    def table(self) -> pa.Table:
        return super().table()
