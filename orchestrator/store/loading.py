"""Loaded DAGs: what the scheduler found in a frozen tree, written where runs begin.

Every transaction states that the bundle is still this scheduler's to load (`bundles.hold`), and is short:
where there is one writer only, all others wait for it. What is stored already is not written again.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from itertools import islice
from typing import Any, TypeVar

from sqlalchemy import Connection, bindparam, delete, insert, select, update

from orchestrator.store import bundles, schedules
from orchestrator.store.bundles import Claim
from orchestrator.store.dags import BUNDLE
from orchestrator.store.database import Database
from orchestrator.store.dialects import insert_absent
from orchestrator.store.identity import uuid7
from orchestrator.store.sets import within
from orchestrator.store.tables import Dag, DagVersion, table_of
from orchestrator.store.tables.entity import value
from orchestrator.store.tables.services import LoadError

AT_ONCE = 16  # DAGs a transaction: some 35 ms, most of it for their schedules
_dags, _versions, _errors = table_of(Dag), table_of(DagVersion), table_of(LoadError)
T = TypeVar("T")
_LIMITS = ("max_active_runs", "max_active_tasks")


@dataclass(frozen=True)
class Loaded:
    """A DAG as a file of the tree defines it: its canonical document and its compiled stages.

    `params` are those of a run that is given none: of one that its schedule fires.
    """

    dag_id: str
    file: str
    hash: str
    document: Mapping[str, Any]
    stages: Mapping[str, Any]
    params: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Place:
    """Where DAGs are loaded from: a tree of a bundle, by who loads it.

    `version` is the tree's, `folder` what people know it by; `project` the folder against which data paths of
    their runs resolve; `paused`: whether a DAG that is seen for the first time starts so.
    """

    claim: Claim
    version: str
    folder: str
    project: str
    paused: bool = True


@dataclass
class Stored:
    """What was written: DAGs that are new or back, and those with a new definition or file, by id.

    `elsewhere`: why files are not loaded whole: another bundle has a DAG of that id; by file.
    """

    added: list[str] = field(default_factory=list)
    changed: list[str] = field(default_factory=list)
    elsewhere: dict[str, str] = field(default_factory=dict)


def store_files(
    database: Database, place: Place, found: Iterable[Loaded], errors: Mapping[str, str | None]
) -> Stored:
    """Make these the current versions of their DAGs, and this what is wrong with files; None: nothing is.

    The DAGs of the files without an error are of this tree then, also those that did not change. Who wrote
    a DAG's id first keeps it: within a bundle the caller decides, across bundles the store. Raises
    BundleLost.
    """
    stored = Stored()
    with database.read() as connection:
        current = _current(connection, place)
    new = [entry for entry in found if current.get(entry.dag_id) != (entry.hash, entry.file, place.project)]
    for some in _by_number(sorted(new, key=lambda entry: entry.dag_id), AT_ONCE):
        written = _write(database, place, partial(_store, entries=some))
        stored.added += written.added
        stored.changed += written.changed
        stored.elsewhere |= written.elsewhere
    said = {**errors, **stored.elsewhere}
    with database.read() as connection:
        known = {row.file: row.message for row in load_errors(connection, place.claim.bundle)}
        moved = _not_moved(connection, place, [file for file, error in errors.items() if error is None])
    other = {file: error for file, error in said.items() if known.get(file) != error}
    if other or moved:
        _write(database, place, partial(_tell, errors=other, moving=moved))
    return stored


def settle(
    database: Database, place: Place, *, ids: Collection[str], files: Collection[str], stay: Collection[str]
) -> list[str]:
    """The tree is what is loaded now: all DAGs move to it, and those that are in no file are removed.

    `ids` are the DAGs of the files as far as is known: all others are marked removed, and come back. `files`
    are those of the tree, `stay` those of them whose DAGs keep their tree: broken, or not parsed yet. Raises
    BundleLost.
    """
    claim = place.claim
    with database.read() as connection:
        rows = _rows_of(connection, claim.bundle)
        gone = [error.file for error in load_errors(connection, claim.bundle) if error.file not in files]
        bundle = bundles.get_bundle(connection, claim.bundle)
    removed = {row.id: row.dag_id for row in rows if row.dag_id not in ids}
    moving = [
        row.id
        for row in rows
        if row.id not in removed and row.file not in stay and row.bundle_version != place.version
    ]
    is_known = bundle is not None and (bundle.version, bundle.error) == (place.version, None)
    if removed or moving or gone or not is_known:
        _write(database, place, partial(_settle, removed=removed, moving=moving, gone=gone))
    return sorted(removed.values())


def ids_by_file(connection: Connection, bundle: str) -> dict[str, frozenset[str]]:
    """The DAGs that a bundle has, by the file that they are in."""
    found: dict[str, set[str]] = {}
    for row in _rows_of(connection, bundle):
        found.setdefault(row.file or "", set()).add(row.dag_id)
    return {file: frozenset(ids) for file, ids in found.items()}


def taken_elsewhere(connection: Connection, bundle: str, ids: Collection[str]) -> set[str]:
    """Those of the ids that are DAGs of another bundle, or were made without one."""
    query = select(_dags).where(_LIVE, within(_dags.c.dag_id, "ids"))
    rows = (value(Dag, row) for row in connection.execute(query, {"ids": list(ids)}))
    return {row.dag_id for row in rows if _is_elsewhere(row, bundle)}


def load_errors(connection: Connection, bundle: str | None = None) -> list[LoadError]:
    """The files that could not be loaded when a scheduler last tried, by bundle and name, and why."""
    query = select(_errors).order_by(_errors.c.bundle, _errors.c.file)
    if bundle is not None:
        query = query.where(_errors.c.bundle == bundle)
    return [value(LoadError, row) for row in connection.execute(query)]


_LIVE = (_dags.c.space == BUNDLE) & _dags.c.deleted_at.is_(None)


def _write(database: Database, place: Place, work: Callable[..., T]) -> T:
    """Do `work` in a transaction, if the bundle is still ours."""

    def held(connection: Connection) -> T:
        bundles.hold(connection, place.claim)
        return work(connection, place, now=database.clock.now())

    return database.run_transaction(held)


def _by_number(entries: Iterable[Loaded], number: int) -> Iterator[list[Loaded]]:
    rest = iter(entries)
    while some := list(islice(rest, number)):
        yield some


def _current(connection: Connection, place: Place) -> dict[str, tuple[str, str, str]]:
    """Of the DAGs that the bundle has: hash, file and project."""
    query = (
        select(_dags.c.dag_id, _versions.c.hash, _dags.c.file, _dags.c.project)
        .join_from(_dags, _versions, _dags.c.version == _versions.c.id)
        .where(_LIVE, _dags.c.bundle == place.claim.bundle, _dags.c.removed_at.is_(None))
    )
    return {row[0]: (row[1], row[2], row[3]) for row in connection.execute(query)}


def _rows_of(connection: Connection, bundle: str) -> Sequence[Any]:
    columns = (_dags.c.id, _dags.c.dag_id, _dags.c.file, _dags.c.bundle_version)
    query = select(*columns).where(_LIVE, _dags.c.bundle == bundle, _dags.c.removed_at.is_(None))
    return connection.execute(query).all()


def _not_moved(connection: Connection, place: Place, files: Collection[str]) -> list[int]:
    """The rows of the DAGs of these files that are of another tree."""
    rows = _rows_of(connection, place.claim.bundle)
    return [row.id for row in rows if row.file in files and row.bundle_version != place.version]


def _store(connection: Connection, place: Place, entries: Sequence[Loaded], now: datetime) -> Stored:
    """Write some DAGs. Their rows are locked in one order, so that no two loadings wait for each other."""
    stored = Stored()
    rows = _rows(connection, place, [entry.dag_id for entry in entries], now)
    ours = []
    for entry in entries:
        row = rows[entry.dag_id]
        if _is_elsewhere(row, place.claim.bundle):
            stored.elsewhere[entry.file] = _second(place, entry, row)
        else:
            ours.append((entry, row))
            (stored.added if row.version is None or row.removed_at else stored.changed).append(row.dag_id)
    if ours:
        versions = _versions_of(connection, ours, now)
        connection.execute(_MADE_CURRENT, [_row(place, *one, versions) for one in ours])
        for entry, row in ours:
            schedules.set_schedule(connection, row, entry, now)
    return stored


def _is_elsewhere(row: Dag, bundle: str) -> bool:
    """Whether a DAG belongs to another bundle, or was made without one; one that was removed is free."""
    return row.version is not None and row.removed_at is None and row.bundle != bundle


def _second(place: Place, entry: Loaded, row: Dag) -> str:
    first = "was made without a file" if row.bundle is None else f"is in {row.file} of bundle {row.bundle}"
    said = f"{place.folder}/{entry.file}: a second DAG {entry.dag_id!r}, the first {first}"
    return f"{said}\n  hint: give one of them another id"


def _rows(connection: Connection, place: Place, ids: Collection[str], now: datetime) -> dict[str, Dag]:
    """The rows of these DAGs, made where they are absent, and locked."""
    query = (
        select(_dags)
        .where(_LIVE, within(_dags.c.dag_id, "ids"))
        .order_by(_dags.c.id)
        .with_for_update(key_share=True)
    )
    found = {row.dag_id: value(Dag, row) for row in connection.execute(query, {"ids": list(ids)})}
    absent = [dag_id for dag_id in ids if dag_id not in found]
    if absent:
        common = {"space": BUNDLE, "bundle": place.claim.bundle, "paused": place.paused, "created_at": now}
        common |= {name: Dag.model_fields[name].default for name in ("project", *_LIMITS)}
        insert_absent(
            connection, _dags, [{**common, "uid": uuid7(now), "dag_id": dag_id} for dag_id in absent]
        )
        found = {row.dag_id: value(Dag, row) for row in connection.execute(query, {"ids": list(ids)})}
    return found


def _versions_of(
    connection: Connection, entries: Sequence[tuple[Loaded, Dag]], now: datetime
) -> dict[tuple[int, str], int]:
    """The version of each by its DAG's row and hash, stored unless it is known."""
    asked = {"dags": [row.id for _, row in entries], "hashes": [entry.hash for entry, _ in entries]}

    def known() -> dict[tuple[int, str], int]:
        return {(row.dag, row.hash): row.id for row in connection.execute(_FIND_VERSIONS, asked)}

    found = known()
    fresh = [
        {
            "dag": row.id,
            "hash": entry.hash,
            "document": dict(entry.document),
            "stages": dict(entry.stages),
            "created_at": now,
        }
        for entry, row in entries
        if (row.id, entry.hash) not in found
    ]
    if fresh:
        connection.execute(insert(_versions), fresh)
        found = known()
    return found


