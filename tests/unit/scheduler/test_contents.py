"""What is known of a bundle's files, and what follows from a change: pure."""

from __future__ import annotations

from pathlib import Path

from orchestrator.scheduler.bundles import Tree
from orchestrator.scheduler.loading.contents import Contents, News
from orchestrator.scheduler.parsing.parsers import Parsed
from orchestrator.store.loading import Loaded


def tree(version: str, **files: str) -> Tree:
    """`a=1` is a.py with these bytes."""
    return Tree(version, Path("/trees") / version, {f"{name}.py": digest for name, digest in files.items()})


def loaded(file: str, *ids: str) -> tuple[Loaded, ...]:
    return tuple(Loaded(dag_id, file, "hash", {}, {}) for dag_id in ids)


class Bundle(Contents):
    """Contents, and what is stored of them."""

    def __init__(self, **stored: str) -> None:
        """`a="x y"`: a.py had the DAGs x and y."""
        super().__init__("/dags", {f"{file}.py": frozenset(ids.split()) for file, ids in stored.items()})
        self.has: dict[str, str] = {
            dag_id: f"{file}.py" for file, ids in stored.items() for dag_id in ids.split()
        }
        self.said: dict[str, str | None] = {}

    def parse(self, name: str, ids: str = "", *, error: str | None = None, slow: bool = False) -> None:
        file = f"{name}.py"
        parsed = Parsed(file, loaded(file, *ids.split()), error=error, slow=slow)
        self._keep(self.take(parsed, error, last=False))

    def settle(self) -> None:
        self._keep(self.sort_out())
        self.has = {dag_id: file for dag_id, file in self.has.items() if dag_id in self.ids}
        self.settled = True

    def _keep(self, news: News) -> None:
        self.has |= {dag.dag_id: dag.file for dag in news.dags}
        self.said |= news.errors

    @property
    def wrong(self) -> dict[str, str]:
        return {file: error for file, error in self.said.items() if error is not None}


def loaded_bundle() -> Bundle:
    """a.py has x, b.py has y."""
    bundle = Bundle()
    bundle.change(tree("v1", a="1", b="1"))
    bundle.parse("b", "y")
    bundle.parse("a", "x")
    bundle.settle()
    assert bundle.has == {"x": "a.py", "y": "b.py"}
    assert bundle.due(9) == []
    return bundle


def test_of_two_new_files_with_one_id_the_first_by_name_has_it_whichever_is_parsed_first() -> None:
    for order in (("a", "b"), ("b", "a")):
        bundle = Bundle()
        bundle.change(tree("v1", a="1", b="1"))
        for name in order:
            bundle.parse(name, "x" if name == "a" else "x y")
        bundle.settle()
        assert bundle.has == {"x": "a.py", "y": "b.py"}
        said = "/dags/b.py: a second DAG 'x', the first is in /dags/a.py"
        assert bundle.wrong == {"b.py": f"{said}\n  hint: give one of them another id"}


def test_who_had_an_id_before_keeps_it_while_it_has_it() -> None:
    bundle = Bundle(b="x")
    bundle.change(tree("v1", a="1", b="1"))
    bundle.parse("a", "x")
    bundle.parse("b", "x")
    bundle.settle()
    assert (bundle.has, [*bundle.wrong]) == ({"x": "b.py"}, ["a.py"])
    bundle.change(tree("v2", a="1", b="2"))
    assert bundle.due(9) == ["b.py", "a.py"]  # a.py is broken: perhaps it no longer is
    bundle.parse("b", "z")
    bundle.parse("a", "x")
    bundle.settle()
    assert (bundle.has, bundle.wrong) == ({"x": "a.py", "z": "b.py"}, {})


def test_a_dag_that_moves_to_another_file_is_never_gone_in_between() -> None:
    for order in (("a", "b"), ("b", "a")):
        bundle = loaded_bundle()
        bundle.change(tree("v2", a="2", b="2"))
        for name in order:
            bundle.parse(name, "" if name == "a" else "x y")
            assert "x" in bundle.ids
        bundle.settle()
        assert (bundle.has, bundle.wrong) == ({"x": "b.py", "y": "b.py"}, {})


def test_a_broken_file_keeps_its_dags_and_their_ids() -> None:
    bundle = loaded_bundle()
    bundle.change(tree("v2", a="2", b="2"))
    bundle.parse("a", error="a.py:1: wrong")
    bundle.parse("b", "x y")
    bundle.settle()
    assert bundle.has == {"x": "a.py", "y": "b.py"}
    assert {*bundle.wrong} == {"a.py", "b.py"}
    assert bundle.staying == {"a.py"}
    bundle.change(tree("v3", b="2"))
    bundle.parse("b", "x y")
    bundle.settle()
    assert (bundle.has, bundle.wrong, bundle.errors) == (
        {"x": "b.py", "y": "b.py"},
        {"a.py": "a.py:1: wrong"},  # its row goes with the file
        {},
    )


def test_a_file_that_is_broken_when_the_scheduler_starts_keeps_what_was_loaded_of_it() -> None:
    bundle = Bundle(a="x y", gone="z")
    bundle.change(tree("v9", a="2", b="1"))
    assert bundle.ids == {"x", "y", "z"}  # nothing is removed before its file was looked for
    bundle.parse("a", error="a.py:1: wrong")
    bundle.parse("b", "x")
    bundle.settle()
    assert ({*bundle.ids}, bundle.staying, {*bundle.wrong}) == ({"x", "y"}, {"a.py"}, {"a.py", "b.py"})


