"""What is known of the files of one bundle: what they hold, what is wrong, which have to be parsed.

Pure: it reads nothing and writes nothing. A round is: a change; the files that it surely concerns are parsed,
and settled; then those that it may concern; and last the files that take long.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from itertools import islice

from orchestrator.dag.candidates import candidates
from orchestrator.scheduler.bundles import Tree
from orchestrator.scheduler.loading.changes import Digests, Known, concerns_all, to_parse
from orchestrator.scheduler.loading.owners import Owners
from orchestrator.scheduler.parsing.parsers import Parsed
from orchestrator.store.loading import Loaded


@dataclass(frozen=True)
class News:
    """What is to be stored: DAGs, and what is wrong with files; None: nothing is any more."""

    dags: list[Loaded] = field(default_factory=list)
    errors: dict[str, str | None] = field(default_factory=dict)


class Contents:
    """The files of a bundle, from one change to the next.

    `errors` says what is wrong, by file; `slow` are the files that were set aside. `settled`: nothing was
    found since it was settled.
    """

    def __init__(self, folder: str, stored: Mapping[str, frozenset[str]]) -> None:
        """`folder` is what people are told that files are below; `stored`: the ids that each file had when
        its bundle was last loaded.
        """
        self.tree: Tree | None = None
        self.errors: dict[str, str] = {}
        self.slow: dict[str, None] = {}
        self.settled = True
        self._folder = folder
        self._known = {file: Known(ids=ids) for file, ids in stored.items()}
        self._owners = Owners(stored)
        self._first: dict[str, None] = {}
        self._then: dict[str, None] = {}
        self._since: Digests = {}
        self._parsed: set[str] = set()  # in the present tree
        self._broken: set[str] = set()
        self._hanging: set[str] = set()
        self._doubled: set[str] = set()
        self._refused: dict[str, str] = {}
        self._contested: dict[str, tuple[Loaded, ...]] = {}

    def change(self, tree: Tree) -> None:
        """The code is that of this tree now."""
        before = self.tree.digests if self.tree else {}
        if self.settled:
            self._since = before
        wanted = to_parse(before, tree.digests, self._known)
        for file in [file for file in self._known if file not in tree.digests]:
            self._forget(file)
        hanging = {file for file in self._hanging if before.get(file) == tree.digests[file]}
        concerned = (*wanted.first, *wanted.then)
        self._first = _but(hanging, (*wanted.first, *self._still(self._first, tree)))
        waiting = self._still(self._then, tree)  # first: else a bundle that changes often never gets to them
        self._then = _but(hanging | self._first.keys(), (*waiting, *wanted.then))
        aside = (*self._still(self.slow, tree), *(file for file in concerned if file in hanging))
        self.slow = _but(self._first.keys() | self._then.keys(), aside)
        self.tree, self._parsed, self.settled = tree, set(), False

    def due(self, number: int) -> list[str]:
        """The files to parse next, at most so many; none where something is to be settled first."""
        if self._first or self.settled:
            return list(islice(self._first or self._then, number))
        return []

    def take(self, parsed: Parsed, error: str | None, *, last: bool) -> News:
        """A file was parsed; `error` is its own with the paths that people know, `last` its last chance."""
        file = parsed.file
        for waiting in (self._first, self._then, self.slow):
            waiting.pop(file, None)
        self._parsed.add(file)
        self.settled = False
        self._contested.pop(file, None)
        self._refused.pop(file, None)
        if error is not None:
            if parsed.slow:
                self._hanging.add(file)
                if not last:
                    self.slow[file] = None
            self._break(file, parsed.imports, error)
            return News(errors={file: error})
        self._hanging.discard(file)
        self._broken.discard(file)
        self._know(file, Known(parsed.imports, frozenset(dag.dag_id for dag in parsed.dags)))
        contested = tuple(dag for dag in parsed.dags if self._owners.contested(dag.dag_id, file))
        if contested:
            self._contested[file] = contested
            return News([dag for dag in parsed.dags if dag not in contested])
        self.errors.pop(file, None)
        return News(list(parsed.dags), {file: None})

    def set_aside(self, files: Iterable[str]) -> None:
        """Reading these was given up for a change: they are not to keep the round from its end again."""
        for file in files:
            self._first.pop(file, None)
            self._then.pop(file, None)
            self._hanging.add(file)
            self.slow[file] = None

    def take_late(self, tree: Tree, parsed: Parsed, error: str | None) -> News:
        """A file that takes long was read, in a tree that may no longer be the present one.

        What it holds counts where it and what it imports are the same now; where anything else is not that
        concerns it, it is read once more after that.
        """
        assert self.tree is not None
        file, now = parsed.file, self.tree.digests
        if file not in self.slow:  # it has changed, and is read anew
            return News()
        del self.slow[file]
        if any(tree.digests.get(one) != now.get(one) for one in (file, *parsed.imports)):
            self.slow[file] = None
            return News()
        news = self.take(parsed, error, last=True)
        wanted = to_parse(tree.digests, now, self._known)
        if file in (*wanted.first, *wanted.then) or concerns_all(tree.digests, now, self._known):
            self.set_aside([file])
        return news

    def refuse(self, errors: Mapping[str, str]) -> None:
        """Not all that these files hold could be stored."""
        self._refused |= errors
        self._fail(errors)

    def _fail(self, errors: Mapping[str, str]) -> None:
        self.errors |= errors
        for file in errors:
            self._known[file] = replace(self._known[file], broken=True)

    def retry(self, files: Collection[str]) -> None:
        """What kept these files from being stored may be gone."""
        self._first |= dict.fromkeys(file for file in files if file in self._known)

    def retry_broken(self) -> None:
        """What kept these files from being read may be gone, without a change of them."""
        self.set_aside(self._broken & self._hanging)
        self._first |= dict.fromkeys(sorted(self._broken - self._hanging))

    def sort_out(self) -> News:
        """The files that the change surely concerns are parsed: what follows for those that have ids of
        others, and whether it concerns all files.
        """
        assert self.tree is not None
        if concerns_all(self._since, self.tree.digests, self._known):
            rest = [file for file in candidates(self.tree.digests) if file not in self._parsed]
            self._then |= _but(self.slow.keys(), rest)
        self._since = self.tree.digests
        self._owners.settle()
        contested, self._contested = self._contested, {}
        doubles = {file: self._double(file, *other) for file, other in self._owners.doubles().items()}
        told = {
            file: doubles.get(file) or self._refused.get(file)
            for file in (*contested, *self._doubled, *doubles)
            if file not in self._broken
        }
        for file in told:
            self.errors.pop(file, None)
        self._fail({file: error for file, error in told.items() if error is not None})
        self._doubled = {*doubles}
        dags = [dag for some in contested.values() for dag in some]
        return News([dag for dag in dags if self._owners.of(dag.dag_id) == dag.file], told)

    @property
    def ids(self) -> frozenset[str]:
        """The DAGs that files have: of a broken one, and of one that is not parsed yet, those it had."""
        return self._owners.ids

    @property
    def staying(self) -> set[str]:
        """The files whose DAGs keep the tree that they have: it is not known that they load in this one."""
        return {*self._broken, *self._first, *self._then, *self.slow}

    def _double(self, file: str, dag_id: str, other: str) -> str:
        said = f"{self._folder}/{file}: a second DAG {dag_id!r}, the first is in {self._folder}/{other}"
        return f"{said}\n  hint: give one of them another id"

    def _break(self, file: str, imports: frozenset[str], error: str) -> None:
        """It is broken, and keeps the DAGs that it had."""
        self._know(file, Known(imports, self._owners.owned_by(file), broken=True))
        self._broken.add(file)
        self.errors[file] = error

    def _know(self, file: str, known: Known) -> None:
        self._known[file] = known
        self._owners.put(file, known.ids)

    def _forget(self, file: str) -> None:
        del self._known[file]
        self._owners.put(file, frozenset())
        for found in (self.errors, self._contested, self._refused):
            found.pop(file, None)
        for some in (self._broken, self._hanging, self._doubled):
            some.discard(file)

    def _still(self, files: Iterable[str], tree: Tree) -> list[str]:
        return [file for file in files if file in tree.digests]


def _but(without: Collection[str], files: Iterable[str]) -> dict[str, None]:
    """The files in their order, each once, without those."""
    return {file: None for file in files if file not in without}
