"""Log lines reach standard error from the level that is set, and say who speaks."""

from __future__ import annotations

import logging
import re

import pytest

from orchestrator.telemetry.logs import configure


def test_lines_from_the_level_on_are_shown_with_their_logger(capsys: pytest.CaptureFixture[str]) -> None:
    configure("WARNING")
    logger = logging.getLogger("fustgo.node.people")
    logger.info("quiet")
    logger.warning("odd row in %s", "line 7")
    said = capsys.readouterr().err
    assert "quiet" not in said
    assert re.fullmatch(r"\d\d:\d\d:\d\d WARNING people odd row in line 7\n", said)
    logger.setLevel("INFO")
    logger.info("kept %s", 2)
    assert re.fullmatch(r"\d\d:\d\d:\d\d people kept 2\n", capsys.readouterr().err)
    logger.setLevel("NOTSET")


def test_an_exception_is_shown_with_its_traceback(capsys: pytest.CaptureFixture[str]) -> None:
    configure("INFO")
    try:
        raise ValueError("three")
    except ValueError:
        logging.getLogger("fustgo.x").exception("failed")
    assert "ValueError: three" in capsys.readouterr().err
