"""The project file, the lock files and the code tell the same story."""

from __future__ import annotations

import importlib.metadata
import re
import sys
from collections.abc import Iterator

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.architecture.project import PACKAGES, ROOT, files, imports, product_files, project, shown

# Used, but never imported by name.
NOT_IMPORTED = {
    "tzdata": "zoneinfo reads it where the system has no zones",
    "opentelemetry-exporter-otlp-proto-http": "its modules lie below those of opentelemetry-sdk",
}
# Imported with what it belongs to, and by plugin authors who have pytest when they run the suites.
NOT_DECLARED = {"pydantic_core": "a part of pydantic", "pytest": "sdk.conformance is imported by tests only"}
# Where the name to import is not the name to install.
IMPORTED_AS = {"pyyaml": "yaml", "opentelemetry-sdk": "opentelemetry"}

Pins = dict[str, list[Requirement]]


def declared() -> dict[str, Requirement]:
    return {canonicalize_name(r.name): r for r in map(Requirement, project()["project"]["dependencies"])}


def developing() -> dict[str, Requirement]:
    return {canonicalize_name(r.name): r for r in map(Requirement, project()["dependency-groups"]["dev"])}


def locked(name: str) -> Iterator[tuple[Requirement, str]]:
    """Every pin of a lock file, with the lines below it (hashes, and who wants it)."""
    text = (ROOT / name).read_text(encoding="utf-8")
    for block in re.split(r"\n(?=\S)", text.strip()):
        head, _, rest = block.partition(" \\\n")
        yield Requirement(head), rest


def pins(name: str) -> Pins:
    found: Pins = {}
    for requirement, _ in locked(name):
        found.setdefault(canonicalize_name(requirement.name), []).append(requirement)
    return found


def wanted_by_us(name: str) -> set[str]:
    return {
        canonicalize_name(pin.name)
        for pin, rest in locked(name)
        if re.search(r"#.* fustgo \(|fustgo:dev", rest)
    }


def test_the_version_stands_in_one_place() -> None:
    version = project()["project"]["version"]
    assert importlib.metadata.version("fustgo") == version, "run `make setup`"
    pattern = re.compile(rf"(?<![\w.=<>~]){re.escape(version)}(?![\w.])")
    places = {
        shown(path)
        for path in files()
        if path.suffix in {".py", ".toml", ".yaml", ".yml", ".json"}
        or path.name in {"Makefile", "Dockerfile"}
        if path.is_file() and pattern.search(path.read_text(encoding="utf-8"))
    }
    assert places == {"pyproject.toml"}


@pytest.mark.parametrize("name", ["requirements.lock", "dev.lock"])
def test_every_pin_has_a_hash_and_names_no_host_or_path(name: str) -> None:
    for pin, rest in locked(name):
        assert re.search(r"--hash=sha256:[0-9a-f]{64}", rest), f"{pin} has no hash"
        assert not pin.url, f"{pin} is a URL"
    text = (ROOT / name).read_text(encoding="utf-8")
    assert not re.search(r"://|^-|(?<![\w.])/\w|\.\./", text, re.MULTILINE), (
        "a lock names a host, an option or a path"
    )


@pytest.mark.parametrize("name", ["requirements.lock", "dev.lock"])
def test_the_locks_hold_what_the_project_file_asks_for(name: str) -> None:
    asked = declared() if name == "requirements.lock" else {**developing(), **declared()}
    assert wanted_by_us(name) == asked.keys(), "run `make lock`"
    for package, requirement in asked.items():
        for pin in pins(name)[package]:
            (exact,) = pin.specifier
            assert requirement.specifier.contains(exact.version), (
                f"{pin} is not {requirement}: run `make lock`"
            )


def test_developers_run_what_users_run() -> None:
    developers = pins("dev.lock")
    for package, users in pins("requirements.lock").items():
        assert developers[package] == users, "run `make lock`"


def test_this_environment_is_the_locked_one() -> None:
    for package, candidates in pins("dev.lock").items():
        here = [pin for pin in candidates if pin.marker is None or pin.marker.evaluate()]
        for pin in here:
            assert pin.specifier.contains(importlib.metadata.version(package)), f"not {pin}: run `make setup`"


def test_every_dependency_ends_before_its_next_major_version() -> None:
    unbounded = {name for name, r in declared().items() if not any(s.operator == "<" for s in r.specifier)}
    assert unbounded == {"tzdata"}


def test_what_is_imported_is_declared_and_what_is_declared_is_imported() -> None:
    modules = {IMPORTED_AS.get(name, name): name for name in declared()}
    own = {*sys.stdlib_module_names, *PACKAGES, *NOT_DECLARED}
    used: dict[str, str] = {}
    for path in product_files():
        for module, line in imports(path):
            if (top := module.partition(".")[0]) not in own:
                used.setdefault(top, shown(path, line))
    assert not {top: place for top, place in used.items() if top not in modules}, "imported, not declared"
    idle = {name for module, name in modules.items() if module not in used} - NOT_IMPORTED.keys()
    assert not idle, f"declared, never imported: {sorted(idle)}"


def test_the_index_of_operators_is_what_is_installed() -> None:
    group = importlib.metadata.entry_points(group="fustgo.operators")
    installed = {point.name: point.value for point in group if point.dist and point.dist.name == "fustgo"}
    assert installed == project()["project"]["entry-points"]["fustgo.operators"], "run `make setup`"


def test_every_entry_of_the_index_is_a_module() -> None:
    for name, module in project()["project"]["entry-points"]["fustgo.operators"].items():
        path = ROOT / module.replace(".", "/")
        assert path.with_suffix(".py").is_file() or (path / "__init__.py").is_file(), f"{name}: no {module}"
