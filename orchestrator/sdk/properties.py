"""What an operator declares about itself; `fustgo plan` and the pages print it."""

from __future__ import annotations

from enum import StrEnum


class Kind(StrEnum):
    """What an operator does with batches."""

    INPUT = "input"
    PROCESSOR = "processor"
    OUTPUT = "output"
    ACTION = "action"


class Guarantee(StrEnum):
    """How often a row that was read reaches the target, whatever is killed."""

    EXACTLY_ONCE = "exactly-once"
    AT_LEAST_ONCE = "at-least-once"


class Mode(StrEnum):
    """What an output does with what its target already holds."""

    APPEND = "append"
    OVERWRITE = "overwrite"
    UPSERT = "upsert"
    REPLACE_WHERE = "replace_where"
    ERROR_IF_EXISTS = "error_if_exists"
