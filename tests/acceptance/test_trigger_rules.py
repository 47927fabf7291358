"""Every trigger rule in a real run of `standalone`, over upstreams that succeeded, failed, or never ran; and
how `run` shows what they made of a failure."""

from __future__ import annotations

import json
from pathlib import Path

from orchestrator.dag.arguments import TRIGGER_RULES
from tests.support.commands import Result, Shell
from tests.support.services_site import ServicesSite, services_site

STAGES = """
from orchestrator import DAG, processor
from operators import Discard, Generate

@processor
def work(batch, *, name):
    with open("ran", "a") as ran:
        ran.write(name + " ")
    if name in open("broken").read().split():
        raise ValueError(f"{name} is broken")
    return batch

def stage(name, after=(), **settings):
    made = Generate(name, rows=1, **settings)
    end = Discard(f"{name}_end")
    made >> work(f"{name}_work", name=name) >> end
    for other in after:
        other.before(made)
    return end
"""
SERVED = """
from orchestrator import DAG, action
from orchestrator.dag.arguments import TRIGGER_RULES

@action
def work(context, *, name):
    with open(f"ran-{context.params['rule']}", "a") as ran:
        ran.write(name + " ")
    if name in open("broken").read().split():
        raise ValueError(f"{name} is broken")

def stage(name, after=(), **settings):
    made = work(name, name=name, **settings)
    for other in after:
        other.before(made)
    return made

for rule in TRIGGER_RULES:
    with DAG(rule, params={"rule": rule}, max_active_tasks=3):
        good, bad = stage("good"), stage("bad")
        stopped = stage("stopped", [bad])
        idle = stage("idle", [good], trigger_rule="all_failed")
        after = dict(one=[good, bad], two=[bad], three=[stopped], four=[good, idle], five=[idle])
        for name in after:
            stage(name, after[name], trigger_rule=rule)
"""
OK, SKIPPED, STOPPED = "success", "skipped", "upstream_failed"


def states(shell: Shell) -> dict[str, str]:
    stages = json.loads(shell.run("runs", "show", "1", "--json").out)["stages"]
    return {stage["stage"]: stage["state"] for stage in stages}


def ran(shell: Shell) -> list[str]:
    """The stages that ran since the last look, in their order."""
    file = shell.folder / "ran"
    names = file.read_text().split() if file.exists() else []
    file.unlink(missing_ok=True)
    return names


def run(shell: Shell, *args: str, broken: str = "") -> Result:
    (shell.folder / "broken").write_text(broken)
    return shell.run("run", "dag.py", *args)


VERDICTS = {  # of stages after: good and bad; bad; stopped; good and idle; idle
    "all_success": (STOPPED, STOPPED, STOPPED, SKIPPED, SKIPPED),
    "all_failed": (SKIPPED, OK, OK, SKIPPED, SKIPPED),
    "all_done": (OK, OK, OK, OK, OK),
    "all_skipped": (SKIPPED, SKIPPED, SKIPPED, SKIPPED, OK),
    "one_success": (OK, STOPPED, STOPPED, OK, SKIPPED),
    "one_failed": (OK, OK, OK, SKIPPED, SKIPPED),
    "one_done": (OK, OK, SKIPPED, OK, SKIPPED),
    "none_failed": (STOPPED, STOPPED, STOPPED, OK, OK),
    "none_failed_min_one_success": (STOPPED, STOPPED, STOPPED, OK, SKIPPED),
    "none_skipped": (OK, OK, OK, SKIPPED, SKIPPED),
    "all_done_min_one_success": (OK, STOPPED, STOPPED, SKIPPED, SKIPPED),
    "always": (OK, OK, OK, OK, OK),
}
JUDGED = ("one", "two", "three", "four", "five")


def test_every_rule_decides_what_standalone_runs_and_what_a_retry_runs(tmp_path: Path) -> None:
    """A run of each rule; then what was broken is mended, and the runs that failed are tried again."""
    assert set(VERDICTS) == set(TRIGGER_RULES)
    with services_site(tmp_path, {"rules.py": SERVED}) as site:
        (site.project / "broken").write_text("bad")
        standalone = site.serving(site.service("standalone", slots=3))
        runs = {rule: site.trigger(rule) for rule in VERDICTS}
        above = {"good": OK, "bad": "failed", "stopped": STOPPED, "idle": SKIPPED}
        wanted = {rule: above | dict(zip(JUDGED, judged, strict=True)) for rule, judged in VERDICTS.items()}
        fails = {rule for rule, judged in VERDICTS.items() if STOPPED in judged}
        for rule, run in runs.items():
            assert site.wait(run).state == ("failed" if rule in fails else "success"), rule
        assert {rule: served_states(site, run) for rule, run in runs.items()} == wanted
        for rule, states in wanted.items():
            assert served(site, rule) == sorted(name for name in states if states[name] in (OK, "failed")), (
                rule
            )
        (site.project / "broken").write_text("")
        for rule in fails:
            assert site.fustgo("runs", "retry", str(runs[rule])).code == 0
            wanted[rule] = {name: OK if s in (STOPPED, "failed") else s for name, s in wanted[rule].items()}
        for rule in fails:
            assert site.wait(runs[rule]).state == "success", rule
            again = [
                "bad",
                "stopped",
                *(n for n, s in zip(JUDGED, VERDICTS[rule], strict=True) if s == STOPPED),
            ]
            assert served(site, rule) == sorted(again), rule
        assert {rule: served_states(site, run) for rule, run in runs.items()} == wanted
        standalone.end()


