"""What people see of the services and do to them: workers and pools."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from orchestrator.client.surface import Surface
from orchestrator.errors import RefusedError, UsageError
from orchestrator.store import hints, pools, workers
from orchestrator.store.tables import Worker
from orchestrator.store.verbs.audit import audit

LEASE = 30.0  # seconds; a worker that was silent for so long is shown as offline


@dataclass(frozen=True)
class WorkerView:
    """A worker, the attempts that it runs, and `online`, `draining`, `offline` or `ended`."""

    worker: Worker
    running: int
    state: str


@dataclass(frozen=True)
class Administration(Surface):
    """Workers and pools."""

    def list_workers(self, *, ended: bool = False, lease: float = LEASE) -> list[WorkerView]:
        """The processes that execute runs; with `ended` also those that have gone."""
        now = self.clock.now()
        with self.database.read() as connection:
            found = workers.list_workers(connection, ended=ended)
        return [
            WorkerView(one.worker, one.running, workers.shown_as(one.worker, now, lease)) for one in found
        ]

    def drain(self, worker: int) -> None:
        """Ask a worker to finish what it runs, and to go.

        Raises UsageError where there is no such worker, RefusedError where it has ended or is a command.
        """

        def ask(connection: Any) -> None:
            known = {one.worker.id: one.worker for one in workers.list_workers(connection, ended=True)}
            if worker not in known:
                raise UsageError(f"there is no worker {worker}", hint="`fustgo workers list` shows them")
            if known[worker].kind == "command":
                raise RefusedError(
                    f"worker {worker} is a command (process {known[worker].pid}): it runs its own run only",
                    hint="Ctrl-C there keeps a savepoint",
                )
            if not workers.ask_to_drain(connection, worker):
                raise RefusedError(f"worker {worker} has ended: there is nothing to drain")
            hints.mark(connection, "ask")
            audit(connection, self.actor, "drain", f"worker {worker}", {}, self.clock.now())

        self.database.run_transaction(ask)

    def list_pools(self) -> list[pools.PoolUse]:
        """Every pool with what is used of it."""
        with self.database.read() as connection:
            return pools.list_pools(connection)

    def unset_pools(self) -> dict[str, list[str]]:
        """The pools that stages ask for and nobody has set: they have no limit. By whom each is asked for."""
        with self.database.read() as connection:
            return pools.unset_pools(connection)

    def set_pool(self, name: str, slots: int, description: str | None = None) -> None:
        """Create a pool, or change its size; what runs goes on, and more slots are used at once.

        A `description` of None leaves the present one. Raises UsageError for a bad name or size.
        """

        def write(connection: Any) -> None:
            said = {use.pool.name: use.pool.description for use in pools.list_pools(connection)}
            text = said.get(name, "") if description is None else description
            pools.set_pool(connection, name, slots, text)
            hints.mark(connection, "work")
            audit(connection, self.actor, "set_pool", f"pool {name}", {"slots": slots}, self.clock.now())

        self.database.run_transaction(write)

    def delete_pool(self, name: str) -> None:
        """Delete a pool that nothing asks for; see `store.pools.delete_pool`."""

        def write(connection: Any) -> None:
            pools.delete_pool(connection, name)
            audit(connection, self.actor, "delete_pool", f"pool {name}", {}, self.clock.now())

        self.database.run_transaction(write)
