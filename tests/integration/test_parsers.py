"""DAG files are read in forks of a process of their own: what a file does costs that file only."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from orchestrator.scheduler.bundles import Interrupted
from orchestrator.scheduler.parsing import parsers as parsers_module
from orchestrator.scheduler.parsing.parsers import Parsed, Parsers
from orchestrator.store import processes

SECONDS = 30.0
GOOD = """
from orchestrator import DAG
from operators import Bash

with DAG("fine"):
    Bash("a", command="true")
"""
WORDS = """
import builtins, ctypes, os, signal, subprocess, sys, threading

def is_answer(number):
    link = f"/proc/self/fd/{number}"
    return os.path.lexists(link) and "memfd" in os.readlink(link)

def starts(**way):
    with open("pid", "w") as file:
        file.write(str(subprocess.Popen(["sleep", "1000"], **way).pid))

def tells(path, *pids):
    with open(path, "w") as pipe:
        print(*pids, file=pipe)

# DAG
"""
KILLS = "os.kill(os.getppid(), 9); signal.pause()\n"
NODES = "nodes: [{id: a, type: bash, config: {command: 'true'}}]\n"
BY_NAME = "nodes: [{id: a, type: python, kind: action, config: {function: 'team/acts.py:act'}}]\n"


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("project")


@pytest.fixture(scope="module")
def quiet() -> Iterator[int]:
    """A descriptor that never becomes readable."""
    reading, writing = os.pipe()
    yield reading
    os.close(reading)
    os.close(writing)


@pytest.fixture(scope="module")
def parsers(project: Path, quiet: int) -> Iterator[Parsers]:
    """One for all tests that leave it as it was."""
    with pytest.MonkeyPatch.context() as patch, Parsers(project, quiet) as made:
        patch.setenv("FUSTGO_CONN_CRM", "http://login:secret@host")
        made.warm()
        yield made


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    folder = tmp_path / "tree"
    folder.mkdir()
    return folder


def write(tree: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        (tree / name).parent.mkdir(parents=True, exist_ok=True)
        (tree / name).write_text(text)


def parsed(parsers: Parsers, tree: Path, *files: str, patience: float = SECONDS) -> dict[str, Parsed]:
    return {one.file: one for one in parsers.parse(tree, files, patience)}


def is_gone(pid: int) -> bool:
    """Whether a process ends within the time of a test."""
    try:
        descriptor = os.pidfd_open(pid)
    except ProcessLookupError:
        return True
    try:
        return bool(select.select([descriptor], [], [], SECONDS)[0])
    finally:
        os.close(descriptor)


def test_a_file_gives_its_dags_as_they_run_and_the_params_of_a_run_that_is_given_none(
    parsers: Parsers, tree: Path
) -> None:
    head = "schedule: '@daily'\nparams: {day: '2026-01-01', limit: {type: integer, default: 3}}\n"
    needs = "params: {n: {type: integer}, kept: yes}\n"
    write(tree, {"due.yaml": head + NODES, "asked.yaml": needs + NODES, "fine.py": GOOD})
    found = parsed(parsers, tree, "due.yaml", "asked.yaml", "fine.py")
    assert [one.error for one in found.values()] == [None] * 3
    [due], [asked], [fine] = (found[file].dags for file in ("due.yaml", "asked.yaml", "fine.py"))
    assert (due.dag_id, due.file, due.params) == ("due", "due.yaml", {"day": "2026-01-01", "limit": 3})
    assert asked.params == {"kept": "yes"}
    assert (fine.dag_id, fine.document["nodes"][0]["type"]) == ("fine", "bash")
    assert [stage["id"] for stage in fine.stages["stages"]] == ["a"]
    assert due.hash != asked.hash


def test_a_schedule_whose_runs_would_lack_a_param_is_an_error_at_the_param(
    parsers: Parsers, tree: Path
) -> None:
    write(tree, {"due.yaml": f"schedule: '@daily'\nparams:\n  n: {{type: integer}}\n{NODES}"})
    [one] = parsed(parsers, tree, "due.yaml").values()
    said = f"{tree}/due.yaml:3:6: param 'n' has no default, and a schedule gives its runs none"
    assert one.error == f"{said}\n  hint: give it a default, or take the schedule away"
    assert one.dags == ()


def test_imports_are_exactly_the_modules_of_the_tree_under_either_name_until_the_file_failed(
    parsers: Parsers, tree: Path
) -> None:
    write(
        tree,
        {
            "direct.py": "import plain, fustgo_dags.team.named\n" + GOOD,
            "again.py": "from team import named\n" + GOOD,
            "near/beside.py": "from . import neighbour\nfrom plugins import own\n" + GOOD,
            "alone.py": GOOD,
            "by_name.yaml": BY_NAME,
            "broken.py": "import plain\nimport wrong\nimport unused\n" + GOOD,
            "missing.py": "import plain, absent\n" + GOOD,
            "plain.py": "import deeper",
            "deeper.py": "",
            "unused.py": "",
            "wrong.py": "import deeper\ndef f(:\n",
            "near/neighbour.py": "",
            "plugins/own.py": "",
            "team/named.py": "",
            "team/acts.py": "from orchestrator import action\n@action\ndef act(): pass\n",
        },
    )
    expected: dict[str, set[str]] = {
        "direct.py": {"plain.py", "deeper.py", "team/named.py"},
        "again.py": {"team/named.py"},
        "near/beside.py": {"near/neighbour.py"},
        "alone.py": set(),
        "by_name.yaml": {"team/acts.py"},
        "broken.py": {"plain.py", "deeper.py", "wrong.py"},
        "missing.py": {"plain.py", "deeper.py"},
    }
    for _ in range(2):  # the second time from the bytecode that was left by the first
        found = parsed(parsers, tree, *expected)
        assert {file: set(one.imports) for file, one in found.items()} == expected
        errors = {file: one.error for file, one in found.items() if one.error}
        assert errors.keys() == {"broken.py", "missing.py"}
        assert f"{tree}/wrong.py:2" in (errors["broken.py"] or "")
        assert "No module named 'absent'" in (errors["missing.py"] or "")


@pytest.mark.parametrize(
    ("does", "expected"),
    [
        ("sys.exit(3)", "the file ends the process when it is imported"),
        ("os._exit(3)", "it ended the process that read it (exit code 3)"),
        ("os._exit(0)", "it ended the process that read it (exit code 0)"),
        ("threading.Thread(target=os._exit, args=(4,)).start(); signal.pause()", "(exit code 4)"),
        ("ctypes.string_at(0)", "it ended the process that read it (signal 11)"),
        ("os.kill(os.getpid(), signal.SIGKILL)", "(signal 9)"),
        ("os.setpgid(0, os.getppid()); os.abort()", "(signal 6)"),
        ("raise MemoryError('all')", "MemoryError: all"),
        ("def f(): f()\nf()", "RecursionError"),
        ("raise KeyboardInterrupt", "KeyboardInterrupt"),
        ("input()", "EOFError"),
        ("os.closerange(0, 1000)", "it ended the process that read it (exit code 1)"),
        ("print('word ' * 500_000)", None),
        ("os.chdir('/'); os.environ.clear(); sys.path.clear()", None),
        ("os.fork()", None),
        ("sys.stdout = None", None),
        ("assert 'FUSTGO_CONN_CRM' not in os.environ", None),
        ("threading.Thread(target=signal.pause).start()", None),
        ("[os.write(n, b'noise' * 9999) for n in range(3, 20) if is_answer(n)]", None),
    ],
)
def test_what_a_file_does_costs_that_file_only_and_its_error_names_it(
    parsers: Parsers, tree: Path, does: str, expected: str | None
) -> None:
    write(tree, {"does.py": f"{WORDS}{does}\n{GOOD}", "good.py": GOOD})
    found = parsed(parsers, tree, "does.py", "good.py")
    assert (found["good.py"].error, len(found["good.py"].dags)) == (None, 1)
    one = found["does.py"]
    if expected is None:
        assert (one.error, [dag.dag_id for dag in one.dags]) == (None, ["fine"])
    else:
        assert (one.dags, one.slow) == ((), False)
        assert (one.error or "").startswith(f"{tree}/does.py:")
        assert expected in (one.error or "")


def test_what_is_written_over_an_answer_is_no_answer(parsers: Parsers, tree: Path) -> None:
    scribbles = """
