"""The queued attempts that a claim may choose from (rule 9.3): few, however many are queued.

One statement. What excludes for longer than a claim is in its WHERE: of runs that do not run, are paused,
held by another, or whose DAG is at its cap, and of pools that are full, no stage is looked at. Of every pool
in every other run the first few come, by the index `ix_stage_runs_queued`, which is in the order of choice;
the pools that a run is queued for are found by stepping through it (a "loose index scan").
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from functools import cache
from typing import Any

from sqlalchemy import Connection, Integer, Row, String, TextClause, bindparam, column, text

from orchestrator.store.dialects import Instant

_CANDIDATES = """
WITH RECURSIVE
  busy (dag, attempts) AS (
    SELECT runs.dag, count(*) FROM attempts
    JOIN stage_runs ON stage_runs.id = attempts.stage_run JOIN runs ON runs.number = stage_runs.run
    WHERE attempts.state = 'running' GROUP BY runs.dag
  ),
  used (pool, slots) AS (
    SELECT stage_runs.pool, sum(stage_runs.pool_slots) FROM attempts
    JOIN stage_runs ON stage_runs.id = attempts.stage_run
    WHERE attempts.state = 'running' GROUP BY stage_runs.pool
  ),
  places (run, lane, paused, dag, room, pool) AS (
    SELECT runs.number, runs.lane, runs.paused, runs.dag, dags.max_active_tasks - coalesce(busy.attempts, 0),
           (SELECT min(pool) FROM stage_runs WHERE run = runs.number AND state = 'queued')
    FROM runs JOIN dags ON dags.id = runs.dag LEFT JOIN busy ON busy.dag = runs.dag
    WHERE runs.state IN ('queued', 'running') AND runs.state = 'running' AND {holder}
      AND (NOT runs.paused OR runs.number IN ({owing}))
      AND dags.max_active_tasks > coalesce(busy.attempts, 0)
    UNION ALL
    SELECT run, lane, paused, dag, room,
           (SELECT min(other.pool) FROM stage_runs AS other
            WHERE other.run = places.run AND other.state = 'queued' AND other.pool > places.pool)
    FROM places WHERE pool IS NOT NULL
  )
SELECT attempts.id, stage_runs.pool, stage_runs.pool_slots, pools.slots - coalesce(used.slots, 0),
       places.dag, places.room
FROM places LEFT JOIN pools ON pools.name = places.pool LEFT JOIN used ON used.pool = places.pool
{firsts}
JOIN attempts ON attempts.stage_run = stage_runs.id
  AND attempts.state = 'queued' AND attempts.state != 'done'
WHERE places.pool IS NOT NULL AND (pools.slots IS NULL OR pools.slots > coalesce(used.slots, 0))
ORDER BY places.lane DESC, stage_runs.weight DESC, places.run, stage_runs.id
"""  # "live" is after "backfill" in the alphabet

_OWING = """
SELECT stage_runs.run FROM attempts JOIN stage_runs ON stage_runs.id = attempts.stage_run
WHERE attempts.state = 'queued' AND attempts.only IS NOT NULL
"""
_LOOK = text(
    f"""
SELECT 1 FROM runs
WHERE state IN ('queued', 'running') AND state = 'running' AND held_by IS NULL
  AND (NOT paused OR number IN ({_OWING}))
  AND EXISTS (SELECT 1 FROM stage_runs JOIN attempts ON attempts.stage_run = stage_runs.id
              WHERE stage_runs.run = number AND stage_runs.state = 'queued'
                AND attempts.state = 'queued' AND attempts.due_at <= :now)
LIMIT 1
"""  # noqa: S608  # no values
).bindparams(bindparam("now", type_=Instant()))
_FIRSTS = """
  SELECT first.id{more} FROM stage_runs AS first
  JOIN attempts AS its ON its.stage_run = first.id AND its.state = 'queued' AND its.state != 'done'
  WHERE first.run = places.run AND first.pool = places.pool AND first.state = 'queued'
    AND its.due_at <= :now
    AND (its.only IS NOT NULL OR NOT (places.paused OR first.paused))
    AND (pools.slots IS NULL OR first.pool_slots <= pools.slots)
    {labelled}
  ORDER BY first.weight DESC, first.id LIMIT :limit
"""
_JOINED = {
    "sqlite": ("CROSS JOIN stage_runs ON stage_runs.id IN ({firsts}) CROSS", ""),  # CROSS: in this order
    "postgresql": (
        "CROSS JOIN LATERAL ({firsts}) AS stage_runs INNER",
        ", first.pool, first.pool_slots, first.weight",
    ),
}
_LABELLED = {
    "sqlite": "SELECT label.value FROM workers, json_each(labels) AS label WHERE workers.id = :worker",
    "postgresql": "SELECT json_array_elements_text(labels) FROM workers WHERE id = :worker",
}


def find_candidates(
    connection: Connection, *, worker: int, held: bool, limit: int, now: datetime
) -> Sequence[Row[Any]]:
    """Candidates in the order of choice: live before backfill, then priority, the runs' order, and the
    stages' order in them.

    Each with the slots that are `free` in its pool (None: no limit) and how many attempts of its DAG may
    still start (`room`). At most `limit` of each pool in each run. A command (`held`) executes every stage
    of its runs itself, whatever label it asks for.
    """
    statement = _statement(connection.dialect.name, held)
    return connection.execute(statement, {"worker": worker, "limit": limit, "now": now}).all()


def any_waits(connection: Connection, now: datetime) -> bool:
    """Whether anything is due in a run that the services execute; it may not fit, or be others' to claim."""
    return connection.execute(_LOOK, {"now": now}).first() is not None


@cache
def _statement(dialect: str, held: bool) -> Any:
    joined, more = _JOINED[dialect]
    labelled = "" if held else f"AND (first.queue IS NULL OR first.queue IN ({_LABELLED[dialect]}))"
    firsts = joined.format(firsts=_FIRSTS.format(more=more, labelled=labelled))
    holder = "runs.held_by = :worker" if held else "runs.held_by IS NULL"
    query: TextClause = text(_CANDIDATES.format(holder=holder, firsts=firsts, owing=_OWING))
    typed = query.bindparams(bindparam("now", type_=Instant()), bindparam("limit", type_=Integer()))
    numbers = [column(name, Integer()) for name in ("pool_slots", "free", "dag", "room")]
    return typed.columns(column("id", Integer()), column("pool", String()), *numbers)