def test_a_file_that_hangs_is_set_aside_and_not_tried_again_first() -> None:
    bundle = loaded_bundle()
    bundle.change(tree("v2", a="2", b="1"))
    bundle.parse("a", error="took long", slow=True)
    assert (bundle.due(9), [*bundle.slow], bundle.staying) == ([], ["a.py"], {"a.py"})
    bundle.settle()
    bundle.change(tree("v3", a="2", b="2"))
    assert (bundle.due(9), [*bundle.slow]) == (["b.py"], ["a.py"])
    bundle.change(tree("v4", a="3", b="2"))  # it has changed: perhaps it hangs no more
    assert (bundle.due(9), [*bundle.slow]) == (["a.py", "b.py"], [])


def test_a_change_during_a_round_goes_first_and_nothing_of_the_round_is_forgotten() -> None:
    bundle = Bundle()
    bundle.change(tree("v1", a="1", b="1", c="1", m="1"))
    bundle.parse("a", "x")
    bundle.change(tree("v2", a="1", b="1", c="2", m="1"))
    assert bundle.due(2) == ["c.py", "b.py"]
    assert bundle.due(9) == ["c.py", "b.py", "m.py"]
    for name, ids in (("c", "z"), ("b", "y"), ("m", "")):
        bundle.parse(name, ids)
    bundle.settle()
    assert bundle.due(9) == ["a.py"]  # m.py is no DAG file, and new since a.py was parsed
    bundle.parse("a", "x")
    assert bundle.due(9) == []
    bundle.settle()
    assert bundle.has == {"x": "a.py", "y": "b.py", "z": "c.py"}


def test_what_could_not_be_stored_is_wrong_until_it_is_parsed_again() -> None:
    bundle = loaded_bundle()
    bundle.refuse({"a.py": "x is another bundle's"})
    bundle.settle()
    assert bundle.errors == {"a.py": "x is another bundle's"}
    bundle.retry(["a.py", "gone.py"])
    assert bundle.due(9) == ["a.py"]
    bundle.parse("a", "x")
    bundle.settle()
    assert bundle.errors == {}


def test_a_file_that_was_given_up_for_a_change_holds_up_nothing_and_is_read_whatever_changes() -> None:
    bundle = loaded_bundle()
    before = tree("v2", a="1", b="1", slow="1", data="1")
    bundle.change(before)
    bundle.set_aside(["slow.py"])
    bundle.parse("data")
    bundle.settle()
    for digest in ("2", "3"):
        bundle.change(tree(f"v{digest}", a="1", b="1", slow="1", data=digest))
        assert "slow.py" not in bundle.due(9)
        assert [*bundle.slow] == ["slow.py"]
    news = bundle.take_late(before, Parsed("slow.py", loaded("slow.py", "z")), None)
    assert [dag.dag_id for dag in news.dags] == ["z"]
    assert [*bundle.slow] == ["slow.py"]  # it may have read what has changed
    bundle.take_late(bundle.tree or before, Parsed("slow.py", loaded("slow.py", "z")), None)
    assert not bundle.slow


def test_a_file_that_was_read_in_an_older_tree_counts_where_it_and_its_imports_are_the_same() -> None:
    bundle = loaded_bundle()
    before = tree("v2", a="1", b="1", m="1", slow="1")
    bundle.change(before)
    bundle.set_aside(["slow.py"])
    bundle.change(tree("v3", a="1", b="1", m="2", slow="1"))
    parsed = Parsed("slow.py", loaded("slow.py", "z"), frozenset({"m.py"}))
    assert bundle.take_late(before, parsed, None) == News()
    assert [*bundle.slow] == ["slow.py"]
    bundle.change(tree("v4", a="1", b="1", m="2", slow="2"))  # an author who has mended it waits for nothing
    assert (bundle.due(1), [*bundle.slow]) == (["slow.py"], [])
    assert bundle.take_late(before, parsed, None) == News()


def test_files_that_wait_for_their_turn_get_it_however_often_the_bundle_changes() -> None:
    bundle = loaded_bundle()
    for number, first in ((1, "a.py"), (2, "b.py"), (3, "a.py")):
        bundle.change(tree(f"v{number + 1}", a="1", b="1", plugins=str(number)))
        bundle.parse("plugins")
        bundle.settle()
        assert bundle.due(1) == [first]
        bundle.parse(first.removesuffix(".py"), {"a.py": "x", "b.py": "y"}[first])
        bundle.settle()


def test_broken_files_are_read_again_though_nothing_has_changed() -> None:
    bundle = loaded_bundle()
    bundle.change(tree("v2", a="2", b="2", c="1"))
    bundle.parse("a", error="signal 9")
    bundle.parse("b", error="took long", slow=True)
    bundle.parse("c", "x")  # a double is no news
    bundle.settle()
    bundle.slow.clear()
    bundle.retry_broken()
    assert (bundle.due(9), [*bundle.slow]) == (["a.py"], ["b.py"])
    bundle.parse("a", "x")
    bundle.settle()
    assert "a.py" not in bundle.errors