def _row(place: Place, entry: Loaded, row: Dag, versions: Mapping[tuple[int, str], int]) -> dict[str, Any]:
    """What becomes of the DAG's row."""
    return {
        "of": row.id,
        "to_version": versions[row.id, entry.hash],
        "to_bundle": place.claim.bundle,
        "to_file": entry.file,
        "to_tree": place.version,
        "to_project": place.project,
        **{f"to_{name}": entry.document.get(name) or Dag.model_fields[name].default for name in _LIMITS},
    }


_FIND_VERSIONS = select(_versions.c.id, _versions.c.dag, _versions.c.hash).where(
    within(_versions.c.dag, "dags"), within(_versions.c.hash, "hashes")
)
_MADE_CURRENT = (
    update(_dags)
    .where(_dags.c.id == bindparam("of"))
    .values(
        version=bindparam("to_version"),
        bundle=bindparam("to_bundle"),
        file=bindparam("to_file"),
        bundle_version=bindparam("to_tree"),
        project=bindparam("to_project"),
        removed_at=None,
        **{name: bindparam(f"to_{name}") for name in _LIMITS},
    )
)
_MOVE = update(_dags).where(within(_dags.c.id, "moving")).values(bundle_version=bindparam("to_tree"))


def _move(connection: Connection, place: Place, rows: Collection[int]) -> None:
    if rows:
        connection.execute(_MOVE, {"moving": list(rows), "to_tree": place.version})


