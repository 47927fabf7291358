"""DAGs with schedules in a store, as the loading writes them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from orchestrator.dag.stages import StageGraph
from orchestrator.runs.states import RunState
from orchestrator.store import dags, lifecycle, schedules
from orchestrator.store import runs as store_runs
from orchestrator.store.database import Database
from orchestrator.store.loading import Loaded
from orchestrator.store.tables import Dag, Run, table_of
from orchestrator.store.tables.entity import value
from orchestrator.store.tables.services import Backfill, Schedule
from tests.support.store import document, graph

ONE = graph({"work": ""})
runs, dag_rows, backfills = table_of(Run), table_of(Dag), table_of(Backfill)
_BACKFILL = {"max_active_runs": 10, "params": {}, "paused": False, "created_by": ""}


@dataclass
class Scheduled:
    """A store whose DAGs fire."""

    database: Database

    def load(
        self, dag_id: str = "people", schedule: Any = None, *, stages: StageGraph = ONE, **header: Any
    ) -> int:
        """Make this the current version of a loaded DAG, and its schedule; the id of its row."""
        now = self.database.clock.now()
        params = header.pop("params", {})
        content = {**document(stages), "id": dag_id, "schedule": schedule, **header}
        said = {name: given for name, given in content.items() if given is not None}
        loaded = Loaded(dag_id, f"{dag_id}.py", repr(said), said, stages.to_json(), params)

        def store(connection: Any) -> int:
            dag = dags.ensure_dag(connection, space=dags.BUNDLE, dag_id=dag_id, file=loaded.file, now=now)
            dags.lock_dag(connection, dag.id)
            dags.ensure_version(
                connection, dag, hash=loaded.hash, document=said, stages=loaded.stages, now=now
            )
            schedules.set_schedule(connection, dag, loaded, now)
            return dag.id

        return self.database.run_transaction(store)

    def create(self, dag: int, run_type: str, date: datetime, **values: Any) -> Run:
        """A run that no schedule has fired; one of a backfill belongs to a backfill."""
        with self.database.transaction() as connection:
            row = dags.get_dag(connection, dag)
            given: dict[str, Any] = {"held_by": None, "state": RunState.QUEUED, **values}
            run = lifecycle.create_run(
                connection, dag=row, version=row.version or 0, run_type=run_type, logical_date=date,
                interval=None, params={}, project="", file=None, now=self.database.clock.now(), **given,
            )  # fmt: skip
            if run_type == "backfill":
                fresh = {"dag": dag, "first": date, "last": date, "created_at": date, **_BACKFILL}
                made = connection.execute(backfills.insert().values(**fresh).returning(backfills.c.id))
                store_runs.change(connection, run.number, backfill=made.scalar_one())
        return run

    def change(self, dag: int, **values: Any) -> None:
        """Set columns of a DAG."""
        with self.database.transaction() as connection:
            connection.execute(dag_rows.update().where(dag_rows.c.id == dag).values(**values))

    def change_schedule(self, dag: int, **values: Any) -> None:
        """Set columns of a schedule behind everybody's back."""
        with self.database.transaction() as connection:
            table = schedules.schedules
            connection.execute(table.update().where(table.c.dag == dag).values(**values))

    def unpause(self, dag: int) -> None:
        """Lift a pause as the verb does."""
        with self.database.transaction() as connection:
            schedules.replan(connection, dag, self.database.clock.now())
            connection.execute(dag_rows.update().where(dag_rows.c.id == dag).values(paused=False))

    def of(self, dag: int) -> Schedule:
        with self.database.read() as connection:
            found = schedules.find_schedule(connection, dag)
        assert found is not None
        return found

    def runs(self, dag: int) -> list[Run]:
        """The runs of a DAG, oldest first."""
        with self.database.read() as connection:
            query = runs.select().where(runs.c.dag == dag).order_by(runs.c.number)
            return [value(Run, row) for row in connection.execute(query)]

    def dates(self, dag: int) -> list[datetime | None]:
        return [run.logical_date for run in self.runs(dag)]
