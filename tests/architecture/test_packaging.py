"""What `make build` builds is complete: installed elsewhere, it runs from an empty folder."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

from tests.architecture.project import PACKAGES, ROOT, files, project

BIN = Path(sys.executable).parent
PIPELINE = """\
id: ten_rows
input: {type: csv, config: {path: people.csv}}
processors:
  - {type: filter, config: {condition: "age > 18"}}
output: {type: csv, config: {path: adults.csv}}
"""
PEOPLE = "name,age\n" + "".join(f"person {n},{n + 10}\n" for n in range(10))


def run(*command: str | Path, cwd: Path, **environ: str) -> str:
    """The command's output; a failure shows what it said."""
    here = {key: text for key, text in os.environ.items() if not key.startswith(("FUSTGO_", "COV", "PYTHON"))}
    done = subprocess.run(
        [str(word) for word in command],
        cwd=cwd,
        env=here | environ,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, (
        f"{' '.join(map(str, command))} ended with {done.returncode}:\n{done.stdout}{done.stderr}"
    )
    return done.stdout


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the sdist of what is under version control, and the wheel built from that sdist."""
    source, target = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("dist")
    for path in files():
        copy = source / path.relative_to(ROOT)
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(path, copy, follow_symlinks=False)
    run(sys.executable, "-m", "build", "--no-isolation", "--outdir", target, source, cwd=source)
    return target


def only(folder: Path, pattern: str) -> Path:
    (path,) = folder.glob(pattern)
    return path


def shipped() -> set[str]:
    """Every file that the wheel must hold, by its name there."""
    names = {path.relative_to(ROOT).as_posix() for path in files() if path.is_file()}
    own = {name for name in names if name.split("/")[0] in PACKAGES}
    return own | {f"orchestrator/store/{name}" for name in names if name.startswith("migrations/")}


def test_the_wheel_holds_every_file_of_the_packages_and_nothing_else(built: Path) -> None:
    with zipfile.ZipFile(only(built, "*.whl")) as wheel:
        held = {name for name in wheel.namelist() if ".dist-info/" not in name}
        notices = {name.rpartition("/")[2] for name in wheel.namelist() if ".dist-info/licenses/" in name}
    assert held == shipped()
    assert notices == {"LICENSE", "NOTICE"}


def test_the_migrations_are_files_in_wheel_and_sdist(built: Path) -> None:
    with tarfile.open(only(built, "*.tar.gz")) as sdist:
        members = {member.name.partition("/")[2]: member for member in sdist.getmembers()}
    migrations = {name for name in shipped() if name.startswith("orchestrator/store/migrations/")}
    assert "orchestrator/store/migrations/env.py" in migrations
    assert all(members[name].isfile() for name in migrations)


@pytest.fixture(scope="module")
def installed(built: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The `bin` of a fresh environment: the wheel, the locked dependencies, nothing of this checkout."""
    environment = tmp_path_factory.mktemp("fresh") / "venv"
    run(BIN / "uv", "venv", "--quiet", "--python", sys.executable, environment, cwd=built)
    into = ("--quiet", "--python", environment / "bin" / "python", "--no-deps")
    locked = ("--require-hashes", "--requirement", ROOT / "requirements.lock")
    try:  # what `make setup` fetched is still in uv's cache, as a rule
        run(BIN / "uv", "pip", "install", *into, "--offline", *locked, cwd=built)
    except AssertionError:
        run(BIN / "uv", "pip", "install", *into, *locked, cwd=built)
    run(BIN / "uv", "pip", "install", *into, "--offline", only(built, "*.whl"), cwd=built)
    return environment / "bin"


def test_the_locked_dependencies_are_all_it_needs(installed: Path) -> None:
    run(BIN / "uv", "pip", "check", "--python", installed / "python", cwd=installed)


def test_the_installed_command_says_its_version(installed: Path, tmp_path: Path) -> None:
    version = project()["project"]["version"]
    assert run(installed / "fustgo", "--version", cwd=tmp_path).strip() == f"fustgo {version}"
    assert (
        run(installed / "python", "-m", "orchestrator", "--version", cwd=tmp_path).strip()
        == f"fustgo {version}"
    )


def test_the_installed_settings_need_no_file(installed: Path, tmp_path: Path) -> None:
    shown = run(
        installed / "fustgo", "config", "show", "--json", cwd=tmp_path, FUSTGO_HOME=str(tmp_path / "home")
    )
    assert json.loads(shown)["home"]["value"] == str(tmp_path / "home")


def test_a_pipeline_runs_from_an_empty_folder(installed: Path, tmp_path: Path) -> None:
    folder = tmp_path / "empty"
    folder.mkdir()
    (folder / "ten_rows.yaml").write_text(PIPELINE)
    (folder / "people.csv").write_text(PEOPLE)
    run(installed / "fustgo", "run", "ten_rows.yaml", cwd=folder, FUSTGO_HOME=str(tmp_path / "home"))
    assert (folder / "adults.csv").read_text() == "name,age\nperson 9,19\n"