def scribble(code, end=os._exit):
    [os.pwrite(n, b"noise", 0) for n in range(3, 20) if is_answer(n)]
    end(code)

os._exit = scribble
"""
    write(tree, {"late.py": WORDS + scribbles + GOOD, "good.py": GOOD})
    found = parsed(parsers, tree, "late.py", "good.py")
    assert found["late.py"].error == f"{tree}/late.py: it wrote to a descriptor that is not its own"
    assert found["good.py"].error is None


@pytest.mark.parametrize(
    "how", ["while True: pass", "signal.pthread_sigmask(0, range(1, 64)); signal.pause()"]
)
def test_a_file_that_hangs_is_given_up_with_all_that_it_has_started(
    parsers: Parsers, project: Path, tree: Path, how: str
) -> None:
    write(tree, {"hangs.py": f"{WORDS}starts()\n{how}\n", "good.py": GOOD})
    found = parsed(parsers, tree, "hangs.py", "good.py", patience=1.0)
    assert found["good.py"].error is None
    assert found["hangs.py"].error == f"{tree}/hangs.py: reading it has not ended after 1 s"
    assert found["hangs.py"].slow
    assert is_gone(int((project / "pid").read_text()))


@pytest.mark.parametrize("way", ["", "start_new_session=True"])
def test_what_a_file_leaves_running_is_ended_also_where_it_has_got_away(
    parsers: Parsers, project: Path, tree: Path, way: str
) -> None:
    write(tree, {"starts.py": f"{WORDS}starts({way})\n{GOOD}"})
    assert parsed(parsers, tree, "starts.py")["starts.py"].error is None
    assert is_gone(int((project / "pid").read_text()))


def test_what_a_file_leaves_running_is_ended_while_another_is_still_read(
    parsers: Parsers, project: Path, tree: Path
) -> None:
    os.mkfifo(tree / "go")
    go = os.open(tree / "go", os.O_RDWR)
    waits = f"go = open({str(tree / 'go')!r}); go.read(1); go.close()\n"
    write(tree, {"starts.py": f"{WORDS}starts()\n{GOOD}", "waits.py": waits + GOOD})
    reading = parsers.parse(tree, ["starts.py", "waits.py"], SECONDS)
    assert next(reading).file == "starts.py"
    assert is_gone(int((project / "pid").read_text()))
    os.write(go, b"g")
    assert [(one.file, one.error) for one in reading] == [("waits.py", None)]
    os.close(go)


def test_an_answer_may_be_larger_than_a_pipe_holds(parsers: Parsers, tree: Path) -> None:
    write(tree, {"large.py": GOOD.replace('DAG("fine")', 'DAG("fine", doc_md="x" * 3_000_000)')})
    [dag] = parsed(parsers, tree, "large.py")["large.py"].dags
    assert dag.document["doc_md"] == "x" * 3_000_000


def test_two_files_are_read_at_a_time(parsers: Parsers, tree: Path) -> None:
    """Each end of a named pipe opens only when the other does."""
    os.mkfifo(tree / "meet")
    for name, mode in (("a.py", "r"), ("b.py", "w")):
        write(tree, {name: f"open({str(tree / 'meet')!r}, {mode!r}).close()\n{GOOD}"})
    assert [one.error for one in parsed(parsers, tree, "a.py", "b.py").values()] == [None, None]


def test_they_are_read_in_the_project_and_each_begins_as_the_first_did(
    parsers: Parsers, project: Path, tree: Path
) -> None:
    spoils = "del builtins.len; os.chdir('/'); sys.modules['orchestrator.dag.model'] = None\n"
    checks = f"import os\nassert os.getcwd() == {str(project)!r}\nlen('')\n"
    names = [f"b{number}.py" for number in range(4)]
    write(tree, {"a.py": WORDS + spoils, **dict.fromkeys(names, checks + GOOD)})
    found = parsed(parsers, tree, "a.py", *names)
    assert [found[name].error for name in names] == [None] * 4


def test_files_that_hold_no_dag_are_no_error_and_files_of_no_sense_are_one_each(
    parsers: Parsers, tree: Path
) -> None:
    aside = {"module.py": "x = 1 / 0\n", "data.json": "[1]", "settings.yaml": "a: 1"}
    write(tree, aside | {"bad.yaml": "a: [", "bad.py": "DAG ="})
    (tree / "latin.py").write_bytes(b"# DAG \xe9\n")
    wrong = {"bad.yaml", "bad.py", "latin.py", "absent.py"}
    found = parsed(parsers, tree, *aside, *wrong)
    assert found.keys() == aside.keys() | wrong
    assert {file for file, one in found.items() if f"{tree}/{file}" in (one.error or "")} == wrong


def test_a_file_that_ends_the_process_that_starts_readers_is_found_out_and_costs_no_other(
    project: Path, quiet: int, tree: Path
) -> None:
    once = f"if not os.path.exists('once'):\n    open('once', 'w').close(); {KILLS}"
    names = [f"good{number}.py" for number in range(4)]
    write(tree, {"kills.py": WORDS + KILLS, "once.py": WORDS + once + GOOD, **dict.fromkeys(names, GOOD)})
    with Parsers(project, quiet) as parsers:
        found = parsed(parsers, tree, names[0], "kills.py", names[1], "once.py", *names[2:])
    assert found.keys() == {*names, "kills.py", "once.py"}
    assert {file: one.error for file, one in found.items() if one.error} == {
        "kills.py": f"{tree}/kills.py: it ended the process that starts readers"
    }


def test_a_stop_is_heard_while_files_hang_and_nothing_is_left(project: Path, tree: Path) -> None:
    os.mkfifo(tree / "said")
    text = "child = subprocess.Popen(['sleep', '1000'], start_new_session=True)\n"
    text += f"tells({str(tree / 'said')!r}, os.getpid(), child.pid, os.getppid())\nsignal.pause()\n"
    write(tree, {"a.py": WORDS + text, "good.py": GOOD})
    stop, telling = os.pipe()
    pids: list[int] = []

    def tell_when_it_hangs() -> None:
        pids.extend(map(int, (tree / "said").read_text().split()))
        os.write(telling, b"s")

    teller = threading.Thread(target=tell_when_it_hangs)
    teller.start()
    with Parsers(project, stop) as parsers, pytest.raises(Interrupted):
        parsed(parsers, tree, "a.py", "good.py")
    teller.join()
    os.close(stop)
    os.close(telling)
    assert len(pids) == 3
    assert [pid for pid in pids if processes.start_time(pid) is not None] == []


def test_what_is_under_way_is_given_up_at_once_and_the_next_files_are_read_by_the_same_process(
    project: Path, tree: Path
) -> None:
    write(tree, {"hangs.py": WORDS + "signal.pause()\n", "good.py": GOOD})
    stop, telling = os.pipe()
    with Parsers(project, stop) as parsers:
        assert next(parsers.parse(tree, ["good.py", "hangs.py"], SECONDS)).file == "good.py"
        process = parsers._process
        os.write(telling, b"s")
        with pytest.raises(Interrupted):
            parsed(parsers, tree, "hangs.py", "good.py")
        os.read(stop, 1)
        assert parsed(parsers, tree, "good.py")["good.py"].error is None
        assert parsers._process is process
    os.close(stop)
    os.close(telling)


def test_a_scheduler_that_is_killed_leaves_neither_the_process_nor_its_forks(
    project: Path, tree: Path
) -> None:
    os.mkfifo(tree / "said")
    text = f"tells({str(tree / 'said')!r}, os.getpid(), os.getppid())\nsignal.pause()\n"
    write(tree, {"a.py": WORDS + text})
    code = (
        "import os, sys; from pathlib import Path\n"
        "from orchestrator.scheduler.parsing.parsers import Parsers\n"
        "list(Parsers(Path(sys.argv[1]), os.pipe()[0]).parse(Path(sys.argv[2]), ['a.py'], 600))"
    )
    scheduler = subprocess.Popen([sys.executable, "-c", code, str(project), str(tree)])
    reader, zygote = map(int, (tree / "said").read_text().split())
    scheduler.send_signal(signal.SIGKILL)
    scheduler.wait()
    assert is_gone(reader)
    assert is_gone(zygote)


def test_a_process_that_reads_nothing_is_let_go_and_started_again(
    project: Path, quiet: int, tree: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tree, {"good.py": GOOD})
    with Parsers(project, quiet) as parsers:
        assert parsers.rest() is None
        parsers.warm()
        assert 50 < (parsers.rest() or 0) <= parsers_module.IDLE
        monkeypatch.setattr(parsers_module, "IDLE", 0.0)
        assert parsers.rest() is None
        assert parsers._process is None
        assert parsed(parsers, tree, "good.py")["good.py"].error is None


def test_the_zygote_imports_operators_and_no_store_and_uses_no_library_before_it_forks() -> None:
    code = """
import os, sys
import polars, pyarrow.compute
before = len(os.listdir("/proc/self/task"))
from orchestrator.scheduler.parsing import reading, zygote
reading.prepare()
print(before, len(os.listdir("/proc/self/task")), *sys.modules)
"""
    listed = subprocess.run([sys.executable, "-P", "-c", code], capture_output=True, text=True, check=True)
    before, after, *names = listed.stdout.split()
    assert before == after
    assert {"networkx", "yaml", "jinja2", "operators.csv", "operators.transforms.semantics"} <= {*names}
    forbidden = ("sqlalchemy", "sqlmodel", "alembic", "orchestrator.store", "orchestrator.cli", "fustgo_dags")
    assert [name for name in names if name.startswith(forbidden)] == []
