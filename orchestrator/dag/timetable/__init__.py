"""When a DAG fires, and which stretch of time each of its runs covers.

problem     what a bad schedule raises
cron        text of five fields -> a `Cron`
zone        wall time <-> instants, where clocks are put forward and back
rhythm      the endless series of instants behind a schedule; the only user of APScheduler
schedule    what an author may write, and the JSON that is stored of it
timetable   a schedule with its zone, start and end: what the scheduler asks
"""

from orchestrator.dag.timetable.cron import Cron, parse_cron
from orchestrator.dag.timetable.problem import ScheduleProblem
from orchestrator.dag.timetable.schedule import (
    CronDataIntervalTimetable,
    CronTriggerTimetable,
    DeltaDataIntervalTimetable,
    DeltaTriggerTimetable,
    MultipleCronTriggerTimetable,
    Schedule,
    ScheduleLike,
    json_schema,
    read_schedule,
)
from orchestrator.dag.timetable.timetable import Timetable, parse_schedule
from orchestrator.dag.timetable.zone import read_moment, zone_of

__all__ = [
    "Cron",
    "CronDataIntervalTimetable",
    "CronTriggerTimetable",
    "DeltaDataIntervalTimetable",
    "DeltaTriggerTimetable",
    "MultipleCronTriggerTimetable",
    "Schedule",
    "ScheduleLike",
    "ScheduleProblem",
    "Timetable",
    "json_schema",
    "parse_cron",
    "parse_schedule",
    "read_moment",
    "read_schedule",
    "zone_of",
]
