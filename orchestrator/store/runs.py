"""Runs: reading, finding and listing them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from sqlalchemy import ColumnElement, Connection, Select, select, update

from orchestrator.errors import UsageError
from orchestrator.runs.states import RUN_ENDS
from orchestrator.store.dags import BUNDLE
from orchestrator.store.tables import Dag, Run, table_of
from orchestrator.store.tables.entity import value

runs, dags = table_of(Run), table_of(Dag)
LARGEST = 2**63 - 1  # of any number that both databases keep


def get(connection: Connection, number: int) -> Run:
    """A run by its number."""
    return value(Run, connection.execute(select(runs).where(runs.c.number == number)).one())


def lock(connection: Connection, number: int) -> Run:
    """A run, held by this transaction: every verb begins so (rule 8.12).

    Nobody claims of it meanwhile, and no attempt of it ends. Who locks several does so by rising number.
    """
    query = select(runs).where(runs.c.number == number).with_for_update()
    return value(Run, connection.execute(query).one())


def change(connection: Connection, number: int, **values: Any) -> None:
    """Set columns that are no state."""
    connection.execute(update(runs).where(runs.c.number == number).values(**values))


def find_run(connection: Connection, text: str) -> Run:
    """The run that a person names: by number, DAG/RUN_ID (`adults@local/...` for a file run by hand),
    run_id alone where it is unique, or uid.

    Raises UsageError where no run, or more than one, has this name.
    """
    if text.isdecimal():
        number = int(text)
        found = _select(connection, runs.c.number == number) if number <= LARGEST else []
    elif "/" in text:
        name, _, run_id = text.partition("/")
        found = _select(connection, *_dag_is(name), runs.c.run_id == run_id)
    else:
        found = _select(connection, runs.c.uid == text) or _select(connection, runs.c.run_id == text)
    if not found:
        raise UsageError(f"there is no run {text!r}", hint="`fustgo runs list` shows them")
    if len(found) > 1:
        numbers = ", ".join(str(run.number) for run in found)
        raise UsageError(f"{text!r} names {len(found)} runs", hint=f"say which by number: {numbers}")
    return found[0]


def newest_held(connection: Connection, dag: int, file: str) -> Run | None:
    """The newest run of a DAG that a command made of this file and that is neither success nor cancelled."""
    ended_well = ("success", "cancelled")
    query = _newest_first(
        select(runs).where(runs.c.dag == dag, runs.c.held_by.is_not(None), runs.c.file == file)
    )
    row = connection.execute(query.where(runs.c.state.not_in(ended_well)).limit(1)).first()
    return None if row is None else value(Run, row)


def list_runs(connection: Connection, *, dag: str | None = None, limit: int = 20) -> list[tuple[Run, Dag]]:
    """The newest runs with their DAGs, newest first; `dag` is an id, `adults@local` for files run by hand."""
    query = _newest_first(select(runs).join_from(runs, dags, runs.c.dag == dags.c.id))
    if dag is not None:
        query = query.where(*_dag_is(dag))
    found = [value(Run, row) for row in connection.execute(query.limit(limit))]
    owners = select(dags).where(dags.c.id.in_({run.dag for run in found}))
    by_id = {row.id: value(Dag, row) for row in connection.execute(owners)}
    return [(run, by_id[run.dag]) for run in found]


def unended(connection: Connection) -> Iterable[Run]:
    """Every run that has not ended, in the order of creation."""
    query = (
        select(runs).where(runs.c.state.not_in([state.value for state in RUN_ENDS])).order_by(runs.c.number)
    )
    return [value(Run, row) for row in connection.execute(query)]


def _newest_first(query: Select[Any]) -> Select[Any]:
    return query.order_by(runs.c.number.desc())


def _dag_is(name: str) -> list[ColumnElement[bool]]:
    """An id means that DAG wherever it is from, `id@local` only files that were run by hand."""
    dag_id, _, place = name.partition("@")
    return [dags.c.dag_id == dag_id, *([dags.c.space != BUNDLE] if place == "local" else [])]


def _select(connection: Connection, *conditions: ColumnElement[bool]) -> list[Run]:
    query = select(runs).join_from(runs, dags, runs.c.dag == dags.c.id).where(*conditions)
    return [value(Run, row) for row in connection.execute(query.order_by(runs.c.number))]
