"""Settings of the installation: defaults < file (YAML or TOML) < `FUSTGO_*` variables < flags.

`sections` and `bundles` declare them, `loading` finds their values, `settings_file` those of a file,
`documents` reads files with the place of every key.
"""

from orchestrator.settings.bundles import BundleSettings
from orchestrator.settings.entries import KEYS
from orchestrator.settings.loading import create_home, json_schema, load
from orchestrator.settings.sections import (
    DEFAULT_BUNDLE,
    ArtifactSettings,
    DatabaseSettings,
    FileSettings,
    LogSettings,
    Settings,
    TelemetrySettings,
    WorkerSettings,
)

__all__ = [
    "DEFAULT_BUNDLE",
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
