"""Actions before, between and after stages that move data: results and variables by name, a branch."""

from __future__ import annotations

from operators import Bash, CsvInput, CsvOutput, Filter, Sql, StoreVariable
from orchestrator import DAG, Context, Result, action, branch, short_circuit
from orchestrator import SetVariable as Variable


@action
def prepared(context: Context, *, folder: str) -> Result:
    """Says where the rows go, and counts the runs."""
    context.log.info("prepares %s", folder)
    return Result({"folder": folder}, Variable("runs", context.params["runs"] + 1))


@branch
def size(context: Context) -> list[str]:
    """Which of the nodes that follow go on."""
    return ["many", "always"] if context.results["people"]["rows"] > context.params["limit"] else ["few"]


@short_circuit
def allowed(context: Context) -> bool:
    """Whether what follows goes on."""
    return bool(context.params["allowed"])


@action
def told(context: Context, *, rows: int = 0) -> str:
    """What came before."""
    return f"{rows} rows after {', '.join(sorted(context.results))}"


with DAG("notify", params={"limit": 10, "allowed": True, "runs": 0}) as dag:
    before = prepared("before", folder="out-{{ params.limit }}")
    people = CsvInput("people", path="people.csv")
    out = CsvOutput("out", path="{{ results.before.folder }}/a.csv")
    counted = Sql(
        "counted",
        path="x.db",
        statement=[
            "CREATE TABLE IF NOT EXISTS t (n, day)",
            "INSERT INTO t VALUES (:n, :day)",
            "SELECT n FROM t",
        ],
        bind={"n": "{{ results.out.rows }}", "day": "{{ ds }}"},
    )
    again = CsvInput("again", path="{{ results.before.folder }}/a.csv")
    few = Bash("few", command="echo few")
    many = Bash(
        "many",
        command='echo "many: $N on $DAY for $COLOUR"',
        env={"N": "{{ results.counted[0].n }}", "DAY": "{{ ds }}", "COLOUR": "{{ var.colour }}"},
    )
    always = told("always", rows="{{ results.counted[0].n }}")
    keep = StoreVariable(
        "keep", key="last", value={"rows": "{{ results.out.rows }}", "said": "{{ results.told }}"}
    )

    before >> people >> Filter("grown", condition="age > 18") >> out >> counted
    counted >> again >> CsvOutput("copy", path="copy.csv")
    counted >> size >> [few, many, always]
    [many, always] >> allowed >> told >> keep
