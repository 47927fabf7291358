"""Settings of the installation: defaults < file (YAML or TOML) < `FUSTGO_*` variables < flags.

`sections` declares them, `loading` finds their values, `documents` reads files with the place of every key.
"""

from orchestrator.settings.loading import KEYS, create_home, json_schema, load
from orchestrator.settings.sections import (
    ArtifactSettings,
    BundleSettings,
    DatabaseSettings,
    FileSettings,
    LogSettings,
    Settings,
    TelemetrySettings,
    WorkerSettings,
)

__all__ = [
    "KEYS",
    "ArtifactSettings",
    "BundleSettings",
    "DatabaseSettings",
    "FileSettings",
    "LogSettings",
    "Settings",
    "TelemetrySettings",
    "WorkerSettings",
    "create_home",
    "json_schema",
    "load",
]
