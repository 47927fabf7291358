"""What a schedule, a time zone or a date that cannot be used raises."""

from __future__ import annotations


class ScheduleProblem(ValueError):
    """A schedule is wrong. `message` says what and where in the text, `hint` what to write instead.

    A ValueError, so that pydantic and the DAG's validation report it beside other findings.
    """

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message}\n  hint: {self.hint}" if self.hint else self.message
