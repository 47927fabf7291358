"""Three DAGs of everything: data in stages, actions with effects, branches, tries that fail once.

Copied into an installation's `dags/`; `number` tells the runs apart. Actions name their variables and marks
after it, so that whatever happened twice, or not at all, is found. No stage outweighs another: what was lost
runs again before what came later.
"""

from __future__ import annotations

import pyarrow as pa

from operators import Bash, CsvInput, CsvOutput, Filter, SqliteOutput
from orchestrator import (
    DAG,
    Context,
    Result,
    SetVariable,
    TriggerRun,
    action,
    branch,
    processor,
    short_circuit,
)

SMALL = {"batch_size": 500, "checkpoint": {"every_batches": 2}}
TRIED_AGAIN = {"retries": 1, "retry_delay": 0.05}


def is_first(context: Context) -> bool:
    """Whether this is the first try of a node that comes so far."""
    path = context.project / "marks" / f"{context.params['number']}-{context.node}"
    try:
        path.open("x").close()
    except FileExistsError:
        return False
    return True


@processor
def numbered(context: Context, batch: pa.RecordBatch) -> pa.RecordBatch:
    """Says of each row which run it came with."""
    return batch.append_column("run", pa.array([context.params["number"]] * batch.num_rows, pa.int64()))


@processor
def fails_at_first(context: Context, batch: pa.RecordBatch) -> pa.RecordBatch:
    """Fails in the middle of the first try."""
    if batch["id"][0].as_py() > 1500 and is_first(context):
        raise ValueError("the first try fails")
    return batch


@action
def kept(context: Context) -> Result:
    """Keeps the number, in a variable named after run and node; a first try may fail."""
    if context.node == "stubborn" and is_first(context):
        raise ValueError("the first try fails")
    number = context.params["number"]
    return Result({"number": number}, SetVariable(f"{context.node}_{number}", number))


@action
def told(context: Context) -> Result:
    """Starts a run of `child`, and says so."""
    number = context.params["number"]
    told = {"number": number, "from": context.node}
    return Result(number, TriggerRun("child", params=told), SetVariable(f"{context.node}_{number}", number))


@action
def fails_at_fives(context: Context) -> int:
    """Fails for good in every fifth run."""
    if context.params["number"] % 5 == 0:
        raise ValueError("every fifth fails")
    return 1


@branch
def side(context: Context) -> str:
    return "left" if context.params["number"] % 3 == 0 else "right"


@short_circuit
def goes_on(context: Context) -> bool:
    return bool(context.params["number"] % 4)


PARAMS = {"number": 0}

with DAG("moving", params=PARAMS, settings=SMALL, weight_rule="absolute") as moving:
    out = CsvOutput("out", path="out/{{ params.number }}.csv")
    people = CsvInput("people", path="people.csv")
    people >> Filter("grown", condition="age > 18") >> fails_at_first("flaky", **TRIED_AGAIN) >> out
    again = CsvInput("again", path="out/{{ params.number }}.csv")
    table = SqliteOutput("table", path="out/people.db", table="people", mode="append")
    out >> again >> numbered("numbered") >> table

with DAG("acting", params=PARAMS, weight_rule="absolute") as acting:
    first = kept("first")
    choice = side("choice")
    joined = told("joined", trigger_rule="none_failed_min_one_success")
    first >> choice >> [kept("left"), kept("right")] >> joined
    five = fails_at_fives("five")
    first >> five >> kept("after_five")
    five >> kept("alarm", trigger_rule="one_failed")
    [joined, five] >> kept("last", trigger_rule="all_done")

with DAG("mixed", params=PARAMS, settings=SMALL, weight_rule="absolute") as mixed:
    begun = kept("stubborn", **TRIED_AGAIN)
    rows = CsvInput("rows", path="people.csv")
    both = numbered("both")
    begun >> rows >> Filter("young", condition="age <= 18") >> both
    both >> SqliteOutput("young_table", path="out/people.db", table="young", mode="append")
    both >> CsvOutput("parts", path="out/young.csv/{{ params.number }}/")
    gate = goes_on("gate")
    [both] >> gate
    gate >> Bash("said", command="echo on") >> told("end")

with DAG("child", params={"number": 0, "from": ""}) as child:

    @action
    def grown(context: Context) -> SetVariable:
        """Keeps the number that it was given."""
        number = context.params["number"]
        return SetVariable(f"child_of_{context.params['from']}_{number}", number)

    grown("grown")
