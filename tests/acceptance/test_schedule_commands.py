"""`fustgo dags pause`, `unpause`, `next`, `errors`, and what `list` and `show` say of schedules and bundles.

No scheduler runs: what one keeps in the store is enough.
"""

from __future__ import annotations

import json
import re
import shutil
from datetime import UTC, datetime
from typing import Any

import pytest
from sqlalchemy import select, update

from orchestrator.store import schedules
from orchestrator.store.dialects import upsert
from orchestrator.store.tables import Dag, DagVersion, Run, table_of
from orchestrator.store.tables.services import Bundle, Schedule
from orchestrator.store.verbs.triggering import known_dag
from tests.support.commands import Shell
from tests.support.loaded import load, open_home

NIGHTLY = """
id: nightly
schedule: "30 2 * * *"
timezone: Europe/Berlin
start_date: 2020-01-01
nodes: [{id: one, type: generate, config: {rows: 1}}, {id: end, type: discard, from: one}]
"""
BY_HAND = """
id: by_hand
nodes: [{id: one, type: generate, config: {rows: 1}}, {id: end, type: discard, from: one}]
"""
FIRES = r"20\d\d-\d\d-\d\d 02:30:00\+0[12]:00"


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Shell:
    """A home in which both DAGs are loaded, to be copied."""
    folder = tmp_path_factory.mktemp("site")
    shell = Shell(folder / "project", folder / "home")
    shell.folder.mkdir()
    for name, text in (("nightly.yaml", NIGHTLY), ("by_hand.yaml", BY_HAND)):
        (shell.folder / name).write_text(text)
    load(shell.home, shell.folder, "nightly.yaml", "by_hand.yaml")
    change(shell, bundle="default", paused=False)
    schedule(shell, timetable="30 2 * * *", timezone="Europe/Berlin")
    return shell


@pytest.fixture
def loaded(site: Shell, shell: Shell) -> Shell:
    shutil.copytree(site.home, shell.home, dirs_exist_ok=True)
    return shell


def schedule(shell: Shell, **values: Any) -> None:
    """Keep the schedule of `nightly`, as loading it does."""
    database = open_home(shell.home)
    with database.transaction() as connection:
        dag = known_dag(connection, "nightly")
        upsert(connection, table_of(Schedule), Schedule(dag=dag.id, **values).model_dump(), key="dag")
        schedules.replan(connection, dag.id, database.clock.now())
    database.close()


def change(shell: Shell, dag: str = "", **values: Any) -> None:
    """Change what the store says of one DAG, or of all."""
    dags = table_of(Dag)
    chosen = update(dags).where(dags.c.dag_id == dag) if dag else update(dags)
    database = open_home(shell.home)
    with database.transaction() as connection:
        connection.execute(chosen.values(**values))
    database.close()


def said(shell: Shell, *words: str) -> str:
    done = shell.run("dags", *words)
    assert done.code == 0, done
    return done.out


def as_json(shell: Shell, *words: str) -> Any:
    return json.loads(said(shell, *words, "--json"))


def test_pausing_says_what_goes_on_and_unpausing_when_it_fires(loaded: Shell) -> None:
    loaded.run("dags", "trigger", "nightly")
    assert said(loaded, "pause", "nightly", "--dry-run") == (
        "nightly would be paused: its schedule fires no more; 1 run goes on\n"
    )
    assert (
        said(loaded, "pause", "nightly") == "nightly is paused: its schedule fires no more; 1 run goes on\n"
    )
    assert said(loaded, "pause", "nightly").startswith("nightly is paused already: ")
    assert "is created" in said(loaded, "trigger", "nightly")  # by hand it runs all the same
    lines = said(loaded, "unpause", "nightly", "by_hand").splitlines()
    assert re.fullmatch(rf"nightly is unpaused: fires next at {FIRES}, in [\dhmins ]+", lines[0]), lines
    assert lines[1] == "by_hand is unpaused already: it has no schedule, and runs when it is triggered"


def test_a_name_that_is_none_changes_nothing_of_the_others(loaded: Shell) -> None:
    refused = loaded.run("dags", "pause", "by_hand", "nigthly")
    assert (refused.code, "did you mean 'nightly'?" in refused.err) == (2, True), refused
    assert [dag["paused"] for dag in as_json(loaded, "list")["dags"]] == [False, False]
    assert loaded.run("dags", "next", "nigthly").code == 2


