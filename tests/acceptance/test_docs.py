"""The documents' snippets are true: files are written, commands are run, as a reader would.

A block after `<!-- file: NAME -->` is that file. In a `console` block every `$ fustgo`, `$ python` and
`$ pytest` line is run in the folder of the files so far, and must succeed.
"""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.commands import Shell
from tests.support.loaded import load

ROOT = Path(__file__).parents[2]
BLOCK = re.compile(
    r"(?:<!-- file: (?P<file>\S+) -->\n)?^```(?P<kind>\w+)\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL
)
COMMAND = re.compile(r"^\$ (fustgo|python|pytest) (.*?)(?:\s+#.*)?$", re.MULTILINE)


def run_python(folder: Path, program: str, line: str) -> None:
    """A script, or its tests, as its author runs them."""
    start = {"python": [sys.executable], "pytest": [sys.executable, "-m", "pytest", "-p", "no:cacheprovider"]}
    command = [*start[program], *shlex.split(line)]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


DOCUMENTS = [f"docs/{name}.md" for name in ("quickstart", "concepts", "dag-authoring", "operations")]


@pytest.mark.parametrize("document", DOCUMENTS)
def test_the_snippets_of_a_document_run(document: str, tmp_path: Path, home: Path) -> None:
    folder = tmp_path / "reader"
    folder.mkdir()
    shell = Shell(folder, home)
    ran = 0
    for block in BLOCK.finditer((ROOT / document).read_text(encoding="utf-8")):
        if block["file"]:
            path = folder / block["file"]
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(block["text"], encoding="utf-8")
        elif block["kind"] == "console":
            for program, line in COMMAND.findall(block["text"]):
                if program == "fustgo":
                    result = shell.run(*shlex.split(line))
                    assert result.code == 0, f"{document}: fustgo {line}\n{result}"
                else:
                    run_python(folder, program, line)
                ran += 1
    assert ran, f"{document} runs nothing"


def test_the_readme_example_runs_in_both_forms(tmp_path: Path, home: Path) -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    python, yaml = (re.search(rf"```{kind}\n(.*?)```", text, re.DOTALL) for kind in ("python", "yaml"))
    assert python
    assert yaml
    (tmp_path / "data").mkdir()
    (tmp_path / "data/people.csv").write_text("name,age\nAda,36\nBo,17\n")
    shell = Shell(tmp_path, home)
    for name, found in (("adults.py", python), ("adults.yaml", yaml)):
        (tmp_path / name).write_text(found[1])
        result = shell.run("run", name)
        assert result.code == 0, result
        assert (tmp_path / "out/adults.csv").read_text() == "full_name,age\nAda,36\n"
        (tmp_path / "out/adults.csv").unlink()
    load(home, tmp_path, "adults.py")
    result = shell.run("dags", "next", "adults", "--count", "1")
    assert re.search(r"^20\d\d-\d\d-\d\d 02:00:00\+00:00  in ", result.out, re.MULTILINE), result
