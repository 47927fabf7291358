"""The verbs on runs of the services. Each tells what it does as a list of effects, with `dry_run` only that.

A run is named as people do: by number, DAG/RUN_ID or uid. A verb on a node acts on its whole stage. All of
them raise UsageError where a run or node is not there, RefusedError where the present state forbids it.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Any

from orchestrator.client.surface import Surface
from orchestrator.dag.manual import manual_interval
from orchestrator.dag.model import Dag
from orchestrator.dag.params import resolve_params
from orchestrator.errors import UsageError
from orchestrator.runs.effects import Remark
from orchestrator.runs.times import given_date
from orchestrator.store import promotion, runs
from orchestrator.store.tables import DagVersion
from orchestrator.store.verbs import abandoning, cancelling, clearing, marking, noting, pausing, retrying
from orchestrator.store.verbs.acts import NOTHING, Done, Work, act, conclude, perform, standing
from orchestrator.store.verbs.marking import Mark
from orchestrator.store.verbs.triggering import Trigger, loaded_dag, trigger_run


@dataclass(frozen=True)
class ServiceVerbs(Surface):
    """What people do with runs that the services execute."""

    def trigger(
        self,
        dag: str,
        *,
        params: Mapping[str, Any] | None = None,
        logical_date: datetime | str | None = None,
        run_id: str | None = None,
        key: str | None = None,
        note: str = "",
        dry_run: bool = False,
    ) -> Done:
        """Create a run of a loaded DAG, queued. Asked again with the same `run_id` or `key`, it is that run.

        `params` are JSON values, or texts that are read as the declared types; the logical date is now unless
        given (as text without an offset: in the DAG's zone). Raises Problems where params do not fit.
        """
        with self.database.read() as connection:
            found, version = loaded_dag(connection, dag)

        def wanted_of(version: DagVersion) -> Trigger:
            definition = Dag.from_document(version.document)
            date = given_date(logical_date, definition.timezone)
            return Trigger(
                params=json.loads(json.dumps(resolve_params(definition, params or {}))),
                logical_date=date,
                interval=manual_interval(definition, date or self.clock.now()),
                run_id=run_id,
                key=key,
                note=note,
            )

        known = {version.id: wanted_of(version)}  # what takes long is done before the DAG is locked

        def transaction(connection: Any) -> Done:
            now = self.clock.now()
            run, created = trigger_run(
                connection, found, lambda present: known.get(present.id) or wanted_of(present), now
            )
            before = NOTHING if created else standing(connection, run.number)
            there = () if created else (Remark("", f"run {run.number} is there already: {run.run_id}"),)
            return conclude(
                connection, run.number, "trigger", before, there, actor=self.actor, dry_run=dry_run, now=now
            )

        return self._promoted(perform(self.database, transaction))

    def cancel(self, run: str, *, dry_run: bool = False) -> Done:
        """End a run: what runs is asked to stop, what waits ends cancelled, what is decided is applied."""
        return self._act(run, "cancel", cancelling.cancel_run, dry_run)

    def retry(
        self,
        run: str,
        *,
        nodes: Collection[str] = (),
        failed: bool = True,
        latest: bool = False,
        dry_run: bool = False,
    ) -> Done:
        """Go on with what failed or was cancelled, from its last decided epoch; with `nodes` only theirs.

        Of the stages of `nodes`, those that did not fail are left as they are; with `failed=False` such a one
        is refused. `latest` moves the run to the newest version of its DAG, where that fits.
        """
        if not failed and not nodes:
            raise UsageError("say which nodes", hint="a stage that did not fail cannot be retried: clear it")
        work = partial(retrying.retry_run, nodes=nodes, strictly=not failed, latest=latest)
        return self._act(run, "retry", work, dry_run, of_held="--resume")

    def clear(
        self,
        run: str,
        *,
        nodes: Collection[str] = (),
        upstream: bool = False,
        downstream: bool = False,
        latest: bool = False,
        allow_duplicates: bool = False,
        dry_run: bool = False,
    ) -> Done:
        """Start a run over, or the stages of `nodes`, with all above (`upstream`) or below (`downstream`).

        Refused where rows that were appended would come a second time, unless that is allowed.
        """
        if (upstream or downstream) and not nodes:
            raise UsageError("upstream and downstream go with nodes", hint="without nodes all starts over")
        work = partial(
            clearing.clear_run,
            nodes=nodes,
            upstream=upstream,
            downstream=downstream,
            latest=latest,
            allow_duplicates=allow_duplicates,
        )
        return self._act(run, "clear", work, dry_run, of_held="--clear")

    def mark(self, run: str, node: str, state: Mark, *, dry_run: bool = False) -> Done:
        """End the stage of a node as success or failed; what follows is judged by that."""
        if state not in ("success", "failed"):
            raise UsageError(f"a stage cannot be marked {state!r}", hint="mark it success or failed")
        work = partial(marking.mark_stage, node=node, state=state, actor=self.actor)
        return self._act(run, "mark", work, dry_run, of_held="--resume")

    def pause(self, run: str, *, node: str | None = None, now: bool = False, dry_run: bool = False) -> Done:
        """Pause a run or the stage of a node: nothing of it starts, what runs is asked for a savepoint.

        `now` takes away what runs instead of asking, and says what is lost. A run that a command holds ends
        that command as Ctrl-C does.
        """
        return self._act(run, "pause", partial(pausing.pause, node=node, at_once=now), dry_run)

    def resume(self, run: str, *, node: str | None = None, dry_run: bool = False) -> Done:
        """Go on with a paused run, or the paused stage of a node."""
        return self._act(run, "resume", partial(pausing.resume, node=node), dry_run, of_held="--resume")

    def abandon(self, run: str, *, node: str | None = None, dry_run: bool = False) -> Done:
        """Give up decided epochs that could not be applied, of a run or of the stage of a node."""
        work = partial(abandoning.abandon_run, node=node)
        return self._act(run, "abandon", work, dry_run, of_held="--abandon")

    def note(self, run: str, text: str, *, dry_run: bool = False) -> Done:
        """Write a note on a run, in place of the one that is there."""
        return self._act(run, "note", partial(noting.write_note, text=text), dry_run)

    def _act(self, text: str, verb: str, work: Work, dry_run: bool, *, of_held: str = "") -> Done:
        with self.database.read() as connection:
            run = runs.find_run(connection, text)
        if run.held_by is not None:
            self._release()
        done = act(self.database, run.number, verb, work, actor=self.actor, dry_run=dry_run, of_held=of_held)
        return self._promoted(done)

    def _promoted(self, done: Done) -> Done:
        """Promote what may run now; a transaction of its own (rule 8.13)."""
        if not done.dry_run and done.effects.changes:
            promotion.promote(self.database, done.run.dag)
        return done