def _tell(
    connection: Connection,
    place: Place,
    errors: Mapping[str, str | None],
    moving: Collection[int],
    now: datetime,
) -> None:
    """Write what is wrong with files, in place of what was said of them, and move what is not."""
    _forget_errors(connection, place.claim.bundle, errors)
    common = {"bundle": place.claim.bundle, "bundle_version": place.version, "at": now}
    rows = [{**common, "file": file, "message": error} for file, error in errors.items() if error is not None]
    if rows:
        connection.execute(insert(_errors), rows)
    _move(connection, place, moving)


def _settle(
    connection: Connection,
    place: Place,
    removed: Collection[int],
    moving: Collection[int],
    gone: Collection[str],
    now: datetime,
) -> None:
    if removed:
        marked = update(_dags).where(within(_dags.c.id, "gone")).values(removed_at=now)
        connection.execute(marked, {"gone": list(removed)})
    _move(connection, place, moving)
    _forget_errors(connection, place.claim.bundle, gone)
    bundles.set_loaded(connection, place.claim, place.version, now)


def _forget_errors(connection: Connection, bundle: str, files: Collection[str]) -> None:
    if files:
        of = (_errors.c.bundle == bundle) & within(_errors.c.file, "files")
        connection.execute(delete(_errors).where(of), {"files": list(files)})
