"""`python -m orchestrator` is the command `fustgo`."""

from __future__ import annotations

from orchestrator.cli.main import entry

if __name__ == "__main__":
    entry()
