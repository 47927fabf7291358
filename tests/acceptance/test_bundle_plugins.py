"""Plugins of a bundle under real services: state survives a kill, verbs import nothing of them."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from orchestrator.store.tables import Attempt, Dag, Run
from tests.support.plugin_files import BROKEN, VISITS, tree
from tests.support.services_site import ServicesSite, services_site

PATIENT = f"""
import os
from pathlib import Path
from threading import Event

from operators import CsvOutput

with open(Path.home() / "imported", "a") as file:
    file.write(f"{{os.getpid()}}\\n")
{VISITS}

class Patient(Counting):
    '''Says where it is at row 25, and waits there.'''

    def __init__(self, column, project):
        super().__init__(column)
        self.project = project

    def process(self, batch, port):
        if 25 in batch["id"].to_pylist() and not (self.project / "go").exists():
            (self.project / "here").write_text(str(os.getpid()))
            Event().wait()
        return super().process(batch, port)


@operator("patient")
class PatientVisits(Visits):
    def open(self, context):
        return Patient(self.column, context.project)


@operator("exclusive")
class Exclusive(CsvOutput):
    pass
"""
DAG = """
id: visits
settings: {batch_size: 10, checkpoint: {every_batches: 1}}
nodes:
  - {id: people, type: csv, kind: input, config: {path: people.csv}}
  - {id: visits, type: patient, from: people}
  - {id: same, type: python, kind: processor, from: visits, config: {function: "plugins/visits.py:same"}}
  - {id: out, type: exclusive, from: same, config: {path: out/visits.csv, mode: error_if_exists}}
"""


@pytest.fixture
def site(tmp_path: Path) -> Iterator[ServicesSite]:
    (tmp_path / "home").mkdir()
    with services_site(tmp_path, {"visits.yaml": DAG}, {"HOME": str(tmp_path / "home")}) as found:
        (found.project / "dags/plugins").mkdir()
        (found.project / "dags/plugins/visits.py").write_text(PATIENT)
        lines = (f"{n},name {n % 3}\n" for n in range(40))
        (found.project / "people.csv").write_text("id,name\n" + "".join(lines))
        standalone = found.serving(found.service("standalone"))
        yield found
        standalone.signal(signal.SIGTERM)
        assert standalone.wait() == 0, found.said()


def test_a_stateful_plugin_survives_a_kill_and_no_verb_imports_it(site: ServicesSite) -> None:
    site.until(lambda: "visits" in site.fustgo("dags", "list").out, "the DAG")
    run = site.trigger("visits")
    here = site.project / "here"
    site.until(lambda: here.exists() and bool(here.read_text()), "row 25")
    (site.project / "go").touch()
    os.kill(int(here.read_text()), signal.SIGKILL)
    site.until(lambda: site.state(run) in ("success", "failed"), "the end")
    lines = (f"{n},name {n % 3},{n // 3 + 1}\n" for n in range(40))
    assert (site.project / "out/visits.csv").read_text() == "id,name,visit\n" + "".join(lines)
    assert [attempt.outcome for attempt in site.table(Attempt)] == ["lost", "success"]
    imported = Path(site.environ["HOME"]) / "imported"
    before = imported.read_text()
    refused = site.fustgo("runs", "clear", str(run), "--yes")
    assert "has published out with mode error_if_exists" in refused.err, refused
    assert imported.read_text() == before != ""


MARK = """
import pyarrow as pa

from orchestrator.sdk.operator import operator
from orchestrator.sdk.processor import Processor


@operator("mark")
class Mark(Processor):
    def process(self, batch, port):
        yield batch.append_column("mark", pa.array(["{mark}"] * batch.num_rows))
"""
MARKED = """
id: {name}
nodes:
  - {{id: rows, type: generate, config: {{rows: 2}}}}
  - {{id: mark, type: mark, from: rows}}
  - {{id: out, type: csv, kind: output, from: mark, config: {{path: out.csv}}}}
"""


def test_each_bundle_has_its_own_plugins_and_a_broken_one_is_told_until_it_is_mended(tmp_path: Path) -> None:
    names = ("sales", "finance")
    settings = tmp_path / "fustgo.yaml"
    bundles = (f"  {name}: {{path: {name}, poll: 100ms}}\n" for name in names)
    settings.write_text("".join(["bundles:\n", *bundles]))
    with services_site(tmp_path, {}, {"FUSTGO_CONFIG": str(settings)}) as site:
        for name in names:
            files = {f"{name}.yaml": MARKED.format(name=name), "plugins/mark.py": MARK.format(mark=name)}
            tree(site.project / name / "dags", files)
        broken = tree(site.project / "sales/dags", {"plugins/broken.py": BROKEN}) / "plugins/broken.py"
        standalone = site.serving(site.service("standalone"))
        site.until(lambda: len(site.table(Dag)) == 2, "both DAGs")
        for name in names:
            site.trigger(name)
        site.until(lambda: {run.state for run in site.table(Run)} == {"success"}, "the runs")
        for name in names:
            assert (site.project / name / "out.csv").read_text().splitlines()[1].endswith(f",{name}")
        [told] = site.json("dags", "errors")["files"]
        assert (told["bundle"], told["file"]) == ("sales", "plugins/broken.py")
        assert f"{broken}:7: NameError: name 'undefined' is not defined" in told["message"]
        broken.write_text(BROKEN.replace("gap = undefined", "pass"))
        site.until(lambda: not site.client.load_errors(), "the end of the error")
        standalone.signal(signal.SIGTERM)
        assert standalone.wait() == 0, site.said()