def test_programs_are_told_the_same(loaded: Shell) -> None:
    (dry,) = as_json(loaded, "pause", "nightly", "--dry-run")
    assert (dry["changed"], dry["done"], dry["paused"]) == (True, False, True)
    (done,) = as_json(loaded, "pause", "nightly")
    assert (done["changed"], done["done"], done["next_fire_at"]) == (True, True, None)
    found = as_json(loaded, "next", "nightly", "--count", "3")
    assert (found["firing"], found["timezone"], len(found["runs"])) == ("paused", "Europe/Berlin", 3)
    first, second = found["runs"][:2]
    assert second["data_interval"] == [first["fire_time"], second["fire_time"]]
    (done,) = as_json(loaded, "unpause", "nightly")
    assert done["next_fire_at"] == first["fire_time"]


def test_what_fires_next_stands_in_the_dags_zone(loaded: Shell) -> None:
    head, *rows = said(loaded, "next", "nightly", "--count", "2").splitlines()
    assert head.strip().split("  ")[0] == "fires (Europe/Berlin)"
    assert len(rows) == 2
    assert re.match(rf"{FIRES}  in .*?  {FIRES}  {FIRES} to {FIRES}$", rows[0]), rows


@pytest.mark.parametrize(
    ("values", "row", "words"),
    [
        ({"paused": True}, {}, "nightly is paused: what would fire if it were unpaused now"),
        ({"max_active_runs": 0}, {}, "nightly is held back: 0 of at most 0 runs are active"),
        ({}, {"end_date": datetime(2020, 1, 1, tzinfo=UTC)}, "nightly fires no more: its schedule is over"),
        ({}, {"timetable": None}, "nightly has no schedule: it runs when it is triggered"),
        (
            {"removed_at": datetime(2026, 1, 31, tzinfo=UTC)},
            {},
            "nightly fires nothing: it was removed at 2026-01-31 00:00:00 UTC, nightly.yaml does not hold it",
        ),
    ],
)
def test_next_says_why_nothing_fires(loaded: Shell, values: Any, row: Any, words: str) -> None:
    schedule(loaded, **{"timetable": "30 2 * * *", "timezone": "Europe/Berlin", **row})
    if values:
        change(loaded, "nightly", **values)
    assert words in said(loaded, "next", "nightly")


def test_a_list_tells_schedules_and_bundles_and_hides_what_was_removed(loaded: Shell) -> None:
    listed = said(loaded, "list")
    assert re.search(rf"nightly +30 2 \* \* \* +no +{FIRES} +- +default +nightly\.yaml", listed), listed
    change(loaded, "nightly", removed_at=datetime(2026, 1, 31, tzinfo=UTC))
    listed = said(loaded, "list")
    assert "nightly" not in listed
    assert "removed and not shown: 1; --all shows them" in listed
    assert re.search(r"nightly .* removed ", said(loaded, "list", "--all"))
    assert [dag["dag"] for dag in as_json(loaded, "list")["dags"]] == ["by_hand"]
    found = as_json(loaded, "list", "--all")["dags"][1]
    assert (found["removed_at"], found["next_fire_at"]) == ("2026-01-31T00:00:00Z", None)


def test_a_dag_is_shown_with_its_bundle_and_what_it_fires(loaded: Shell) -> None:
    shown = said(loaded, "show", "nightly")
    assert re.search(r"bundle default \(.*/dags\)  version [0-9a-f]{12}\n", shown), shown
    assert re.search(rf"paused no  next fire {FIRES} \(in .*\)  last fired -", shown), shown
    change(loaded, "nightly", removed_at=datetime(2026, 1, 31, tzinfo=UTC))
    shown = said(loaded, "show", "nightly")
    assert "removed since 2026-01-31 00:00:00 UTC: nightly.yaml does not hold it any more" in shown
    assert "next fire -" in shown


