"""The one surface of verbs: what people can do to DAGs and runs. Command line, pages and API call this.

Each verb is one transaction of `store`. Runs of the services and those that a command holds have verbs of
their own: the latter take the run over into the process that calls.
"""

from __future__ import annotations

from dataclasses import dataclass

from orchestrator.client.administration import Administration
from orchestrator.client.following import Following
from orchestrator.client.held import Definition, HeldVerbs
from orchestrator.client.schedules import Schedules
from orchestrator.client.services import ServiceVerbs
from orchestrator.client.views import Views
from orchestrator.store.verbs.acts import Done

__all__ = ["Client", "Definition", "Done"]


@dataclass(frozen=True)
class Client(ServiceVerbs, HeldVerbs, Schedules, Administration, Following, Views):
    """Everything that can be done to the DAGs and runs of a store."""
