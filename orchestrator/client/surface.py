"""What all parts of the client share: the store it works on, and who acts."""

from __future__ import annotations

import getpass
from dataclasses import dataclass, field
from pathlib import Path

from orchestrator.clock import Clock
from orchestrator.store import holders
from orchestrator.store.database import Database


@dataclass(frozen=True)
class Surface:
    """A store with what its verbs need: `artifacts` is where the files of runs lie, `actor` who is written
    into the audit log (the user of this process).
    """

    database: Database
    clock: Clock
    artifacts: Path
    actor: str = field(default_factory=getpass.getuser)

    def _release(self) -> None:
        """Say of runs whose command was killed that they failed, before somebody reads them as running."""
        with self.database.read() as connection:
            if not holders.are_dead(connection):
                return
        self.database.run_transaction(
            lambda connection: holders.release_dead_holders(connection, self.clock.now())
        )
