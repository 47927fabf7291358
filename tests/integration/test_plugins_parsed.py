"""A tree with plugins, read by the scheduler's forks: each plugin is read too, and a broken one is told."""

from __future__ import annotations

import os
from pathlib import Path

from orchestrator.dag.candidates import candidates
from orchestrator.scheduler.parsing.parsers import Parsed, Parsers
from tests.support.plugin_files import BROKEN, DAG_PYTHON, DAG_YAML, VISITS, tree

FILES = {
    "visits.yaml": DAG_YAML,
    "visits.py": DAG_PYTHON,
    "sessions.yaml": DAG_YAML.replace("type: visits", "type: sessions"),
    "data.json": "[1]",
    "shared.py": "LOUD = 1",
    "plugins/visits.py": f"from shared import LOUD\n{VISITS}",
    "plugins/broken.py": BROKEN,
    "plugins/geo/__init__.py": "from plugins.geo.shapes import ROUND",
    "plugins/geo/shapes.py": "ROUND = 1",
    "plugins/geo/shapes.json": "{}",
}


def parsed(folder: Path) -> dict[str, Parsed]:
    """What each file holds that is read."""
    stop, end = os.pipe()
    try:
        with Parsers(folder, stop) as parsers:
            found = parsers.parse(folder, candidates(FILES), 30.0)
            return {one.file: one for one in found}
    finally:
        os.close(stop)
        os.close(end)


def test_dags_use_plugins_and_a_broken_plugin_stops_only_who_uses_it(tmp_path: Path) -> None:
    found = parsed(tree(tmp_path, FILES))
    plugins = ["plugins/broken.py", "plugins/geo/__init__.py", "plugins/visits.py"]
    assert sorted(found) == ["data.json", *plugins, "sessions.yaml", "shared.py", "visits.py", "visits.yaml"]
    assert {file for file, one in found.items() if one.error} == {"plugins/broken.py", "sessions.yaml"}
    why = f"{tmp_path}/plugins/broken.py:7: NameError: name 'undefined' is not defined"
    assert str(found["plugins/broken.py"].error).startswith(f"{why}\n")
    said = f"unknown operator 'sessions': plugins/broken.py could not be imported: {why}"
    assert said in str(found["sessions.yaml"].error)
    for file in ("visits.py", "visits.yaml"):
        [dag] = found[file].dags
        assert [node["type"] for node in dag.document["nodes"]] == ["csv", "visits", "python", "csv"]
        assert found[file].imports == {"shared.py"}
