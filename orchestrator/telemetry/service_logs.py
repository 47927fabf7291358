"""Log lines of a service: kept as JSON, one object a line, in `log.folder/SERVICE.jsonl`.

They go to standard error too: readable on a terminal, as JSON elsewhere (a container's or systemd's
journal). Whatever speaks is heard: our loggers, warnings, libraries that find something worth a warning, and
errors that nothing caught.
"""

from __future__ import annotations

import logging
import os
import sys
import threading
from collections.abc import MutableMapping
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol

import structlog

from orchestrator.errors import SettingsError
from orchestrator.telemetry import logs
from orchestrator.telemetry.logs import ROOT, Terminal
from orchestrator.telemetry.masking import masked
from orchestrator.telemetry.rotation import SharedFile


class LogSettings(Protocol):
    """The section `log` of the settings."""

    @property
    def level(self) -> str: ...
    @property
    def folder(self) -> Path: ...
    @property
    def max_bytes(self) -> int: ...
    @property
    def backups(self) -> int: ...


class ServiceLogs:
    """The log lines of a service process: ours, warnings, and what libraries find worth a warning.

    Raises SettingsError where the folder cannot be written.
    """

    def __init__(self, settings: LogSettings, service: str) -> None:
        self._handlers = [_service_file(settings, service), _console(service)]
        own, everybody = logging.getLogger(ROOT), logging.getLogger()
        self._before = (own.level, own.propagate, own.handlers, everybody.level)
        own.setLevel(settings.level)
        own.propagate, own.handlers = True, []
        logs.serve(True)
        everybody.setLevel(max(logging.WARNING, own.level))
        for handler in self._handlers:
            everybody.addHandler(handler)
        logging.captureWarnings(True)
        self._hooks = (sys.excepthook, threading.excepthook)
        sys.excepthook, threading.excepthook = _uncaught, _uncaught_in_thread

    def close(self) -> None:
        """Close the file; lines go again where they went before."""
        own, everybody = logging.getLogger(ROOT), logging.getLogger()
        sys.excepthook, threading.excepthook = self._hooks
        logging.captureWarnings(False)
        for handler in self._handlers:
            everybody.removeHandler(handler)
            handler.close()
        logs.serve(False)
        level, own.propagate, own.handlers, root_level = self._before
        own.setLevel(level)
        everybody.setLevel(root_level)


def fields(record: logging.LogRecord) -> dict[str, Any]:
    """What a line says, without secrets: `at` (UTC), `level`, `logger`, `text`, what the caller gave as
    `extra`, and of a failure `exception`."""
    event: MutableMapping[str, Any] = {"event": record.getMessage(), "_record": record}
    if record.exc_info:
        event["exc_info"] = record.exc_info
    structlog.stdlib.ExtraAdder()(logging.getLogger(record.name), "", event)
    structlog.processors.format_exc_info(None, "", event)
    text = event.pop("event")
    for not_given in ("_record", "message", "asctime"):  # the last two another handler may have left
        event.pop(not_given, None)
    at = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="microseconds")
    level = record.levelname.lower()
    known = {"at": at.replace("+00:00", "Z"), "level": level, "logger": record.name, "text": text}
    return {name: masked(value, name) for name, value in {**known, **event, **known}.items()}


def _service_file(settings: LogSettings, service: str) -> SharedFile:
    try:
        settings.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        file = SharedFile(settings.folder / f"{service}.jsonl", settings.max_bytes, settings.backups)
    except OSError as error:
        raise SettingsError(
            f"log.folder: {settings.folder} cannot be written: {error.strerror}",
            hint="set log.folder to a folder that the service may write",
        ) from error
    file.setFormatter(_Json(service))
    return file


def _console(service: str) -> Terminal:
    console = Terminal()
    console.setFormatter(_Readable(service) if sys.stderr.isatty() else _Json(service))
    return console


class _Json(logging.Formatter):
    """One JSON object a line: what `fields` gives, with the service and its process."""

    def __init__(self, service: str) -> None:
        super().__init__()
        self._service = service

    def format(self, record: logging.LogRecord) -> str:
        known = fields(record)
        place = {"service": self._service, "pid": os.getpid()}
        first = {name: known.pop(name) for name in ("at", "level")}
        render = structlog.processors.JSONRenderer(ensure_ascii=False)
        return str(render(None, "", {**first, **place, **known}))


class _Readable(logging.Formatter):
    """Time, level, text, who speaks and what else was given, in colours."""

    def __init__(self, service: str) -> None:
        super().__init__()
        self._service = service

    def format(self, record: logging.LogRecord) -> str:
        known = fields(record)
        known |= {
            "event": known.pop("text"),
            "timestamp": known.pop("at")[11:19] + "Z",
            "service": self._service,
        }
        known.setdefault("pid", os.getpid())
        render = structlog.dev.ConsoleRenderer(exception_formatter=structlog.dev.plain_traceback)
        return str(render(None, "", known))


def _uncaught(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    if issubclass(kind, KeyboardInterrupt):
        return
    logging.getLogger(ROOT).critical("nothing caught this error", exc_info=(kind, error, trace))


def _uncaught_in_thread(args: threading.ExceptHookArgs) -> None:
    if args.exc_value is not None:
        _uncaught(args.exc_type, args.exc_value, args.exc_traceback)
