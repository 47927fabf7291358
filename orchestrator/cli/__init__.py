"""The `fustgo` command: one file a noun, each calling `orchestrator.client` and nothing below it.

Modules here import nothing heavy at their top: `--help` must not pay for what a command uses.
"""
