"""Which files are parsed again: those, and no fewer, that a change can have changed."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.dag.candidates import candidates
from orchestrator.scheduler.loading.changes import Known, Wanted, concerns_all, to_parse

ONE = frozenset({"one"})
BEFORE = {
    "a.py": "1",
    "b.py": "1",
    "c.yaml": "1",
    "broken.py": "1",
    "team/rows.py": "1",
    "team/lazy.py": "1",
    "query.sql": "1",
    "data.json": "1",
    "plugins/own.py": "1",
}
KNOWN = {
    "a.py": Known(frozenset({"team/rows.py"}), ids=ONE),
    "b.py": Known(ids=ONE),
    "c.yaml": Known(ids=ONE),
    "broken.py": Known(broken=True),
    "team/rows.py": Known(),
    "team/lazy.py": Known(),
    "data.json": Known(),
}


def changed_to(**files: str | None) -> dict[str, str]:
    """The files after a change: `a__py` is a.py, `team_rows__py` team/rows.py; None: gone."""
    named = {name.replace("__", ".").replace("_", "/"): digest for name, digest in files.items()}
    return {file: digest for file, digest in (BEFORE | named).items() if digest is not None}


@pytest.mark.parametrize(
    ("after", "wanted"),
    [
        (changed_to(), []),
        (changed_to(b__py="2"), ["b.py", "broken.py"]),
        (changed_to(c__yaml="2", b__py="2"), ["b.py", "c.yaml", "broken.py"]),
        (changed_to(new__py="1"), ["new.py", "broken.py"]),
        (changed_to(b__py=None), ["broken.py"]),
        (changed_to(broken__py=None), []),
        (changed_to(team_rows__py="2"), ["team/rows.py", "a.py", "broken.py"]),
        (changed_to(team_rows__py=None), ["a.py", "broken.py"]),
        (changed_to(team__py="1"), ["team.py", "a.py", "broken.py"]),
        (changed_to(team___init____py="1"), None),
        (changed_to(team_other__py="1"), ["team/other.py", "broken.py"]),
    ],
)
def test_parsed_is_what_changed_who_imported_it_and_what_was_broken(
    after: dict[str, str], wanted: list[str] | None
) -> None:
    if wanted is None:  # a package in place of a folder: its name is no keyword of a call
        after, wanted = BEFORE | {"team/__init__.py": "1"}, ["team/__init__.py", "a.py", "broken.py"]
    assert to_parse(BEFORE, after, KNOWN) == Wanted(wanted, [])


@pytest.mark.parametrize(
    "after",
    [
        changed_to(query__sql="2"),
        changed_to(query__sql=None),
        changed_to(data__json="2"),
        changed_to(team_lazy__py="2"),
        changed_to(plugins_own__py="2"),
        changed_to(plugins_more__py="1"),
        changed_to(plugins_own__py=None),
    ],
)
def test_a_plugin_and_what_nobody_is_known_to_read_concern_every_file(after: dict[str, str]) -> None:
    wanted = to_parse(BEFORE, after, KNOWN)
    assert sorted([*wanted.first, *wanted.then]) == sorted({*after} - {"query.sql"})


def test_what_is_new_and_turns_out_to_hold_no_dag_concerns_every_file() -> None:
    after = changed_to(new__json="1")
    assert to_parse(BEFORE, after, KNOWN) == Wanted(["new.json", "broken.py"], [])
    assert concerns_all(BEFORE, after, {**KNOWN, "new.json": Known()})
    assert not concerns_all(BEFORE, after, {**KNOWN, "new.json": Known(ids=ONE)})
    assert concerns_all(BEFORE, changed_to(new__sql="1"), KNOWN)
    assert not concerns_all(BEFORE, changed_to(team_rows__py="2", b__py="2"), KNOWN)
    assert concerns_all(BEFORE, changed_to(c__yaml="2"), {**KNOWN, "c.yaml": Known()})


def test_a_dag_file_that_is_broken_concerns_itself_only() -> None:
    after = changed_to(b__py="2", c__yaml="2", new__py="1")
    broken = {"b.py": Known(ids=ONE, broken=True), "c.yaml": Known(ids=ONE, broken=True)}
    assert not concerns_all(BEFORE, after, {**KNOWN, **broken, "new.py": Known(broken=True)})


# Against brute force: bundles of small programs, and an import system in thirty lines.


@dataclass(frozen=True)
class Program:
    """A file: the modules it imports, those it can do without, the data it reads; whether it holds a DAG."""

    imports: tuple[str, ...] = ()
    tries: tuple[str, ...] = ()
    reads: tuple[str, ...] = ()
    dag: bool = False
    salt: int = 0


Bundle = dict[str, Program]


@dataclass
class Parsing:
    """Parses one file of a bundle: what it finds, and which modules it imported."""

    bundle: Bundle
    imported: set[str] = field(default_factory=set)

    def of(self, file: str) -> tuple[object, ...]:
        program = self.bundle[file]
        return (
            program,
            [self.module(name) for name in program.imports],
            [self.attempt(name) for name in program.tries],
            [self.bundle[name] for name in program.reads if name in self.bundle and not self.holds(name)],
        )

    def holds(self, file: str) -> bool:
        return self.bundle[file].dag

    def attempt(self, name: str) -> object:
        try:
            return self.module(name)
        except ImportError:
            return None

    def module(self, name: str) -> list[object]:
        found: list[object] = []
        parts = name.split(".")
        for number in range(1, len(parts) + 1):
            stem = "/".join(parts[:number])
            file = next((each for each in (f"{stem}/__init__.py", f"{stem}.py") if each in self.bundle), None)
            last = number == len(parts)
            if file is None and not any(each.startswith(f"{stem}/") for each in self.bundle):
                raise ImportError(name)
            if file == f"{stem}.py" and not last:
                self.load(file, found)
                raise ImportError(name)
            if file is not None:
                self.load(file, found)
        return found

    def load(self, file: str, found: list[object]) -> None:
        if file not in self.imported:
            self.imported.add(file)
            found.append(self.of(file))


def parse(bundle: Bundle, file: str) -> tuple[object, Known]:
    if not file.endswith(".py"):
        return bundle[file] if bundle[file].dag else None, Known(ids=ONE if bundle[file].dag else frozenset())
    if not bundle[file].dag:  # a module, or data: it is not imported for itself
        return None, Known()
    parsing = Parsing(bundle)
    try:
        result: object = parsing.of(file)
    except ImportError as error:
        return str(error), Known(broken=True)
    return result, Known(frozenset(parsing.imported), ids=ONE)


MODULES = ["m.py", "team.py", "team/__init__.py", "team/rows.py"]
NAMES = ["m", "team.rows", "team", "a"]
DATA = ["query.sql", "conf.json", "lazy.py"]
DAGS = ["a.py", "b.py", "y.yaml"]
FILES = [*MODULES, *DATA, *DAGS]


def program(file: str) -> st.SearchStrategy[Program]:
    salt = st.integers(0, 9)
    if not file.endswith(".py") or file in DATA:
        dag = st.booleans() if file == "conf.json" else st.just(file in DAGS)
        return st.builds(Program, salt=salt, dag=dag)
    names = st.sampled_from([(name,) for name in NAMES])
    if file in MODULES:
        return st.builds(Program, st.one_of(st.just(()), names), salt=salt)
    reads = st.sampled_from([(name,) for name in DATA])
    return st.one_of(
        st.builds(Program, names, salt=salt, dag=st.just(True)),
        st.builds(Program, tries=names, salt=salt, dag=st.just(True)),
        st.builds(Program, reads=reads, salt=salt, dag=st.booleans()),
    )


BUNDLES = st.fixed_dictionaries({}, optional={file: program(file) for file in FILES})


@st.composite
def histories(draw: st.DrawFn) -> list[Bundle]:
    """A bundle, and what becomes of it in a few changes of a few files each."""
    history = [draw(BUNDLES)]
    for _ in range(draw(st.integers(1, 4))):
        bundle = dict(history[-1])
        for file in draw(st.lists(st.sampled_from(FILES), min_size=1, max_size=3, unique=True)):
            if file in bundle and draw(st.booleans()):
                del bundle[file]
            else:
                bundle[file] = draw(program(file))
        history.append(bundle)
    return history


@settings(max_examples=400)
@given(histories())
def test_parsing_what_is_named_finds_what_parsing_everything_would(history: list[Bundle]) -> None:
    before: dict[str, str] = {}
    found: dict[str, object] = {}
    known: dict[str, Known] = {}
    for bundle in history:
        after = {file: repr(program) for file, program in bundle.items()}
        wanted = to_parse(before, after, known)
        found = {file: result for file, result in found.items() if file in after}
        known = {file: entry for file, entry in known.items() if file in after}
        for file in (*wanted.first, *wanted.then):
            found[file], known[file] = parse(bundle, file)
        if concerns_all(before, after, known):
            for file in candidates(after):
                found[file], known[file] = parse(bundle, file)
        assert found == {file: parse(bundle, file)[0] for file in candidates(after)}
        before = after
