"""The arguments that every node takes, as one model: what `default_args` may hold, and their JSON.

They are the operator's own fields of the same names, so there is one place that declares them.
"""

from __future__ import annotations

from collections.abc import Mapping
from copy import copy
from functools import cache
from typing import Any

from pydantic import BaseModel, ConfigDict, create_model

from orchestrator.sdk.operator import NODE_ARGUMENTS, Operator

STAGE_ARGUMENTS = (
    "retries", "retry_delay", "retry_exponential_backoff", "max_retry_delay", "execution_timeout",
    "priority_weight", "weight_rule", "pool", "pool_slots", "queue", "trigger_rule", "depends_on_past",
)  # fmt: skip
"""Settings of a stage, which a node may state for the stage it is in."""

ARGUMENTS = tuple(name for name in Operator.model_fields if name in NODE_ARGUMENTS - {"id", "drop"})
"""All arguments of a node but its id and `drop`."""

TRIGGER_RULES = (
    "all_success", "all_failed", "all_done", "all_skipped", "one_success", "one_failed", "one_done",
    "none_failed", "none_failed_min_one_success", "none_skipped", "all_done_min_one_success", "always",
)  # fmt: skip
"""Airflow's rules; `orchestrator.runs.trigger_rules` says what each means."""


@cache
def arguments_model() -> type[BaseModel]:
    """A frozen model of `ARGUMENTS`, all optional."""
    fields: dict[str, Any] = {}
    for name in ARGUMENTS:
        info = copy(Operator.model_fields[name])
        info.exclude = None
        fields[name] = (info.annotation, info)
    return create_model("Arguments", __config__=ConfigDict(frozen=True, extra="forbid"), **fields)


def canonical_arguments(given: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments as canonical JSON, those that are None left out; pydantic's ValidationError."""
    valid = arguments_model().model_validate(dict(given))
    return valid.model_dump(mode="json", exclude_none=True)