def served_states(site: ServicesSite, run: int) -> dict[str, str]:
    return {name: str(stage.state) for name, stage in site.stages(run).items()}


def served(site: ServicesSite, rule: str) -> list[str]:
    """The stages of a rule's run that ran since the last look."""
    file = site.project / f"ran-{rule}"
    names = sorted(file.read_text().split())
    file.unlink()
    return names


TIDY = (
    STAGES
    + """
with DAG("tidying") as dag:
    load = stage("load")
    tidy = stage("tidy", [load], trigger_rule="all_done")
    alarm = stage("alarm", [load], trigger_rule="one_failed")
    stage("publish", [load, tidy])
"""
)


def test_a_resume_does_not_repeat_what_ran_after_the_failure(shell: Shell) -> None:
    (shell.folder / "dag.py").write_text(TIDY)
    assert run(shell, broken="load").code == 1
    assert states(shell) == {"load": "failed", "tidy": OK, "alarm": OK, "publish": STOPPED}
    assert sorted(ran(shell)) == ["alarm", "load", "tidy"]
    assert run(shell, "--resume", broken="load").code == 1
    assert ran(shell) == ["load"]
    assert run(shell, "--resume").code == 0
    assert ran(shell) == ["load", "publish"]
    assert set(states(shell).values()) == {OK}


def test_what_failed_after_the_failure_waits_for_it_when_both_are_tried_again(shell: Shell) -> None:
    (shell.folder / "dag.py").write_text(TIDY)
    failed = run(shell, broken="load tidy alarm")
    assert failed.code == 1
    for stage in ("load", "tidy", "alarm"):
        assert f"error: stage {stage}: " in failed.err
    ran(shell)
    resumed = run(shell, "--resume")
    assert resumed.code == 0, resumed
    assert ran(shell) == ["load", "tidy", "publish"]
    assert states(shell) == {"load": OK, "tidy": OK, "alarm": SKIPPED, "publish": OK}


def test_a_killed_run_starts_nothing_more_and_tidies_up_after_a_resume(shell: Shell) -> None:
    (shell.folder / "dag.py").write_text(TIDY)
    (shell.folder / "broken").write_text("")
    assert shell.run("run", "dag.py", crash="epoch.decided").code == -9
    assert ran(shell) == ["load"]
    assert set(states(shell).values()) == {"failed", STOPPED}
    assert run(shell, "--resume").code == 0
    assert states(shell) == {"load": OK, "tidy": OK, "alarm": SKIPPED, "publish": OK}


def test_a_run_that_ended_well_has_nothing_to_resume_and_can_be_started_over(shell: Shell) -> None:
    (shell.folder / "dag.py").write_text(TIDY.replace('stage("publish", [load, tidy])', ""))
    ended = run(shell, broken="load")
    assert (ended.code, "success" in ended.out) == (0, True), ended
    assert "warning: stage load: " in ended.err
    assert "load is broken" in ended.err
    refused = run(shell, "--resume", "1")
    assert refused.code != 0
    assert "--clear 1" in refused.err
    ran(shell)
    assert run(shell, "--clear", "1").code == 0
    assert ran(shell) == ["load", "tidy"]
    assert states(shell) == {"load": OK, "tidy": OK, "alarm": SKIPPED}


def test_plan_shows_the_rule_and_refuses_one_that_does_not_exist(shell: Shell) -> None:
    (shell.folder / "dag.py").write_text(TIDY)
    assert "stage tidy, after load (all_done)\n" in shell.run("plan", "dag.py").out
    (shell.folder / "dag.py").write_text(TIDY.replace("all_done", "all_don"))
    refused = shell.run("run", "dag.py")
    assert refused.code == 2
    for word in ("dag.py:14:", "no trigger rule 'all_don'", "did you mean 'all_done'?"):
        assert word in refused.err
