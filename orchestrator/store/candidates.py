"""The queued attempts that a claim may choose from (rule 9.3): few, however many are queued.

One statement, whose cost grows neither with the stages nor with the runs that are queued. It walks the index
`ix_stage_runs_queued`, which is in the order of choice, pool by pool, from the first stage of one weight and
run (a `head`) to that of the next (a "loose index scan"), and ends where it has found enough. What
excludes for longer than a claim is in its WHERE: a run that does not run, is paused or held by another, or
whose DAG is at its cap, is passed by one step for all its stages of a weight; a pool that is full, by none.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime
from functools import cache
from typing import Any

from sqlalchemy import BigInteger, Connection, Integer, Row, String, TextClause, bindparam, column, text

from orchestrator.store.dialects import Instant
from orchestrator.store.sets import Several

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
  asked (pool) AS (
    SELECT min(pool) FROM stage_runs WHERE state = 'queued'
    UNION ALL
    SELECT (SELECT min(other.pool) FROM stage_runs AS other
            WHERE other.state = 'queued' AND other.pool > asked.pool)
    FROM asked WHERE pool IS NOT NULL
  )
{chosen}
WHERE asked.pool IS NOT NULL AND (pools.slots IS NULL OR pools.slots > coalesce(used.slots, 0))
ORDER BY lane DESC, weight DESC, run, stage_run
"""  # "live" is after "backfill" in the alphabet
_POOLS = """
FROM asked LEFT JOIN pools ON pools.name = asked.pool LEFT JOIN used ON used.pool = asked.pool
"""
_SHOWN = """
its.id, first.pool, first.pool_slots, pools.slots - coalesce(used.slots, 0) AS free, runs.dag,
dags.max_active_tasks - coalesce(busy.attempts, 0) AS room, first.run AS run, first.lane AS lane,
first.weight AS weight, first.id AS stage_run
"""
_HEADS = """
WITH RECURSIVE heads (id) AS (
  SELECT (SELECT id FROM stage_runs WHERE state = 'queued' AND pool = asked.pool
          ORDER BY lane DESC, weight DESC, run, id LIMIT 1)
  UNION ALL
  SELECT coalesce({same_weight}
    (SELECT id FROM stage_runs WHERE state = 'queued' AND pool = asked.pool AND lane = head.lane
     AND weight < head.weight ORDER BY weight DESC, run, id LIMIT 1),
    (SELECT id FROM stage_runs WHERE state = 'queued' AND pool = asked.pool AND lane < head.lane
     ORDER BY lane DESC, weight DESC, run, id LIMIT 1))
  FROM heads JOIN stage_runs AS head ON head.id = heads.id
)
"""
_SAME_WEIGHT = """
    (SELECT id FROM stage_runs WHERE state = 'queued' AND pool = asked.pool AND lane = head.lane
     AND weight = head.weight AND run > head.run ORDER BY run, id LIMIT 1),
"""
_OF_GROUP = """
    stage_runs AS head CROSS JOIN runs CROSS JOIN dags LEFT JOIN busy ON busy.dag = dags.id
    CROSS JOIN stage_runs AS first CROSS JOIN attempts AS its
    WHERE head.id = heads.id AND {held} AND dags.id = runs.dag
      AND runs.state IN ('queued', 'running') AND runs.state = 'running' AND {not_passed}
      AND dags.max_active_tasks > coalesce(busy.attempts, 0)
      AND first.state = 'queued' AND first.pool = head.pool AND first.lane = head.lane
      AND first.weight = head.weight AND first.run = runs.number
      AND its.stage_run = first.id AND its.state = 'queued' AND its.state != 'done' AND its.due_at <= :now
      AND (its.only IS NOT NULL OR NOT (runs.paused OR first.paused))
      AND (NOT runs.paused OR runs.number IN ({owing}))
      AND (pools.slots IS NULL OR first.pool_slots <= pools.slots)
      {labelled}
"""
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
_CHOSEN = {
    # SQLite has no LATERAL: what was found is joined again. CROSS: the order of joins is the order of choice.
    "sqlite": """
SELECT {shown} {pools}
CROSS JOIN stage_runs AS first ON first.id IN
  ({heads} SELECT first.id FROM heads CROSS JOIN {of_group} LIMIT :limit)
CROSS JOIN attempts AS its ON its.stage_run = first.id AND its.state = 'queued' AND its.state != 'done'
CROSS JOIN runs ON runs.number = first.run CROSS JOIN dags ON dags.id = runs.dag
LEFT JOIN busy ON busy.dag = dags.id
""",
    "postgresql": """
SELECT firsts.* {pools}
CROSS JOIN LATERAL ({heads}
  SELECT firsts.* FROM heads
  CROSS JOIN LATERAL (SELECT {shown} FROM {of_group} ORDER BY runs.number, first.id LIMIT :limit) AS firsts
  LIMIT :limit
) AS firsts
""",
}
_NOT_PASSED = {
    "sqlite": "runs.number NOT IN (SELECT value FROM json_each(:passed))",
    "postgresql": "runs.number <> ALL (:passed)",
}
_LABELLED = {
    "sqlite": "SELECT label.value FROM workers, json_each(labels) AS label WHERE workers.id = :worker",
    "postgresql": "SELECT json_array_elements_text(labels) FROM workers WHERE id = :worker",
}


def find_candidates(
    connection: Connection,
    *,
    worker: int,
    held: bool,
    limit: int,
    now: datetime,
    passed: Collection[int] = (),
) -> Sequence[Row[Any]]:
    """Candidates in the order of choice: live before backfill, then priority, the runs' order, and the
    stages' order in them; none of the runs that were `passed` over.

    Each with the slots that are `free` in its pool (None: no limit) and how many attempts of its DAG may
    still start (`room`). The first `limit` of each pool. A command (`held`) executes every stage
    of its runs itself, whatever label it asks for.
    """
    statement = _statement(connection.dialect.name, held)
    given = {"worker": worker, "limit": limit, "now": now, "passed": passed}
    return connection.execute(statement, given).all()


def any_waits(connection: Connection, now: datetime) -> bool:
    """Whether anything is due in a run that the services execute; it may not fit, or be others' to claim."""
    return connection.execute(_LOOK, {"now": now}).first() is not None


@cache
def _statement(dialect: str, held: bool) -> Any:
    of_group = _OF_GROUP.format(
        held="runs.held_by = :worker" if held else "runs.number = head.run AND runs.held_by IS NULL",
        labelled="" if held else f"AND (first.queue IS NULL OR first.queue IN ({_LABELLED[dialect]}))",
        not_passed=_NOT_PASSED[dialect],
        owing=_OWING,
    )
    heads = _HEADS.format(same_weight="" if held else _SAME_WEIGHT)
    chosen = _CHOSEN[dialect].format(shown=_SHOWN, pools=_POOLS, heads=heads, of_group=of_group)
    query: TextClause = text(_CANDIDATES.format(chosen=chosen))
    typed = query.bindparams(
        bindparam("now", type_=Instant()),
        bindparam("limit", type_=Integer()),
        bindparam("passed", type_=Several(BigInteger())),
    )
    numbers = [column(name, Integer()) for name in ("pool_slots", "free", "dag", "room", "run")]
    return typed.columns(column("id", Integer()), column("pool", String()), *numbers)
