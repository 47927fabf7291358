"""Loads one bundle again and again, while it is this scheduler's: parses what changed, stores what it holds.

What was seen last goes first: before each few files it is asked whether the code has changed again. A file
that takes long is set aside, and read beside what follows: it delays no change, and no change keeps it from
being loaded.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TypeVar

from orchestrator.clock import SystemClock
from orchestrator.dag.stages import StageGraph
from orchestrator.errors import FustgoError, StoreError
from orchestrator.kept import readable
from orchestrator.scheduler.bundles import Interrupted, Source, Tree
from orchestrator.scheduler.loading.contents import Contents, News
from orchestrator.scheduler.loading.slow import SlowReader
from orchestrator.scheduler.loading.watching import Alarm, Readable, Seen, Watch
from orchestrator.scheduler.parsing.parsers import Parsed, Parsers
from orchestrator.settings.bundles import BundleSettings
from orchestrator.store import bundles, loading, pools
from orchestrator.store.bundles import BundleLost, Claim
from orchestrator.store.database import Database, OutOfReachError
from orchestrator.store.loading import Loaded, Place
from orchestrator.telemetry import metrics

QUICK = 5.0  # seconds that a file may take before it is set aside, so that the others do not wait for it
SLOW_AT_ONCE = 2  # files that take longer
AT_ONCE = 16  # files between two looks at what has changed
LOOK_EVERY = 2.0  # seconds between two looks at whether the bundle is still ours
AGAIN = 1.0  # seconds after which a store that was out of reach is asked again
RETRY_AFTER, RETRY_AT_MOST = 30.0, 600.0  # seconds after which broken files are read again; they double
_SHOWN = 10
_log = logging.getLogger("fustgo.loader")
T = TypeVar("T")


class CannotBegin(Exception):  # what it carries is the error
    """The source cannot be read at all, when the scheduler starts."""

    def __init__(self, error: FustgoError) -> None:
        super().__init__(str(error))
        self.error = error


@dataclass
class Change:
    """What has come of a change so far; `at` is when it was seen, None once it is live."""

    at: float | None = None
    added: list[str] = field(default_factory=list)
    changed: list[str] = field(default_factory=list)
    removed: list[str] = field(default_factory=list)

    def told(self) -> str:
        """In words; empty where nothing has come of it."""
        parts = []
        for word, ids in (("changed", self.changed), ("added", self.added), ("removed", self.removed)):
            if ids:
                more = ", ..." if len(ids) > _SHOWN else ""
                parts.append(f"{_count(len(ids), 'DAG')} {word} ({', '.join(sorted(ids)[:_SHOWN])}{more})")
        return ", ".join(parts)


class Rounds:
    """One bundle that this scheduler has claimed."""

    def __init__(
        self,
        database: Database,
        claim: Claim,
        source: Source,
        settings: BundleSettings,
        stop: Alarm,
        served: Callable[[str], None],
    ) -> None:
        """`served` is told what is served, whenever a part of a round is over."""
        self._database, self._claim, self._source, self._settings = database, claim, source, settings
        self._stop, self._served, self._clock = stop, served, SystemClock()
        self._change = Change()
        self._retry_after, self._retry_at = RETRY_AFTER, float("inf")
        self._abroad: dict[str, set[str]] = {}  # ids that another bundle has, by file
        self._logged: dict[str, str | None] = {}
        with database.read() as connection:
            stored = loading.ids_by_file(connection, claim.bundle)
        self._contents = Contents(source.folder, stored)

    def run(self, is_mine: Callable[[], bool], *, starting: bool) -> None:
        """Load what changes until all has to end, or the bundle `is_mine` no more.

        `starting`: it was never loaded, and a folder that cannot be read now is an error. Raises CannotBegin,
        BundleLost.
        """
        self._starting = starting
        with (
            Watch(self._source, self._stop) as watch,
            Parsers(self._settings.project, watch.hurry.fileno()) as parsers,
            SlowReader(self._settings.project, self._stop.fileno()) as slow,
        ):
            self._watch, self._parsers, self._slow = watch, parsers, slow
            while not self._stop.rings:
                with suppress(Interrupted):
                    self._turn(is_mine)

    def _turn(self, is_mine: Callable[[], bool]) -> None:
        try:
            if (seen := self._watch.take()) is not None:
                self._look_at(seen)
            if not self._go_on():
                self._wait(is_mine)
        except OutOfReachError as error:
            if not self._stop.wait(AGAIN):
                _log.error("%s", error)
        except StoreError as error:
            if self._starting:
                raise CannotBegin(error) from error
            self._tell_error(error)
            self._check(is_mine)
            self._stop.wait(AGAIN)

    def _look_at(self, seen: Seen) -> None:
        if seen.error is not None and self._starting and self._settings.git is None:
            raise CannotBegin(seen.error)
        self._tell_error(seen.error)
        if seen.tree is not None:
            self._contents.change(seen.tree)
            self._slow.drop(self._contents.slow.__contains__)
            self._retry_after = RETRY_AFTER
            self._retry_at = self._clock.monotonic() + RETRY_AFTER
            self._logged = {file: said for file, said in self._logged.items() if file in seen.tree.digests}
            self._change.at = self._change.at or seen.at
            self._parsers.warm()
        elif self._contents.tree is None:
            self._starting = False
            self._served(f"no DAGs of {self._source.shown}, which cannot be read")

    def _tell_error(self, error: FustgoError | None) -> None:
        said = None if error is None else str(error)
        if not self._insist(lambda: bundles.set_error(self._database, self._claim, said)):
            return
        if said is None:
            _log.info("bundle %s: %s can be read again", self._claim.bundle, self._source.shown)
        else:
            _log.error("bundle %s cannot be read, what was loaded goes on: %s", self._claim.bundle, said)

    def _go_on(self) -> bool:
        """Do the next thing that is to be done; False: there is nothing."""
        contents = self._contents
        if contents.tree is None:
            return False
        if files := contents.due(AT_ONCE):
            self._parse(files)
        elif not contents.settled:
            self._settle()
        else:
            return self._go_on_slowly()
        return True

    def _parse(self, files: Sequence[str]) -> None:
        """Read some files, and store what they hold: when it is interrupted, what was read until then."""
        assert self._contents.tree is not None
        tree, found = self._contents.tree, News()
        try:
            for parsed in self._parsers.parse(tree.root, files, QUICK):
                metrics.file_parsed(parsed.seconds)
                news = self._contents.take(parsed, self._said(tree, parsed), last=False)
                found.dags.extend(news.dags)
                found.errors.update(news.errors)
        finally:
            self._contents.set_aside(self._parsers.given_up)
            self._save(found)

    def _go_on_slowly(self) -> bool:
        """Store what was read of the files that take long, and begin with the next; False: nothing is."""
        contents, is_done = self._contents, False
        for tree, parsed in self._slow.ended():
            metrics.file_parsed(parsed.seconds)
            self._save(contents.take_late(tree, parsed, self._said(tree, parsed)))
            is_done = True
        if contents.slow and not is_done and not self._slow.is_reading:
            assert contents.tree is not None
            patience = self._settings.parse_timeout.total_seconds()
            self._slow.begin(contents.tree, [*contents.slow][:SLOW_AT_ONCE], patience)
            is_done = True
        return is_done

    def _said(self, tree: Tree, parsed: Parsed) -> str | None:
        """The error of a file, such as every store can keep it: people are told of the file that they wrote,
        not of its copy.
        """
        if parsed.error is None:
            return None
        return readable(parsed.error.replace(f"{tree.root}/", f"{self._source.folder}/"))

    def _save(self, news: News) -> None:
        """Store what was found; a DAG that the store cannot keep costs its own file only."""
        if not news.dags and not news.errors:
            return
        try:
            stored = self._insist(
                lambda: loading.store_files(self._database, self._place, news.dags, news.errors)
            )
        except (OutOfReachError, BundleLost):
            raise
        except Exception as error:
            if not news.dags:
                raise
            if not isinstance(error, StoreError):
                _log.exception("bundle %s: storing DAGs failed", self._claim.bundle)
            self._save_singly(news, error)
            return
        self._change.added += stored.added
        self._change.changed += stored.changed
        for file in news.errors:
            self._abroad.pop(file, None)
        for file in stored.elsewhere:
            self._abroad[file] = {dag.dag_id for dag in news.dags if dag.file == file}
        self._contents.refuse(stored.elsewhere)
        self._log_errors({**news.errors, **stored.elsewhere})
        self._warn_of_pools(dag for dag in news.dags if dag.dag_id in {*stored.added, *stored.changed})

    def _save_singly(self, news: News, error: Exception) -> None:
        if len(news.dags) == 1:
            said = {
                dag.file: f"{self._source.folder}/{dag.file}: {str(error) or repr(error)}"
                for dag in news.dags
            }
            self._contents.refuse(said)
            self._save(News([], {**news.errors, **said}))
            return
        self._save(News([], {**news.errors}))
        for dag in news.dags:
            self._save(News([dag]))

    def _settle(self) -> None:
        """A part of the round is over: all DAGs move to the tree, and those that are nowhere are removed."""
        contents = self._contents
        self._save(contents.sort_out())
        assert contents.tree is not None
        removed = self._insist(
            lambda: loading.settle(
                self._database,
                self._place,
                ids=contents.ids,
                files=contents.tree.digests if contents.tree else {},
                stay=contents.staying,
            )
        )
        contents.settled = True
        self._starting = False
        if len(removed) > 1 and not contents.ids:
            _log.warning("bundle %s: all its %d DAGs are gone at once", self._claim.bundle, len(removed))
        self._change.removed += removed
        self._tell_change(contents.tree.version)
        metrics.import_errors(len(contents.errors), bundle=self._claim.bundle)
        self._served(self._standing())

    def _tell_change(self, version: str) -> None:
        change, self._change = self._change, Change()
        told = change.told()
        if change.at is not None:
            seconds = self._clock.monotonic() - change.at
            metrics.change_loaded(seconds, bundle=self._claim.bundle)
            told = f"{told or 'no DAG has changed'}; version {version} is live after {seconds:.2f} s"
        if told:
            _log.info("bundle %s: %s", self._claim.bundle, told)

    def _standing(self) -> str:
        """What is served, in words."""
        contents = self._contents
        wrong = {*contents.errors} - {*contents.slow}
        broken = f", {_count(len(wrong), 'file')} with errors" if wrong else ""
        slow = f", {_count(len(contents.slow), 'file')} set aside" if contents.slow else ""
        dags = _count(len(contents.ids.difference(*self._abroad.values())), "DAG")
        assert contents.tree is not None
        return f"{dags} of {self._source.shown}{broken}{slow}, as version {contents.tree.version}"

    def _wait(self, is_mine: Callable[[], bool]) -> None:
        """Nothing is to be done: wait for news, and look whether the bundle is still ours."""
        self._parsers.rest()
        self._slow.rest()
        wakes: list[Readable] = [self._watch.news, *([self._slow] if self._slow.is_reading else [])]
        if self._stop.wait(LOOK_EVERY, *wakes) or self._watch.news.rings:
            return
        self._check(is_mine)
        self._look_abroad()
        self._try_again()

    def _check(self, is_mine: Callable[[], bool]) -> None:
        """Raises BundleLost where the bundle is no longer ours."""
        with self._database.glance() as connection:
            held = bundles.is_held(connection, self._claim)
        if not held or not is_mine():
            raise BundleLost(f"bundle {self._claim.bundle} is no longer loaded by this scheduler")

    def _try_again(self) -> None:
        """Read the broken files again, now and then: perhaps what was wrong was no fault of theirs."""
        now = self._clock.monotonic()
        if self._retry_at <= now:
            self._contents.retry_broken()
            self._retry_after = min(2 * self._retry_after, RETRY_AT_MOST)
            self._retry_at = now + self._retry_after

    def _look_abroad(self) -> None:
        """Load the files again whose ids were another bundle's, and are it no more."""
        if not self._abroad:
            return
        ids = {dag_id for some in self._abroad.values() for dag_id in some}
        with self._database.glance() as connection:
            taken = loading.taken_elsewhere(connection, self._claim.bundle, ids)
        free = [file for file, some in self._abroad.items() if not some & taken]
        self._contents.retry(free)

    def _insist(self, work: Callable[[], T]) -> T:
        """Do something with the store, again and again while that is out of reach.

        Raises OutOfReachError when all has to end.
        """
        while True:
            try:
                return work()
            except OutOfReachError as error:
                _log.error("%s", error)
                if self._stop.wait(AGAIN):
                    raise

    def _log_errors(self, errors: Mapping[str, str | None]) -> None:
        """Log what is wrong with files, once; also where a module is why many cannot be loaded."""
        fresh = [error for file, error in errors.items() if error and self._logged.get(file) != error]
        for error, files in Counter(fresh).items():
            _log.error("%s%s", error, f"\n  {files} files cannot be loaded for it" if files > 1 else "")
        self._logged = {**self._logged, **errors}

    def _warn_of_pools(self, dags: Iterable[Loaded]) -> None:
        """Say which pools nobody has set, so that they limit nothing."""
        used = [(stage.pool, dag.dag_id) for dag in dags for stage in StageGraph.from_json(dag.stages)]
        if not used:
            return
        with self._database.glance() as connection:
            known = pools.slots(connection)
        for pool in sorted({pool for pool, _ in used} - known.keys()):
            users = sorted({dag_id for name, dag_id in used if name == pool})
            _log.warning("nobody has set pool %r: it has no limit for %s", pool, ", ".join(users[:3]))

    @property
    def _place(self) -> Place:
        assert self._contents.tree is not None
        return Place(
            self._claim,
            self._contents.tree.version,
            self._source.folder,
            str(self._settings.project),
            self._settings.pauses,
        )


def _count(number: int, what: str) -> str:
    return f"{number:,} {what}{'s' * (number != 1)}"