def test_a_run_of_a_schedule_says_when_it_was_due_and_that_it_is_late(loaded: Shell) -> None:
    loaded.run("dags", "trigger", "nightly")
    database = open_home(loaded.home)
    with database.transaction() as connection:
        due = {"run_type": "scheduled", "due_at": datetime(2026, 1, 31, tzinfo=UTC), "late": True}
        connection.execute(update(table_of(Run)).values(**due))
    database.close()
    shown = loaded.run("runs", "show", "1").out
    assert "type scheduled  due 2026-01-31 00:00:00 (late)  code " in shown, shown


def test_plan_says_that_the_services_heed_a_schedule(shell: Shell) -> None:
    (shell.folder / "nightly.yaml").write_text(NIGHTLY + "settings: {mode: sync}\n")
    planned = shell.run("plan", "nightly.yaml").out
    assert "for the services, not used by `fustgo run`: schedule" in planned, planned
    assert "kept, not used in this release: settings.mode" in planned


def test_nothing_new_of_a_removed_dag_starts(loaded: Shell) -> None:
    change(loaded, "nightly", removed_at=datetime(2026, 1, 31, tzinfo=UTC))
    for words in (("dags", "trigger", "nightly"), ("run", "nightly")):
        refused = loaded.run(*words)
        assert (refused.code, "nightly.yaml of bundle 'default' does not hold it" in refused.err) == (2, True)
    assert "it was removed, and fires when nightly.yaml holds it again" in said(loaded, "unpause", "nightly")


def test_what_could_not_be_loaded_is_told_in_full(loaded: Shell) -> None:
    assert said(loaded, "errors") == "every file of the bundles is loaded\n"
    (loaded.folder / "broken.yaml").write_text("id: broken\n\ninput: {type: cvs}\n")
    load(loaded.home, loaded.folder, "broken.yaml")
    database = open_home(loaded.home)
    with database.transaction() as connection:
        remote = Bundle(name="remote", source="git.example.com/dags@main", error="it does not answer\ntwice")
        upsert(connection, table_of(Bundle), remote.model_dump(), key="name")
    database.close()
    told = said(loaded, "errors")
    assert (
        "bundle remote (git.example.com/dags@main): nothing of it is loaded\n  it does not answer\n  twice\n"
        in told
    )
    assert re.search(
        r"\nbroken\.yaml  \(bundle default, version [0-9a-f]{12}, 20.* UTC\)\n.*:1:1: .*:3:15: ",
        told,
        re.DOTALL,
    )
    found = as_json(loaded, "errors")
    assert [file["file"] for file in found["files"]] == ["broken.yaml"]
    assert [bundle["name"] for bundle in found["bundles"]] == ["remote"]
    listed = loaded.run("dags", "list")
    assert "not read: bundle remote" in listed.err


def test_a_zone_that_this_host_does_not_know_hides_nothing(loaded: Shell) -> None:
    """The store may have been written on another; what needs the zone says so."""
    schedule(loaded, timetable="30 2 * * *")
    database = open_home(loaded.home)
    versions, rows = table_of(DagVersion), table_of(Schedule)
    with database.transaction() as connection:
        (one,) = connection.execute(
            select(versions).where(versions.c.id == known_dag(connection, "nightly").version)
        )
        document = {**one.document, "timezone": "Mars/Olympus"}
        connection.execute(update(versions).where(versions.c.id == one.id).values(document=document))
        connection.execute(update(rows).values(timezone="Mars/Olympus"))
    database.close()
    assert re.search(r"nightly .* 02:30:00\+00:00 ", said(loaded, "list"))
    refused = loaded.run("dags", "next", "nightly")
    assert (refused.code, "Mars/Olympus" in refused.err) == (2, True), refused


def test_more_runs_than_anybody_reads_are_refused(shell: Shell) -> None:
    refused = shell.run("dags", "next", "nightly", "--count", "1001")
    assert (refused.code, "is not a whole number from 1 to 1,000" in refused.err) == (2, True), refused


def test_without_a_store_the_commands_say_that_nothing_is_loaded(shell: Shell) -> None:
    assert said(shell, "errors") == "every file of the bundles is loaded\n"
    refused = shell.run("dags", "next", "nightly")
    assert (refused.code, "there is no DAG 'nightly'" in refused.err) == (2, True), refused
