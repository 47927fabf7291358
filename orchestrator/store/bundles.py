"""Bundles: where DAG files come from, and which scheduler loads each.

One scheduler at a time loads a bundle: its worker row is the bundle's `loader`. Every transaction of the
loading begins with `hold`, so who has lost a bundle writes nothing more of it.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import ColumnElement, Connection, delete, or_, select, update

from orchestrator.errors import FustgoError
from orchestrator.store.database import Database
from orchestrator.store.dialects import insert_absent
from orchestrator.store.sets import within
from orchestrator.store.tables import Dag, Run, Worker, table_of
from orchestrator.store.tables.entity import value
from orchestrator.store.tables.services import Bundle

bundles = table_of(Bundle)
_workers, _dags, _runs = table_of(Worker), table_of(Dag), table_of(Run)


class BundleLost(FustgoError):
    """Another scheduler loads the bundle by now, or may: nothing was written."""


@dataclass(frozen=True)
class Claim:
    """That a scheduler, by its worker row, loads a bundle."""

    bundle: str
    worker: int


def claim_bundle(database: Database, name: str, source: str, worker: int) -> bool:
    """Become the one who loads a bundle; False while another does.

    It is free where nobody loads it, or whose row has ended. `source` is what people are shown of it.
    """
    with database.read() as connection:
        found = get_bundle(connection, name)
        if found is not None and (found.loader, found.source) == (worker, source):
            return True
        if found is not None and not _is_free(connection, name, worker):
            return False
    return database.run_transaction(lambda connection: _claim(connection, name, source, worker))


def _claim(connection: Connection, name: str, source: str, worker: int) -> bool:
    insert_absent(connection, bundles, {"name": name, "source": source})
    done = connection.execute(
        update(bundles).where(bundles.c.name == name, _free(worker)).values(loader=worker, source=source)
    )
    return done.rowcount == 1


def _free(worker: int) -> ColumnElement[bool]:
    ended = select(_workers.c.id).where(_workers.c.ended_at.is_not(None))
    return or_(bundles.c.loader.is_(None), bundles.c.loader == worker, bundles.c.loader.in_(ended))


def _is_free(connection: Connection, name: str, worker: int) -> bool:
    query = select(bundles.c.name).where(bundles.c.name == name, _free(worker))
    return connection.execute(query).first() is not None


def hold(connection: Connection, claim: Claim) -> None:
    """Keep the claim until this transaction ends; raises BundleLost where it is another's."""
    query = select(bundles.c.loader).where(bundles.c.name == claim.bundle).with_for_update()
    if connection.execute(query).scalar() != claim.worker:
        raise BundleLost(f"bundle {claim.bundle} is no longer loaded by this scheduler")


def is_held(connection: Connection, claim: Claim) -> bool:
    """Whether the claim still stands; a look only."""
    query = select(bundles.c.loader).where(bundles.c.name == claim.bundle)
    return connection.execute(query).scalar() == claim.worker


def loader_of(connection: Connection, name: str) -> Worker | None:
    """Who loads a bundle."""
    query = select(_workers).join_from(bundles, _workers, bundles.c.loader == _workers.c.id)
    row = connection.execute(query.where(bundles.c.name == name)).first()
    return None if row is None else value(Worker, row)


def get_bundle(connection: Connection, name: str) -> Bundle | None:
    """A bundle by its name."""
    row = connection.execute(select(bundles).where(bundles.c.name == name)).first()
    return None if row is None else value(Bundle, row)


def set_error(database: Database, claim: Claim, error: str | None) -> bool:
    """Keep why the source cannot be read, None where it can; False: that was known.

    Raises BundleLost.
    """
    with database.read() as connection:
        found = get_bundle(connection, claim.bundle)
    if found is not None and found.error == error:
        return False

    def write(connection: Connection) -> None:
        hold(connection, claim)
        mine = bundles.c.name == claim.bundle
        connection.execute(update(bundles).where(mine).values(error=error))

    database.run_transaction(write)
    return True


def set_loaded(connection: Connection, claim: Claim, version: str, now: datetime) -> None:
    """This tree is what is loaded of the bundle now."""
    known = (bundles.c.version == version) & bundles.c.error.is_(None)
    connection.execute(
        update(bundles)
        .where(bundles.c.name == claim.bundle, or_(bundles.c.version.is_(None), ~known))
        .values(version=version, loaded_at=now, error=None)
    )


def unclaimed(connection: Connection, names: Collection[str], worker: int) -> dict[str, str]:
    """The bundles that are none of these and that no other scheduler loads, each with its source."""
    query = select(bundles.c.name, bundles.c.source).where(_free(worker)).order_by(bundles.c.name)
    return {row.name: row.source for row in connection.execute(query) if row.name not in names}


def retire(database: Database, name: str, worker: int) -> list[str]:
    """Forget a bundle, unless another scheduler loads it. Its DAGs are marked removed; their ids."""
    return database.run_transaction(
        lambda connection: _retire(connection, name, worker, database.clock.now())
    )


def _retire(connection: Connection, name: str, worker: int, now: datetime) -> list[str]:
    done = connection.execute(
        update(bundles).where(bundles.c.name == name, _free(worker)).values(loader=worker)
    )
    if done.rowcount != 1:
        return []
    of_it = (_dags.c.bundle == name, _dags.c.removed_at.is_(None), _dags.c.deleted_at.is_(None))
    lock = select(_dags.c.id).where(*of_it).order_by(_dags.c.id).with_for_update(key_share=True)
    rows = list(connection.execute(lock).scalars())
    removed = update(_dags).where(within(_dags.c.id, "rows")).values(removed_at=now)
    ids = connection.execute(removed.returning(_dags.c.dag_id), {"rows": rows}).scalars()
    connection.execute(delete(bundles).where(bundles.c.name == name))
    return sorted(ids)


def trees_in_use(connection: Connection) -> set[str]:
    """The versions of bundles that a DAG, a run or a bundle names: their trees are kept."""
    found = set[str]()
    for column in (_dags.c.bundle_version, _runs.c.bundle_version, bundles.c.version):
        found.update(connection.execute(select(column).distinct().where(column.is_not(None))).scalars())
    return found
