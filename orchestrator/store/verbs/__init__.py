"""What people do with runs, a family of verbs a module.

A verb of a module here works inside the caller's transaction. `acts` is the frame that all verbs on runs
of the services share: lock, effects, audit, dry run. `held` are those of the command `fustgo run`, which
take a run over first.
"""
